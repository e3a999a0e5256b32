-- Return expired leases, expire stale tasks, drop the content of settled ones, forget those settled long ago.
-- ARGV  nonce, limit, keep_ms
-- Returns {'OK', leases expired, tasks expired, purged, tasks let go} or {'BUILDING'}.
-- Invariant: nothing is dropped that somebody worked on and whose label is not on the log, nor while an answer to it (say one that
-- is being taken back) has not been folded: the settler may be behind by more than the time in which answers can be taken back.
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
  if has_body(id) then offer(id) end
end

-- What becomes of a task whose time has come: 1 when it expires.
local function expire(id)
  if not has_body(id) then return 0 end
  if redis.call('HEXISTS', task_key(id), 'by') == 1 then
    may_expire(id, now + 1000, 1000)
    return 0
  end
  if worked_on(id, 'c:') then return 0 end -- somebody's work is in it: it stays until it is settled
  drop(id, 'expired')
  return 1
end

local expired, left = 0, tonumber(limit)
for _, at in ipairs(due('expiry')) do
  local ids = left > 0 and redis.call('LPOP', P .. 'expiry:' .. at, left) or {}
  for _, id in ipairs(ids or {}) do expired = expired + expire(id) end
  left = left - #(ids or {})
  if redis.call('EXISTS', P .. 'expiry:' .. at) == 0 then redis.call('ZREM', P .. 'expiry', at) end
end

local purged = 0
for _, id in ipairs(due('purge')) do
  local h = hash_of(id)
  if h.lb or is_awaited(h, now, tonumber(ARGV[3])) then
    redis.call('ZADD', P .. 'purge', now + 1000, id)
  else
    if h.by then unlease(id) end
    redis.call('HDEL', P .. 'bodies', id)
    drop_notes(id, h)
    redis.call('ZREM', P .. 'purge', id)
    redis.call('ZADD', P .. 'forget', now + ARGV[3], id)
    redis.call('HSET', done_key(id), id, 'settled:' .. (h.lr or '0'))
    purged = purged + 1
  end
end
for _, id in ipairs(due('forget')) do
  redis.call('DEL', task_key(id))
  redis.call('ZREM', P .. 'forget', id)
end

-- Whoever these were kept for did not come.
local let_go = 0
for _, id in ipairs(due('kept')) do
  local h = redis.call('HMGET', task_key(id), 'ln', 'kf')
  unoffer(id, h[1], 'open', h[2])
  offer(id)
  let_go = let_go + 1
end
return {'OK', #late, expired, purged, let_go}
