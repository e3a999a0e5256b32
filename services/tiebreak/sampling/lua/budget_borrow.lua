-- Lend a burst its extra labels, once per burst; refills pay them back (`budget_take.lua`). A project has one burst over its replicas: while
-- one is open, who asks for another is told of it, and gets nothing.
--
-- KEYS[1] tb:{project}:budget         hash: tokens, debt, at (seconds); purse, purse_debt where money is counted
-- KEYS[2] tb:{project}:budget:burst:* string: what was answered to who asked under this id
-- KEYS[3] tb:{project}:budget:burst   string: the burst that is open
-- ARGV[1] labels      an integer
-- ARGV[2] carry_over  labels, what a budget that was never used starts with
-- ARGV[3] ttl_ms      how long a burst is remembered
-- ARGV[4] burst       what is told of the burst
-- ARGV[5] rest_ms     how long it is the project's; 0: others may have their own
-- ARGV[6] money       what the labels cost; absent: no money is counted
-- ARGV[7] purse_most  money, what a purse that was never used starts with
-- Answer: what is told of the burst that is open
--
-- Invariant: tokens and debt grow by the same amount, once per burst; so do purse and purse_debt. An id has the same answer for ever.

local labels = tonumber(ARGV[1])
local carry_over = tonumber(ARGV[2])
local ttl_ms = tonumber(ARGV[3])
local rest_ms = tonumber(ARGV[5])
if not (labels and carry_over and ttl_ms and rest_ms) or (ARGV[6] and not (tonumber(ARGV[6]) and tonumber(ARGV[7]))) then
  return redis.error_reply('ERR budget_borrow: an argument is not a number')
end
labels = math.max(0, labels)
local before = redis.call('GET', KEYS[2])
if before then
  -- Before bursts were shared, a 1 said that this one had borrowed.
  return before == '1' and ARGV[4] or before
end
local open = redis.call('GET', KEYS[3])
if open then
  redis.call('SET', KEYS[2], open, 'PX', ttl_ms)
  return open
end

local stored = redis.call('HMGET', KEYS[1], 'tokens', 'debt')
local tokens = (tonumber(stored[1] or '') or carry_over) + labels
local debt = (tonumber(stored[2] or '') or 0) + labels

redis.call('HSET', KEYS[1], 'tokens', string.format('%.17g', tokens), 'debt', string.format('%.17g', debt))
if ARGV[6] then
  local money, most = math.max(0, tonumber(ARGV[6])), tonumber(ARGV[7])
  local purse = redis.call('HMGET', KEYS[1], 'purse', 'purse_debt')
  redis.call('HSET', KEYS[1],
    'purse', string.format('%.17g', (tonumber(purse[1] or '') or most) + money),
    'purse_debt', string.format('%.17g', (tonumber(purse[2] or '') or 0) + money))
end
redis.call('SET', KEYS[2], ARGV[4], 'PX', ttl_ms)
if rest_ms > 0 then
  redis.call('SET', KEYS[3], ARGV[4], 'PX', rest_ms)
end
return ARGV[4]
