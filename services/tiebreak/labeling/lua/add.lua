-- Put new tasks on offer; a task that was ever known is ignored.
-- ARGV  nonce, task_ttl_ms, then per task: id, lane, rank, created_ms ('0': now), body
-- Returns {'OK', number of new ones} or {'BUILDING'}.
-- Invariant: open_tasks grows by exactly the tasks that get a body.
if not ready() then return {'BUILDING'} end
local now = now_ms()
local new = 0
for i = 3, #ARGV, 5 do
  local id, lane, rank, created, body = ARGV[i], ARGV[i + 1], ARGV[i + 2], tonumber(ARGV[i + 3]), ARGV[i + 4]
  if redis.call('EXISTS', body_key(id), task_key(id)) == 0 and redis.call('HEXISTS', done_key(id), id) == 0 then
    redis.call('SET', body_key(id), body)
    redis.call('ZADD', P .. 'open:' .. lane, rank, id)
    redis.call('ZADD', P .. 'expiry', (created > 0 and created or now) + ARGV[2], id)
    new = new + 1
  end
end
if new > 0 then redis.call('INCRBY', P .. 'open_tasks', new) end
return {'OK', new}
