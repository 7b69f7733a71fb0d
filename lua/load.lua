#!lua
-- load: puts buyers aside for an open to come. Each loader has a key of its own, so that loaders do
-- not meet, and the key goes away by itself if its loader does not come back.
--
-- KEYS    1 loading
-- ARGV    1 seconds that the key is kept from now on, then per buyer (1,024 at most): user, allocation
-- RETURNS nothing
-- COST    One HSET of n buyers.

redis.call('HSET', KEYS[1], unpack(ARGV, 2))
redis.call('EXPIRE', KEYS[1], ARGV[1])
return redis.status_reply('OK')
