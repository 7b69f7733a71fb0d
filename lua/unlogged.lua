#!lua flags=no-writes
-- unlogged: the oldest attempts that the queue does not have.
--
-- KEYS    1 sale, 2 outbox
-- ARGV    1 sale id, 2 the latest moment in ms, 3 how many at most (1 to 1,024)
-- RETURNS {user, attempt, quantity, epoch, seq, ms, user, ...}, the oldest first
-- COST    One XRANGE of n entries.

if redis.call('HGET', KEYS[1], 'sid') ~= ARGV[1] then return {} end
local before = tonumber(ARGV[2])
local entries = redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', ARGV[3])
local found = {}
for i = 1, #entries do
  local f = entries[i][2]
  local v = {}
  for j = 1, #f, 2 do v[f[j]] = f[j + 1] end
  if tonumber(v.t) > before then break end
  local at = #found
  found[at + 1], found[at + 2], found[at + 3] = v.u, v.a, v.q
  found[at + 4], found[at + 5], found[at + 6] = v.e, v.s, v.t
end
return found
