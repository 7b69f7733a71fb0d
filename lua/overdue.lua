#!lua flags=no-writes
-- overdue: the oldest attempts that are not decided.
--
-- KEYS    1 sale, 2 users, 3 undecided
-- ARGV    1 sale id, 2 the latest moment in ms, 3 how many at most (1 to 1,024)
-- RETURNS {user, hold, user, hold, ...}, the oldest first
-- COST    One ZRANGE and one HMGET of n users.

if redis.call('HGET', KEYS[1], 'sid') ~= ARGV[1] then return {} end
local before = tonumber(ARGV[2])
local users = redis.call('ZRANGE', KEYS[3], 0, tonumber(ARGV[3]) - 1)
if #users == 0 then return {} end
local holds = redis.call('HMGET', KEYS[2], unpack(users))
local found = {}
for i = 1, #users do
  local hold = holds[i]
  if hold then
    local ms = string.match(hold, '^[RL]|[^|]+|%d+|%d+|%d+|(%-?%d+)$')
    if ms then
      if tonumber(ms) > before then break end
      found[#found + 1] = users[i]
      found[#found + 1] = hold
    end
  end
end
return found
