-- The annotation is on the log: end the lease, remember the answer. An undo leases the task to the same person again if it is free.
-- ARGV  nonce, annotator, task, revision, state, token, claimed, counted, lease_ms, history length, history line
-- Returns {'OK'}, {'OK', {id, token, claimed, deadline, body, 0 | 1: in review}} after an undo, or {'BUILDING'}.
-- Invariant: repeated, it changes nothing and answers the same lease.
if not ready() then return {'BUILDING'} end
local annotator, id, state = ARGV[2], ARGV[3], ARGV[5]
local key, now = task_key(id), now_ms()
local new = ARGV[8] == '1'
  and take_answer(id, annotator, tonumber(ARGV[4]), state, ARGV[6], ARGV[7], now, ARGV[11], tonumber(ARGV[10]))
if not new then redis.call('HDEL', key, 'p:' .. annotator) end
if state ~= 'withdrawn' or not has_body(id) then return {'OK'} end
-- Not `new`: the log may have brought the undo before its confirmation, and who took the answer back gets the task all the same.
local back = give_back(id, annotator, ARGV[4], now, tonumber(ARGV[9]))
if back then return {'OK', back} end
local h = redis.call('HMGET', key, 'by', 'tok', 'at', 'st')
if h[1] == annotator then
  local deadline = redis.call('ZSCORE', P .. 'leases', id)
  return {'OK', {id, h[2], tonumber(h[3]), tonumber(deadline), body_of(id), h[4] == 'in_review' and 1 or 0}}
end
return {'OK'}
