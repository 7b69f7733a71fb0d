#!lua flags=allow-oom
-- fence: stops all selling under older epochs until the sale is opened under a new one, and that
-- of the same epoch if the stock is behind what its callers have seen. A stock at a newer epoch is
-- left as it is.
--
-- KEYS    1 stock, 2 sale, 3 users, 4 outbox
-- ARGV    1 sale id, 2 epoch, 3 the highest seq that the caller has seen of it
-- RETURNS what levels returns, after it
-- COST    Nine reads and at most one write.

local m = redis.call('HMGET', KEYS[2], 'sid', 'ep', 'seq', 'pv', 'st', 'rsv', 'sold')
if m[1] ~= ARGV[1] then return false end
local behind = ARGV[2] == m[2] and tonumber(m[3]) < tonumber(ARGV[3])
if behind or tonumber(ARGV[2]) > tonumber(m[2]) then
  redis.call('HSET', KEYS[2], 'ep', ARGV[2], 'st', 'F')
  m[2], m[5] = ARGV[2], 'F'
end
-- The attempts that the queue does not have, and behind them those that it has.
local logged = '4503599627370496'
local unpublished = redis.call('ZCOUNT', KEYS[4], '-inf', '(' .. logged)
local function oldest(from)
  local user = redis.call('ZRANGE', KEYS[4], from, '+inf', 'BYSCORE', 'LIMIT', 0, 1)[1]
  return user and redis.call('HGET', KEYS[3], user) or false
end
return {m[2], m[3], m[4], m[5], redis.call('GET', KEYS[1]), m[6], m[7],
  redis.call('ZCARD', KEYS[4]), unpublished, oldest('-inf'), oldest(logged)}
