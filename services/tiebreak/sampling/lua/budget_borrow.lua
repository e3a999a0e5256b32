-- Lend a burst its extra labels, once per burst; refills pay them back (`budget_take.lua`).
--
-- KEYS[1] tb:{project}:budget         hash: tokens, debt, at (seconds); purse, purse_debt where money is counted
-- KEYS[2] tb:{project}:budget:burst:* string: this burst has borrowed
-- ARGV[1] labels      an integer
-- ARGV[2] carry_over  labels, what a budget that was never used starts with
-- ARGV[3] ttl_ms      how long a burst is remembered
-- ARGV[4] money       what the labels cost; absent: no money is counted
-- ARGV[5] purse_most  money, what a purse that was never used starts with
-- Answer: 1 if it was lent now, 0 if this burst has had it already
--
-- Invariant: tokens and debt grow by the same amount, once per burst id; so do purse and purse_debt.

local labels = tonumber(ARGV[1])
local carry_over = tonumber(ARGV[2])
local ttl_ms = tonumber(ARGV[3])
if not (labels and carry_over and ttl_ms) or (ARGV[4] and not (tonumber(ARGV[4]) and tonumber(ARGV[5]))) then
  return redis.error_reply('ERR budget_borrow: an argument is not a number')
end
labels = math.max(0, labels)
if redis.call('EXISTS', KEYS[2]) == 1 then
  return 0
end

local stored = redis.call('HMGET', KEYS[1], 'tokens', 'debt')
local tokens = (tonumber(stored[1] or '') or carry_over) + labels
local debt = (tonumber(stored[2] or '') or 0) + labels

redis.call('HSET', KEYS[1], 'tokens', string.format('%.17g', tokens), 'debt', string.format('%.17g', debt))
if ARGV[4] then
  local money, most = math.max(0, tonumber(ARGV[4])), tonumber(ARGV[5])
  local purse = redis.call('HMGET', KEYS[1], 'purse', 'purse_debt')
  redis.call('HSET', KEYS[1],
    'purse', string.format('%.17g', (tonumber(purse[1] or '') or most) + money),
    'purse_debt', string.format('%.17g', (tonumber(purse[2] or '') or 0) + money))
end
redis.call('SET', KEYS[2], 1, 'PX', ttl_ms)
return 1
