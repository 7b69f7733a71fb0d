#!lua flags=no-writes
-- levels: the stock at one moment.
--
-- KEYS    1 stock, 2 sale, 3 users, 4 outbox, 5 undecided
-- ARGV    1 sale id
-- RETURNS nothing if the sale is not loaded
--         | {epoch, seq, version, state, available, reserved, sold, undecided, unlogged,
--            holders' version, the oldest undecided hold or nothing}
-- COST    Six reads.

local m = redis.call('HMGET', KEYS[2], 'sid', 'ep', 'seq', 'pv', 'st', 'rsv', 'sold', 'heal')
if m[1] ~= ARGV[1] then return false end
local oldest = redis.call('ZRANGE', KEYS[5], 0, 0)[1]
local hold = oldest and redis.call('HGET', KEYS[3], oldest)
return {m[2], m[3], m[4], m[5], redis.call('GET', KEYS[1]), m[6], m[7],
  redis.call('ZCARD', KEYS[5]), redis.call('XLEN', KEYS[4]),
  tonumber(m[3]) + tonumber(m[8]), hold}
