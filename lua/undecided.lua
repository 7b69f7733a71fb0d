#!lua flags=no-writes
-- undecided: the oldest attempts that are not decided.
--
-- KEYS    1 sale, 2 users, 3 outbox
-- ARGV    1 sale id, 2 the latest moment in ms, 3 how many at most (1 to 1,024), 4 'all', or
--         'unpublished': only those that the queue does not have
-- RETURNS {user, hold, user, hold, ...}, the oldest first
-- COST    Two ZRANGEs and one HMGET of n users at most.

if redis.call('HGET', KEYS[1], 'sid') ~= ARGV[1] then return {} end
local before, max = tonumber(ARGV[2]), tonumber(ARGV[3])
-- The attempts that the queue does not have come first, by seq, and behind them, 2^52 higher, those
-- that it has.
local LOGGED = 4503599627370496
local function from(lowest, highest)
  return redis.call('ZRANGE', KEYS[3], lowest, highest, 'BYSCORE', 'LIMIT', 0, max, 'WITHSCORES')
end
local unpublished = from('-inf', '(4503599627370496')
local logged = ARGV[4] == 'all' and from('4503599627370496', '+inf') or {}
local users, u, l = {}, 1, 1
while #users < max and (unpublished[u] or logged[l]) do
  if not logged[l] or (unpublished[u] and tonumber(unpublished[u + 1]) < logged[l + 1] - LOGGED) then
    users[#users + 1] = unpublished[u]
    u = u + 2
  else
    users[#users + 1] = logged[l]
    l = l + 2
  end
end
if #users == 0 then return {} end
local allocations = redis.call('HMGET', KEYS[2], unpack(users))
local found = {}
for i = 1, #users do
  local allocation = allocations[i]
  if allocation then
    local ms = string.match(allocation, '^[RL]|[^|]+|%d+|%d+|%d+|(%-?%d+)$')
    if ms then
      if tonumber(ms) > before then break end
      found[#found + 1] = users[i]
      found[#found + 1] = allocation
    end
  end
end
return found
