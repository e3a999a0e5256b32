-- The annotation is on the log: end the lease, remember the answer. An undo leases the task to the same person again if it is free.
-- ARGV  nonce, annotator, task, revision, state, token, claimed, counted, lease_ms, history length, history line
-- Returns {'OK'}, {'OK', {id, token, claimed, deadline, body}} after an undo, or {'BUILDING'}.
-- Invariant: repeated, it changes nothing and answers the same lease.
if not ready() then return {'BUILDING'} end
local annotator, id, state = ARGV[2], ARGV[3], ARGV[5]
local key, now = task_key(id), now_ms()
if redis.call('EXISTS', key) == 0 then return {'OK'} end
redis.call('HDEL', key, 'p:' .. annotator)
local whole = has_body(id)
local new = ARGV[8] == '1'
  and take_answer(id, annotator, tonumber(ARGV[4]), state, ARGV[6], ARGV[7], now, ARGV[11], tonumber(ARGV[10]))
if state ~= 'withdrawn' or not whole then return {'OK'} end
local by = redis.call('HGET', key, 'by')
if new and not by then
  unoffer(id)
  return {'OK', lease(id, annotator, now, tonumber(ARGV[9]))}
end
if by == annotator then
  local h = redis.call('HMGET', key, 'tok', 'at')
  local deadline = redis.call('ZSCORE', P .. 'leases', id)
  return {'OK', {id, h[1], tonumber(h[2]), tonumber(deadline), body_of(id)}}
end
return {'OK'}
