-- Count the queue.
-- ARGV  nonce
-- Returns {'OK', open tasks, waiting, leases, in review} or {'BUILDING'}.
-- Invariant: a line that is no lane is known as long as anything waits in it.
if not ready() then return {'BUILDING'} end
local waiting = redis.call('ZCARD', P .. 'kept')

local function length(route)
  return redis.call('ZCARD', P .. 'open:' .. route) + redis.call('ZCARD', P .. 'again:' .. route)
end

for _, lane in ipairs(LANES) do waiting = waiting + length(lane) end
for _, line in ipairs(redis.call('SMEMBERS', P .. 'lines')) do
  local found = length(line)
  if found == 0 then redis.call('SREM', P .. 'lines', line) end
  waiting = waiting + found
end
local h = redis.call('MGET', P .. 'open_tasks', P .. 'in_review')
return {'OK', tonumber(h[1] or '0'), waiting, redis.call('ZCARD', P .. 'leases'), tonumber(h[2] or '0')}
