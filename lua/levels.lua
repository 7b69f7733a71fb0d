#!lua flags=no-writes
-- levels: the stock at one moment.
--
-- KEYS    1 stock, 2 sale, 3 users, 4 outbox
-- ARGV    1 sale id
-- RETURNS nothing if the sale is not loaded
--         | {epoch, seq, version, state, available, reserved, sold, undecided, unpublished,
--            the oldest undecided allocation or nothing, the oldest of those that the queue has or
--            nothing}
-- COST    Nine reads.

local m = redis.call('HMGET', KEYS[2], 'sid', 'ep', 'seq', 'pv', 'st', 'rsv', 'sold')
if m[1] ~= ARGV[1] then return false end
-- The attempts that the queue does not have, and behind them those that it has.
local logged = '4503599627370496'
local unpublished = redis.call('ZCOUNT', KEYS[4], '-inf', '(' .. logged)
local function oldest(from)
  local user = redis.call('ZRANGE', KEYS[4], from, '+inf', 'BYSCORE', 'LIMIT', 0, 1)[1]
  return user and redis.call('HGET', KEYS[3], user) or false
end
return {m[2], m[3], m[4], m[5], redis.call('GET', KEYS[1]), m[6], m[7],
  redis.call('ZCARD', KEYS[4]), unpublished, oldest('-inf'), oldest(logged)}
