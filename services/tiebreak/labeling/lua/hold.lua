-- Renew or release a lease.
-- ARGV  nonce, annotator, task, token, lease_ms, 'renew' | 'release'
-- Returns {'OK', deadline, now, when it was claimed, 0 | 1: in review (0, 0, 0, 0 after a release)}, {'BUILDING'}, {'NOT_FOUND'}, {'SETTLED'}, {'EXPIRED'},
--   {'WITHDRAWN'}, {'ERASED'} or {'STALE_LEASE'}.
-- Invariant: only the newest token moves a deadline.
if not ready() then return {'BUILDING'} end
local annotator, id, token = ARGV[2], ARGV[3], ARGV[4]
local h = redis.call('HMGET', task_key(id), 'g:' .. annotator, 'by', 'tok', 'at', 'st')
if not h[1] then return {absent(id)} end
local holds = h[2] == annotator and h[3] == token
if ARGV[6] == 'release' then
  if holds then
    unlease(id)
    offer(id)
  elseif string.match(h[1], '^%d+') ~= token then
    return {'STALE_LEASE'}
  end
  return {'OK', 0, 0, 0, 0}
end
if gone_for(id, annotator) then return {'SETTLED'} end
if not holds then return {'STALE_LEASE'} end
local now = now_ms()
redis.call('ZADD', P .. 'leases', now + ARGV[5], id)
return {'OK', now + ARGV[5], now, tonumber(h[4]), h[5] == 'in_review' and 1 or 0}
