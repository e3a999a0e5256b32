-- Return expired leases, expire stale tasks, drop the content of settled ones, forget those settled long ago.
-- ARGV  nonce, limit, keep_ms
-- Returns {'OK', leases expired, tasks expired, purged} or {'BUILDING'}.
-- Invariant: nothing is dropped that somebody worked on and whose label is not on the log.
if not ready() then return {'BUILDING'} end
local now, limit = now_ms(), ARGV[2]

local function due(name)
  return redis.call('ZRANGEBYSCORE', P .. name, '-inf', now, 'LIMIT', 0, limit)
end

local late = due('leases')
for _, id in ipairs(late) do
  local by = redis.call('HGET', task_key(id), 'by')
  if by then redis.call('HDEL', task_key(id), 'p:' .. by) end
  unlease(id)
  if redis.call('EXISTS', body_key(id)) == 1 then offer(id) end
end

local expired = 0
for _, id in ipairs(due('expiry')) do
  local h = redis.call('HMGET', task_key(id), 'by', 'sq')
  local answers = false
  for _, field in ipairs(redis.call('HKEYS', task_key(id))) do
    answers = answers or string.sub(field, 1, 2) == 'c:'
  end
  if h[1] then
    redis.call('ZADD', P .. 'expiry', now + 1000, id)
  elseif answers or h[2] then
    redis.call('ZREM', P .. 'expiry', id) -- somebody's work is in it: it stays until it is settled
  else
    local lane = string.match(redis.call('GETRANGE', body_key(id), 0, 79), '^(%l+)|')
    if lane then
      redis.call('ZREM', P .. 'open:' .. lane, id)
      redis.call('DECR', P .. 'open_tasks')
      redis.call('HSET', done_key(id), id, 'expired:0')
      expired = expired + 1
    end
    redis.call('DEL', body_key(id), task_key(id))
    redis.call('ZREM', P .. 'expiry', id)
  end
end

local purged = 0
for _, id in ipairs(due('purge')) do
  if redis.call('HEXISTS', task_key(id), 'lb') == 1 then
    redis.call('ZADD', P .. 'purge', now + 1000, id)
  else
    unlease(id)
    redis.call('DEL', body_key(id))
    redis.call('ZREM', P .. 'purge', id)
    redis.call('ZADD', P .. 'forget', now + ARGV[3], id)
    redis.call('HSET', done_key(id), id, 'settled:' .. (redis.call('HGET', task_key(id), 'lr') or '0'))
    purged = purged + 1
  end
end
for _, id in ipairs(due('forget')) do
  redis.call('DEL', task_key(id))
  redis.call('ZREM', P .. 'forget', id)
end
return {'OK', #late, expired, purged}
