#!lua flags=allow-oom
-- acknowledge: notes that the attempt queue has these attempts. Others are passed over. From then
-- on the outbox has them 2^52 higher.
--
-- KEYS    1 sale, 2 users, 3 outbox
-- ARGV    1 sale id, 2 the caller's epoch, 3 the highest seq that he has seen of it, then per
--         attempt: user, attempt (1,024 attempts at most)
-- RETURNS how many attempts that was news of
-- COST    Two HMGETs per call, then one HSET and one ZADD. Nothing grows.

local m = redis.call('HMGET', KEYS[1], 'sid', 'ep', 'seq')
if m[1] ~= ARGV[1] then return 0 end
if m[2] == ARGV[2] and tonumber(m[3]) < tonumber(ARGV[3]) then
  redis.call('HSET', KEYS[1], 'st', 'F')
end
local count = (#ARGV - 3) / 2
local users = {}
for i = 1, count do users[i] = ARGV[2 * i + 2] end
local held = redis.call('HMGET', KEYS[2], unpack(users))

local done, hset, zadd = {}, {}, {}
for i = 1, count do
  local user, allocation = users[i], held[i]
  if allocation and not done[user] and string.sub(allocation, 1, 2) == 'R|' then
    local attempt, seq = string.match(allocation, '^R|([^|]+)|%d+|%d+|(%d+)|')
    if attempt == ARGV[2 * i + 3] then
      done[user] = true
      hset[#hset + 1] = user
      hset[#hset + 1] = 'L' .. string.sub(allocation, 2)
      zadd[#zadd + 1] = string.format('%.0f', tonumber(seq) + 4503599627370496)
      zadd[#zadd + 1] = user
    end
  end
end
if #zadd > 0 then
  redis.call('HSET', KEYS[2], unpack(hset))
  redis.call('ZADD', KEYS[3], 'XX', unpack(zadd))
end
return #zadd / 2
