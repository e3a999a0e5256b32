-- Make a person hold `want` leases; those already held are renewed and come first. A task whose answer of theirs is on its way to the
-- log is theirs still, and not to be answered again: it is not among them.
-- ARGV  nonce, annotator, want, lease_ms, scan limit, head start (ms), pending_ms, then the routes in the order to serve them
-- Returns {'OK', now, {id, token, claimed, deadline, body, 0 | 1: in review}...}, where there is nothing {'OK', now, open tasks, leases and tasks kept
-- for somebody, soonest end of one}, or {'BUILDING'}.
-- Invariant: a task has at most one holder, and is on no route while it has one. Cost O(log n): a place on an `again` route that
-- a person cannot take (it has an answer of theirs) is looked at once, then their cursor is past it.
if not ready() then return {'BUILDING'} end
local annotator, want, lease_ms, budget, head_start = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6]
local now = now_ms()
local out, in_flight, flying = {}, {}, 0

for _, id in ipairs(redis.call('ZRANGE', P .. 'held:' .. annotator, 0, -1)) do
  local h = redis.call('HMGET', task_key(id), 'by', 'tok', 'at', 'p:' .. annotator, 'st')
  if h[1] ~= annotator then
    redis.call('ZREM', P .. 'held:' .. annotator, id)
  elseif known.promised[id] == annotator or now - tonumber(h[4] or '0') < tonumber(ARGV[7]) then
    in_flight[id], flying = true, flying + 1
  elseif gone_for(id, annotator) then
    unlease(id)
  elseif #out < want then
    redis.call('ZADD', P .. 'leases', now + lease_ms, id)
    out[#out + 1] = {id, h[2], tonumber(h[3]), now + lease_ms, body_of(id), h[5] == 'in_review' and 1 or 0}
  end
end

local function from_again(route)
  local name = 'again:' .. route
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
        if string.sub(route, 1, 4) == 'for:' then unoffer(found[i], '', 'open', annotator) end
        known.head[name] = nil
        return found[i]
      end
    end
  end
  return nil
end

-- The first of a line; where nobody was ever given it, what its hash lacks, and its body.
local function from_open(route)
  local name = 'open:' .. route
  known.head[name] = nil
  while true do
    local found = redis.call('ZPOPMIN', P .. name)
    local id, rank = found[1], found[2]
    if not id then return nil end
    if redis.call('EXISTS', task_key(id)) == 1 then return id end
    local body = body_of(id)
    if body then return id, {'st', 'open', 'ln', route, 'rk', rank}, body end
  end
end

-- The rank of a line's first task; false where the line is empty.
local function head_of(name)
  local head = known.head[name]
  if head == nil then
    local found = redis.call('ZRANGE', P .. name, 0, 0, 'WITHSCORES')
    head = found[1] and tonumber(found[2]) or false
    if head and string.sub(name, 1, 6) == 'again:' then head = tonumber(redis.call('HGET', task_key(found[1]), 'rk') or '0') end
    known.head[name] = head
  end
  return head
end

-- Lines in the order to serve them where they are level. A lane's have a `start`; what is no lane is served before all lanes.
local lines = {}
for i = 8, #ARGV do
  local route, lane = ARGV[i], string.match(ARGV[i], '^%l+')
  local start = lane_start(lane, head_start)
  lines[#lines + 1] = {take = from_again, name = 'again:' .. route, route = route, lane = lane, start = start}
  lines[#lines + 1] = {take = from_open, name = 'open:' .. route, route = route, lane = lane, start = start}
end

-- What waits for this person alone may be gold: of several tasks it is not always the first, or its place and token would tell it.
local own_from = now % want

-- The line whose turn it is. A lane's turn is that of its oldest task, and within a lane the order of the lines holds.
local function first_line()
  local first, best, lane, least = nil, math.huge, nil, math.huge
  for i = #lines, 1, -1 do
    local line = lines[i]
    local head = not line.over and (line.lane ~= 'to' or #out >= own_from) and head_of(line.name)
    if head then
      if line.lane ~= lane then lane, least = line.lane, math.huge end
      least = line.start and math.min(least, line.start + head) or -math.huge
      if least <= best then first, best = line, least end
    end
  end
  return first
end

while #out < want do
  local line = first_line()
  if not line and own_from > 0 then
    own_from = 0
    line = first_line()
  end
  if not line then break end
  local id, fields, body = line.take(line.route)
  if id then
    out[#out + 1] = lease(id, annotator, now, lease_ms, line.route == 'review', fields, body)
  else
    line.over = true -- nothing of it is for this person
  end
end

local answer = {'OK', now}
for _, item in ipairs(out) do answer[#answer + 1] = item end
if #out > 0 then return answer end
local soonest, leases = 0, redis.call('ZRANGE', P .. 'leases', 0, flying, 'WITHSCORES')
for i = #leases - 1, 1, -2 do
  if not in_flight[leases[i]] then soonest = tonumber(leases[i + 1]) end
end
local kept = redis.call('ZRANGE', P .. 'kept', 0, 0, 'WITHSCORES')[2]
if kept and (soonest == 0 or tonumber(kept) < soonest) then soonest = tonumber(kept) end
local others = redis.call('ZCARD', P .. 'leases') - flying + redis.call('ZCARD', P .. 'kept')
return {'OK', now, tonumber(redis.call('GET', P .. 'open_tasks') or '0'), others, soonest}
