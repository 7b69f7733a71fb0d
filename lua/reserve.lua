#!lua
-- reserve: takes units for users who hold none; the whole batch is one atomic step.
--
-- KEYS    1 stock, 2 sale, 3 users, 4 outbox
-- ARGV    1 sale id, 2 the caller's epoch, 3 the highest seq that he has seen of it, 4 now in ms
--         ('' = the clock of this server), then per request: user, attempt, quantity. At most 1,024
--         requests: what unpack puts on Lua's stack has to stay below 8,000.
-- RETURNS {'NOT_LOADED'} | {'OTHER_EPOCH'}
--         | {'OK', answers, seq, holders' version, available, ms, start ms, end ms,
--            allocation, allocation, ...}
--         answers has one letter per request: R reserved (their seqs count up to seq, in order),
--         H held (the allocation follows, in order), S sold out, P paused, F recovering, E too early,
--         D over.
-- COST    Three reads per call and one HMGET of n users. Only if somebody gets units: four writes
--         per call. A refused user leaves nothing behind.

local m = redis.call('HMGET', KEYS[2], 'sid', 'st', 'ep', 'seq', 'rsv', 't0', 't1', 'clk', 'heal')
if m[1] ~= ARGV[1] then return {'NOT_LOADED'} end
if m[3] ~= ARGV[2] then return {'OTHER_EPOCH'} end
local available = tonumber(redis.call('GET', KEYS[1]))
if not available then
  return redis.error_reply('DAMAGED the sale is there, but its stock is missing')
end
-- A stock that is behind what its callers have seen has lost what it had confirmed.
local seq = tonumber(m[4])
if seq < tonumber(ARGV[3]) and m[2] ~= 'F' then
  redis.call('HSET', KEYS[2], 'st', 'F')
  m[2] = 'F'
end

local now
if ARGV[4] == '' then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
else
  now = tonumber(ARGV[4])
end
now = math.max(now, tonumber(m[8]))
local ms = string.format('%.0f', now)

-- What everybody is told who holds nothing, if the sale does not sell.
local refusal
if m[2] == 'P' then refusal = 'P'
elseif m[2] == 'X' then refusal = 'D'
elseif m[2] ~= 'O' then refusal = 'F'
elseif now < tonumber(m[6]) then refusal = 'E'
elseif now >= tonumber(m[7]) then refusal = 'D'
end

local count = (#ARGV - 4) / 3
local users = {}
for i = 1, count do users[i] = ARGV[3 * i + 2] end
local held = redis.call('HMGET', KEYS[3], unpack(users))

local taken = 0
local answers, allocations, fresh, hset, zadd = {}, {}, {}, {}, {}
for i = 1, count do
  local user = users[i]
  local allocation = held[i] or fresh[user]
  if allocation then
    answers[i] = 'H'
    allocations[#allocations + 1] = allocation
  elseif refusal then
    answers[i] = refusal
  else
    local attempt, text = ARGV[3 * i + 3], ARGV[3 * i + 4]
    local quantity = tonumber(text)
    if available < quantity then
      answers[i] = 'S'
    else
      answers[i] = 'R'
      available = available - quantity
      taken = taken + quantity
      seq = seq + 1
      local s = string.format('%.0f', seq)
      allocation = 'R|' .. attempt .. '|' .. text .. '|' .. ARGV[2] .. '|' .. s .. '|' .. ms
      fresh[user] = allocation
      hset[#hset + 1] = user
      hset[#hset + 1] = allocation
      zadd[#zadd + 1] = s
      zadd[#zadd + 1] = user
    end
  end
end

if taken > 0 then
  redis.call('DECRBY', KEYS[1], string.format('%.0f', taken))
  redis.call('HSET', KEYS[2], 'seq', string.format('%.0f', seq),
    'rsv', string.format('%.0f', tonumber(m[5]) + taken), 'clk', ms)
  redis.call('HSET', KEYS[3], unpack(hset))
  redis.call('ZADD', KEYS[4], unpack(zadd))
end
-- Whoever comes to hold units changes seq, or was healed.
return {'OK', table.concat(answers), seq, seq + tonumber(m[9]), available, ms, m[6], m[7],
  unpack(allocations)}
