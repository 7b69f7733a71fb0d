#!lua flags=allow-oom
-- put_results: keeps results for their buyers, by the rules of `SaleResult::supersedes` in
-- flashsale-core, against which it is tested.
--
-- KEYS    the results (1,024 at most); in a Redis Cluster all of one slot
-- ARGV    1 seconds that they are kept, then per result its text, which begins with
--         '1|sale id|' for a success or '0|sale id|' for a failure, and ends with '|' and the ms
--         when its units were taken
-- RETURNS how many were written
-- COST    One MGET of n keys and one SET per result.

local old = redis.call('MGET', unpack(KEYS))
local written, latest = 0, {}
for i = 1, #KEYS do
  local key, new = KEYS[i], ARGV[i + 1]
  local kept = latest[key] or old[i]
  local stays = false
  if kept then
    local success, sale, ms = string.match(kept, '^([01])|(%d+)|.*|(%-?%d+)$')
    local succeeds, other, newer = string.match(new, '^([01])|(%d+)|.*|(%-?%d+)$')
    if sale == other then
      stays = success == '1' and succeeds == '0'
    elseif ms == newer then
      -- As texts, because Lua's numbers are exact to 2^53 only.
      stays = #sale > #other or (#sale == #other and sale > other)
    elseif ms then
      stays = tonumber(ms) > tonumber(newer)
    end
  end
  if not stays then
    redis.call('SET', key, new, 'EX', ARGV[1])
    latest[key] = new
    written = written + 1
  end
end
return written
