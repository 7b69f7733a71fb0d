#!lua flags=allow-oom
-- settle: mirrors decisions of the order repository. Repeating one changes nothing. It may run
-- when memory is full, because it is what brings units back.
--
-- KEYS    1 stock, 2 sale, 3 users, 4 outbox
-- ARGV    1 sale id, 2 the caller's epoch, 3 the highest seq that he has seen of it, then per
--         settlement (1,024 at most): user, attempt, quantity, ms when its units were taken,
--         decision, reference. The decision is one of
--         C bought (reference: order), V no stock: the units are gone, R released: they come back,
--         D duplicate (reference: order|attempt|quantity of what the user keeps).
-- RETURNS {'NOT_LOADED'} | {'OK', answers}
--         with one letter per settlement: C confirmed, R released, V voided, M merged, A adopted,
--         H healed, X drift, U unchanged
-- COST    Three reads per call and one HMGET of n users; then at most one HSET, HDEL and ZREM for
--         all of them, and two writes of counters.

local m = redis.call('HMGET', KEYS[2], 'sid', 'oep', 'seq', 'rsv', 'sold', 'heal', 'ep')
if m[1] ~= ARGV[1] then return {'NOT_LOADED'} end
local before = tonumber(redis.call('GET', KEYS[1]))
if not before then
  return redis.error_reply('DAMAGED the sale is there, but its stock is missing')
end
local available, seq = before, tonumber(m[3])
local reserved, sold = tonumber(m[4]), tonumber(m[5])
local healed = tonumber(m[6])
-- Whether the sale has to stop: its stock is behind what its callers have seen, or short of units.
local lost = m[7] == ARGV[2] and seq < tonumber(ARGV[3])

local count = (#ARGV - 3) / 6
local users = {}
for i = 1, count do users[i] = ARGV[6 * i - 2] end
local found = redis.call('HMGET', KEYS[3], unpack(users))
local allocations, order = {}, {}
for i = 1, count do allocations[users[i]] = found[i] end

local answers, changed, zrem = {}, {}, {}
local function change(user, allocation)
  if changed[user] == nil then order[#order + 1] = user end
  changed[user] = true
  allocations[user] = allocation
end

local function undecided(allocation)
  local state = string.byte(allocation)
  return state == 82 or state == 76 -- R or L
end

for i = 1, count do
  local at = 6 * i - 2
  local user, attempt, quantity = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  local decision, reference = ARGV[at + 4], ARGV[at + 5]
  local units = tonumber(quantity)
  local answer = 'U'
  local allocation = allocations[user]
  if not allocation then
    if decision == 'C' then
      if available < units then
        answer = 'X'
        lost = true
      else
        answer = 'H'
        available = available - units
        sold = sold + units
        healed = healed + 1
        change(user, 'C|' .. attempt .. '|' .. quantity .. '|' .. m[2] .. '|0|' .. ARGV[at + 3]
          .. '|' .. reference)
      end
    end
  elseif decision == 'C' and undecided(allocation)
    and string.sub(allocation, 2, 4 + #attempt + #quantity) == '|' .. attempt .. '|' .. quantity .. '|'
  then
    -- What nearly all of them are: the allocation is bought as it is.
    answer = 'C'
    reserved = reserved - units
    sold = sold + units
    zrem[#zrem + 1] = user
    change(user, 'C' .. string.sub(allocation, 2) .. '|' .. reference)
  else
    local state, holder, kept, epoch, s, ms =
      string.match(allocation, '^([RL])|([^|]+)|(%d+)|(%d+)|(%d+)|(%-?%d+)$')
    local same = holder == attempt
    if state and (decision == 'C' or (decision == 'D' and same)) then
      local bought, amount, by = reference, quantity, attempt
      if decision == 'D' then
        bought, by, amount = string.match(reference, '^(%d+)|([^|]+)|(%d+)$')
        answer = 'M'
      else
        answer = same and 'C' or 'A'
      end
      local was, is = tonumber(kept), tonumber(amount)
      reserved = reserved - was
      sold = sold + is
      available = math.max(0, available + was - is)
      zrem[#zrem + 1] = user
      change(user, 'C|' .. by .. '|' .. amount .. '|' .. epoch .. '|' .. s .. '|' .. ms
        .. '|' .. bought)
    elseif state and same then
      reserved = reserved - tonumber(kept)
      if decision == 'V' then
        answer = 'V'
      else
        answer = 'R'
        available = available + tonumber(kept)
        seq = seq + 1
      end
      zrem[#zrem + 1] = user
      change(user, false)
    end
  end
  answers[i] = answer
end

if #order > 0 then
  local hset, hdel = {}, {}
  for i = 1, #order do
    local user = order[i]
    local allocation = allocations[user]
    if allocation then
      hset[#hset + 1] = user
      hset[#hset + 1] = allocation
    else
      hdel[#hdel + 1] = user
    end
  end
  if #hset > 0 then redis.call('HSET', KEYS[3], unpack(hset)) end
  if #hdel > 0 then redis.call('HDEL', KEYS[3], unpack(hdel)) end
  if #zrem > 0 then redis.call('ZREM', KEYS[4], unpack(zrem)) end
  if available ~= before then
    redis.call('INCRBY', KEYS[1], string.format('%.0f', available - before))
  end
  redis.call('HSET', KEYS[2], 'seq', string.format('%.0f', seq),
    'rsv', string.format('%.0f', reserved), 'sold', string.format('%.0f', sold),
    'heal', string.format('%.0f', healed))
end
if lost then redis.call('HSET', KEYS[2], 'st', 'F') end
return {'OK', table.concat(answers)}
