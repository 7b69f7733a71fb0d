#!lua
-- open: makes a snapshot the stock of a sale, in one step. Its buyers were put aside by load; the
-- old stock is in use until this moment.
--
-- KEYS    1 stock, 2 sale, 3 users, 4 outbox, 5 loading
-- ARGV    1 sale id, 2 epoch, 3 now in ms ('' = the clock of this server), 4 'ask' or 'open',
--         5 units remaining, 6 units sold, 7 number of buyers put aside, 8 state, 9 start ms,
--         10 end ms, 11 version, 12 how many ms before its start it may be opened at most
-- RETURNS {'OPENED'} ('ask': it would be) | {'ALREADY_OPEN'} | {'STALE', epoch}
--         | {'OCCUPIED', sale id} | {'EARLY'} | {'INCOMPLETE'}: the buyers put aside are not all there
-- COST    About ten commands, however many buyers there are; what was there is freed in the
--         background.

local function answer(...)
  if ARGV[4] == 'open' then redis.call('UNLINK', KEYS[5]) end
  return {...}
end

local function clock()
  if ARGV[3] ~= '' then return tonumber(ARGV[3]) end
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local seq = '0'
local m = redis.call('HMGET', KEYS[2], 'sid', 'st', 'ep', 'oep', 'seq', 't1', 'clk')
if m[1] == ARGV[1] then
  if tonumber(ARGV[2]) < tonumber(m[3]) then return answer('STALE', m[3]) end
  if ARGV[2] == m[4] then return answer('ALREADY_OPEN') end
  -- Numbers go on, so that those of an older epoch never name an attempt of this one.
  seq = m[5]
else
  local now = clock()
  if now < tonumber(ARGV[9]) - tonumber(ARGV[12]) then return answer('EARLY') end
  if m[1] then
    local over = m[2] == 'X' or math.max(now, tonumber(m[7])) >= tonumber(m[6])
    if not over or redis.call('ZCARD', KEYS[4]) > 0 then return answer('OCCUPIED', m[1]) end
  end
end
if ARGV[4] ~= 'open' then return {'OPENED'} end

local buyers = tonumber(ARGV[7])
if buyers > 0 and redis.call('HLEN', KEYS[5]) ~= buyers then return answer('INCOMPLETE') end
redis.call('UNLINK', KEYS[2], KEYS[3], KEYS[4])
if buyers > 0 then
  redis.call('PERSIST', KEYS[5])
  redis.call('RENAME', KEYS[5], KEYS[3])
end
redis.call('SET', KEYS[1], ARGV[5])
redis.call('HSET', KEYS[2], 'sid', ARGV[1], 'st', ARGV[8], 'ep', ARGV[2], 'oep', ARGV[2],
  'seq', seq, 'rsv', '0', 'sold', ARGV[6], 't0', ARGV[9], 't1', ARGV[10], 'clk', '0',
  'pv', ARGV[11], 'heal', '0')
return {'OPENED'}
