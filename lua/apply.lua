#!lua flags=allow-oom
-- apply: makes a change of the sale in its stock. Each version is applied once, and in order.
--
-- KEYS    1 stock, 2 sale
-- ARGV    1 sale id, 2 version, 3 change: P pause, O resume, X close, + restock, - withdraw,
--         E extend, 4 units, or the new end in ms, 5 the caller's epoch, 6 the highest seq that
--         he has seen of it
-- RETURNS {'NOT_LOADED'} | {'APPLIED'} | {'STALE'} | {'GAP', version expected}
--         | {'TOO_FEW', available}: fewer units than were to be withdrawn; nothing changed
-- COST    Two reads and three writes at most.

local m = redis.call('HMGET', KEYS[2], 'sid', 'st', 'seq', 'pv', 'ep')
if m[1] ~= ARGV[1] then return {'NOT_LOADED'} end
if m[5] == ARGV[5] and tonumber(m[3]) < tonumber(ARGV[6]) and m[2] ~= 'F' then
  redis.call('HSET', KEYS[2], 'st', 'F')
  m[2] = 'F'
end
local expected, version = tonumber(m[4]) + 1, tonumber(ARGV[2])
if version < expected then return {'STALE'} end
if version > expected then return {'GAP', string.format('%.0f', expected)} end
local change = ARGV[3]
if change == '+' then
  redis.call('INCRBY', KEYS[1], ARGV[4])
  redis.call('HSET', KEYS[2], 'pv', ARGV[2], 'seq', string.format('%.0f', tonumber(m[3]) + 1))
elseif change == '-' then
  local available = redis.call('GET', KEYS[1])
  if not available then
    return redis.error_reply('DAMAGED the sale is there, but its stock is missing')
  end
  if tonumber(available) < tonumber(ARGV[4]) then return {'TOO_FEW', available} end
  redis.call('DECRBY', KEYS[1], ARGV[4])
  redis.call('HSET', KEYS[2], 'pv', ARGV[2])
elseif change == 'E' then
  redis.call('HSET', KEYS[2], 'pv', ARGV[2], 't1', ARGV[4])
elseif change == 'X' or m[2] ~= 'F' then
  redis.call('HSET', KEYS[2], 'pv', ARGV[2], 'st', change)
else
  -- A stock that is being rebuilt is opened only by the rebuild.
  redis.call('HSET', KEYS[2], 'pv', ARGV[2])
end
return {'APPLIED'}
