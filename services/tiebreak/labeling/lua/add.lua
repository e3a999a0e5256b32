-- Put new tasks on offer; a task that was ever known is ignored, and so is one about an erased person: it is known from then on.
-- ARGV  nonce, task_ttl_ms, expiry step (ms), then per task: id, lane, rank, created_ms ('0': now), subject's digest, body
-- Returns {'OK', number of new ones} or {'BUILDING'}.
-- Invariant: open_tasks grows by exactly the tasks that get a body.
if not ready() then return {'BUILDING'} end
local now = now_ms()
local new = 0
for i = 4, #ARGV, 6 do
  local id, lane, rank, created, body = ARGV[i], ARGV[i + 1], ARGV[i + 2], tonumber(ARGV[i + 3]), ARGV[i + 5]
  if redis.call('EXISTS', task_key(id)) == 1 or has_body(id) or redis.call('HEXISTS', done_key(id), id) == 1 then
    -- known
  elseif is_erased(ARGV[i + 4]) then
    redis.call('HSET', done_key(id), id, 'erased:0')
  else
    redis.call('HSET', P .. 'bodies', id, body)
    redis.call('ZADD', P .. 'open:' .. lane, rank, id)
    -- Its line cannot be found again by looking through the few lanes that everybody is served from.
    if not common_lane(lane) then
      redis.call('HSET', task_key(id), 'st', 'open', 'ln', lane, 'rk', rank)
      redis.call('SADD', P .. 'lines', lane)
    end
    may_expire(id, (created > 0 and created or now) + ARGV[2], ARGV[3])
    new = new + 1
  end
end
if new > 0 then redis.call('INCRBY', P .. 'open_tasks', new) end
return {'OK', new}
