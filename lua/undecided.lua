#!lua flags=no-writes
-- undecided: the oldest attempts that are not decided.
--
-- KEYS    1 sale, 2 users, 3 outbox
-- ARGV    1 sale id, 2 now in ms ('' = the clock of this server), 3 the least age in ms, 4 how many
--         at most (1 to 1,024), 5 'all', or 'unpublished': only those that the queue does not have
-- RETURNS {user, allocation, user, allocation, ...}, the oldest first
-- COST    One HMGET of 2, two ZRANGEs and one HMGET of n users at most.

local m = redis.call('HMGET', KEYS[1], 'sid', 'clk')
if m[1] ~= ARGV[1] then return {} end
local now
if ARGV[2] == '' then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
else
  now = tonumber(ARGV[2])
end
-- No reservation is younger than the last one.
local before, max = math.max(now, tonumber(m[2])) - tonumber(ARGV[3]), tonumber(ARGV[4])
-- The attempts that the queue does not have come first, by seq, and behind them, 2^52 higher, those
-- that it has.
local LOGGED = 4503599627370496
local function from(lowest, highest)
  return redis.call('ZRANGE', KEYS[3], lowest, highest, 'BYSCORE', 'LIMIT', 0, max, 'WITHSCORES')
end
local unpublished = from('-inf', '(4503599627370496')
local logged = ARGV[5] == 'all' and from('4503599627370496', '+inf') or {}
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
