-- Take labels from a project's budget, once per batch. The rule is `sampling/budget.py`; the contract suite compares the two.
--
-- KEYS[1] tb:{project}:budget         hash: tokens, debt, at (seconds); purse, purse_debt where money is counted;
--                                     done, span, settled: the pace, where the queue has an age to keep
-- KEYS[2] tb:{project}:budget:batch:* string: what this batch was granted, and after a space the burst that it was told of
-- KEYS[3] tb:{project}:open_tasks     integer, kept by labeling
-- KEYS[4] tb:{project}:settled_tasks  integer, kept by labeling
-- KEYS[5] tb:{project}:budget:burst   string: the burst that is open (`budget_borrow.lua`)
-- ARGV[1] wanted      labels, an integer
-- ARGV[2] per_s       labels a second
-- ARGV[3] carry_over  labels
-- ARGV[4] max_open    tasks
-- ARGV[5] repayment   part of a refill that pays debts
-- ARGV[6] ttl_ms      how long a batch's grant is remembered
-- ARGV[7] now_s       empty: this server's clock, which all replicas share
-- ARGV[8] queue_age   seconds that a task may wait; empty, like the next four: no such bound
-- ARGV[9] headroom    part of it that today's pace is planned to take
-- ARGV[10] least_open tasks that may always be open
-- ARGV[11] memory     seconds, time constant of the pace
-- ARGV[12] prior      part of the memory that the declared pace counts for at the start
-- ARGV[13] purse_per_s money a second; absent: no money is counted
-- ARGV[14] purse_most money that may pile up
-- ARGV[15...]         what each label wanted costs, first first
-- Answer: {granted, open_tasks, burst}, the last empty where none is open
--
-- Invariant: over any span, granted <= carry_over + borrowed + per_s * span, their cost <= purse_most + borrowed + purse_per_s * span
-- and one task at most; a batch key is charged once, and has one answer.

local wanted = tonumber(ARGV[1])
local per_s = tonumber(ARGV[2])
local carry_over = tonumber(ARGV[3])
local max_open = tonumber(ARGV[4])
local repayment = tonumber(ARGV[5])
local ttl_ms = tonumber(ARGV[6])
if not (wanted and per_s and carry_over and max_open and repayment and ttl_ms) then
  return redis.error_reply('ERR budget_take: an argument is not a number')
end
for i = 13, #ARGV do
  if not tonumber(ARGV[i]) then return redis.error_reply('ERR budget_take: a price is not a number') end
end
local open_tasks = math.max(0, tonumber(redis.call('GET', KEYS[3]) or '0') or 0)

local burst = redis.call('GET', KEYS[5]) or ''
local before = redis.call('GET', KEYS[2])
if before then
  -- A batch that comes again is told of the burst that was open then: the one it opened itself would be another's to it. Before bursts
  -- were kept here, there was the number alone.
  local count, told = string.match(before, '^(%d+) ?(.*)$')
  return {math.max(0, math.min(wanted, tonumber(count))), open_tasks, told}
end

local now
if ARGV[7] == '' then
  local time = redis.call('TIME')
  now = tonumber(time[1]) + tonumber(time[2]) / 1000000
else
  now = tonumber(ARGV[7])
end

local stored = redis.call('HMGET', KEYS[1], 'tokens', 'debt', 'at')
local tokens = tonumber(stored[1] or '') or carry_over
local debt = tonumber(stored[2] or '') or 0
local at = tonumber(stored[3] or '') or now

local earned = math.max(0, now - at) * per_s
local repaid = math.min(debt, earned * repayment)
tokens = tokens + math.min(math.max(0, carry_over - tokens), earned - repaid)
debt = debt - repaid

local able, purse, purse_debt = wanted, nil, nil
if ARGV[13] then
  local purse_per_s, purse_most = tonumber(ARGV[13]), tonumber(ARGV[14])
  local kept = redis.call('HMGET', KEYS[1], 'purse', 'purse_debt')
  purse, purse_debt = tonumber(kept[1] or '') or purse_most, tonumber(kept[2] or '') or 0
  local income = math.max(0, now - at) * purse_per_s
  local paid_back = math.min(purse_debt, income * repayment)
  purse = purse + math.min(math.max(0, purse_most - purse), income - paid_back)
  purse_debt = purse_debt - paid_back
  able = 0
  local sum = 0
  for i = 15, #ARGV do
    sum = sum + tonumber(ARGV[i])
    -- A full purse pays for one task, whatever it costs: else none after it would ever be asked.
    if sum > purse + 1e-9 and not (i == 15 and purse >= purse_most - 1e-9) then break end
    able = able + 1
  end
end

local longest = max_open
if ARGV[8] ~= '' then
  local queue_age, headroom, least_open = tonumber(ARGV[8]), tonumber(ARGV[9]), tonumber(ARGV[10])
  local memory, prior = tonumber(ARGV[11]), tonumber(ARGV[12])
  local settled = tonumber(redis.call('GET', KEYS[4]) or '0') or 0
  local pace = redis.call('HMGET', KEYS[1], 'done', 'span', 'settled', 'looked')
  local done, span = tonumber(pace[1] or '') or per_s * memory * prior, tonumber(pace[2] or '') or memory * prior
  local gap, more = now - (tonumber(pace[4] or '') or now), settled - (tonumber(pace[3] or '') or settled)
  -- A count that fell, of a queue built anew, or a clock that went back, says nothing of people.
  if gap >= 0 and more >= 0 then
    local kept = math.exp(-gap / memory)
    done, span = done * kept + more, span * kept + gap
  end
  redis.call('HSET', KEYS[1], 'done', string.format('%.17g', done), 'span', string.format('%.17g', span),
    'settled', settled, 'looked', string.format('%.17g', now))
  longest = math.min(max_open, math.max(least_open, math.floor(headroom * queue_age * done / math.max(span, 1e-9))))
end
local room = math.max(0, longest - open_tasks)
local granted = math.max(0, math.min(wanted, able, math.floor(tokens + 1e-9), room))
tokens = math.max(0, tokens - granted)

redis.call('HSET', KEYS[1],
  'tokens', string.format('%.17g', tokens), 'debt', string.format('%.17g', debt), 'at', string.format('%.17g', now))
if purse then
  for i = 15, 14 + granted do purse = purse - tonumber(ARGV[i]) end
  redis.call('HSET', KEYS[1], 'purse', string.format('%.17g', purse), 'purse_debt', string.format('%.17g', purse_debt))
end
if wanted > 0 then
  redis.call('SET', KEYS[2], string.format('%d', granted) .. ' ' .. burst, 'PX', ttl_ms)
end
return {granted, open_tasks, burst}
