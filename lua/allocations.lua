#!lua flags=no-writes
-- allocations: what users hold in a sale.
--
-- KEYS    1 sale, 2 users
-- ARGV    1 sale id, then the users (1,024 at most)
-- RETURNS nothing if the sale is not loaded | {allocation or nothing, ...}
-- COST    One HGET and one HMGET of n users.

if redis.call('HGET', KEYS[1], 'sid') ~= ARGV[1] then return false end
return redis.call('HMGET', KEYS[2], unpack(ARGV, 2))
