-- Make a person hold `want` leases; those already held are renewed and come first.
-- ARGV  nonce, annotator, want, lease_ms, scan limit, then the routes in the order to serve them
-- Returns {'OK', now, {id, token, claimed, deadline, body}...}, where there is nothing {'OK', now, open tasks, leases, soonest
-- deadline}, or {'BUILDING'}.
-- Invariant: a task has at most one holder, and is on no route while it has one. Cost O(log n): a place on an `again` route that
-- a person cannot take (it has an answer of theirs) is looked at once, then their cursor is past it.
if not ready() then return {'BUILDING'} end
local annotator, want, lease_ms, budget = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local now = now_ms()
local out = {}

for _, id in ipairs(redis.call('ZRANGE', P .. 'held:' .. annotator, 0, -1)) do
  local h = redis.call('HMGET', task_key(id), 'by', 'tok', 'at')
  if h[1] ~= annotator then
    redis.call('ZREM', P .. 'held:' .. annotator, id)
  elseif gone_for(id, annotator) then
    unlease(id)
  elseif #out < want then
    redis.call('ZADD', P .. 'leases', now + lease_ms, id)
    out[#out + 1] = {id, h[2], tonumber(h[3]), now + lease_ms, body_of(id)}
  end
end

local function from_again(route)
  local name = 'again:' .. route
  if known.dry[name] then return nil end
  known.dry[name] = redis.call('EXISTS', P .. name) == 0
  if known.dry[name] then return nil end
  local cursor = redis.call('HGET', P .. 'cursor:' .. route, annotator) or '0'
  while budget > 0 do
    local found = redis.call('ZRANGEBYSCORE', P .. name, '(' .. cursor, '+inf', 'WITHSCORES', 'LIMIT', 0, 16)
    if #found == 0 then return nil end
    for i = 1, #found, 2 do
      budget = budget - 1
      cursor = found[i + 1]
      redis.call('HSET', P .. 'cursor:' .. route, annotator, cursor)
      local c = given(found[i], annotator)
      if c == nil or not c.stands then
        redis.call('ZREM', P .. name, found[i])
        return found[i]
      end
    end
  end
  return nil
end

-- The first of a line; where nobody was ever given it, what its hash lacks, and its body.
local function from_open(route)
  local name = 'open:' .. route
  while not known.dry[name] do
    local found = redis.call('ZPOPMIN', P .. name)
    local id, rank = found[1], found[2]
    if not id then
      known.dry[name] = true
    elseif redis.call('EXISTS', task_key(id)) == 1 then
      return id
    else
      local body = body_of(id)
      if body then return id, {'st', 'open', 'ln', route, 'rk', rank}, body end
    end
  end
  return nil
end

for i = 6, #ARGV do
  while #out < want do
    local id, fields, body = from_again(ARGV[i]), nil, nil
    if not id then id, fields, body = from_open(ARGV[i]) end
    if not id then break end
    out[#out + 1] = lease(id, annotator, now, lease_ms, fields, body)
  end
end

local answer = {'OK', now}
for _, item in ipairs(out) do answer[#answer + 1] = item end
if #out > 0 then return answer end
local soonest = redis.call('ZRANGE', P .. 'leases', 0, 0, 'WITHSCORES')
return {'OK', now, tonumber(redis.call('GET', P .. 'open_tasks') or '0'),
        redis.call('ZCARD', P .. 'leases'), tonumber(soonest[2] or '0')}
