-- Check an answer and promise its facts. Nothing counts yet: the annotation must reach the log first.
-- ARGV  nonce, annotator, task, token, key, digest, 'vote' | 'skip' | 'undo' | 'withdraw', undo_ms, idempotency_ms, pending_ms
-- Returns {'OK', '<digest>|<revision>|<state>|<token>|<claimed>|<accepted>|<counted>|<review>'} or one refusal:
--   BUILDING NOT_FOUND SETTLED EXPIRED WITHDRAWN ERASED KEY_REUSED IN_PROGRESS ALREADY_ANSWERED STALE_LEASE TOO_LATE_TO_UNDO
-- Invariant: a revision of a person's answer to a task is promised to one request (one key) only.
if not ready() then return {'BUILDING'} end
local annotator, id, token, digest, act = ARGV[2], ARGV[3], ARGV[4], ARGV[6], ARGV[7]
local receipt_key = P .. 'idem:' .. annotator .. ':' .. ARGV[5]
local promised = redis.call('GET', receipt_key)
if promised then
  if string.sub(promised, 1, #digest + 1) ~= digest .. '|' then return {'KEY_REUSED'} end
  known.promised[id] = annotator
  return {'OK', promised}
end

local key, now = task_key(id), now_ms()
local h = redis.call('HMGET', key, 'g:' .. annotator, 'by', 'tok', 'p:' .. annotator, 'c:' .. annotator, 'st', 'r:' .. annotator)
if not h[1] and not (act == 'withdraw' and h[5]) then return {absent(id)} end
if h[4] and now - tonumber(h[4]) < tonumber(ARGV[10]) then return {'IN_PROGRESS'} end

local c = answer_of(h[5])
local state, claimed, counted
if act == 'undo' or act == 'withdraw' then
  if c == nil or not c.stands then return {'NOT_FOUND'} end
  local gone = not has_body(id)
  if act == 'withdraw' and gone then return {'SETTLED'} end
  if act == 'undo' and (gone or now - c.at > tonumber(ARGV[8])) then return {'TOO_LATE_TO_UNDO'} end
  state, claimed, counted, token = 'withdrawn', c.claimed, 1, c.token
else
  if c and c.stands then return {'ALREADY_ANSWERED'} end
  local granted, at = string.match(h[1], '^(%d+)|(%d+)$')
  local holds = h[2] == annotator and h[3] == token
  if granted ~= token or (act == 'skip' and not holds) then return {'STALE_LEASE'} end
  local gone = is_gone(h[6], c)
  if gone and act == 'skip' then return {'SETTLED'} end
  state = act == 'skip' and 'skipped' or ((holds and not gone) and 'submitted' or 'late')
  claimed, counted = at, gone and 0 or 1
end

local rev = tonumber(h[7] or '0') + 1
redis.call('HSET', key, 'r:' .. annotator, rev, 'p:' .. annotator, now, 'k:' .. annotator .. ':' .. ARGV[5], '', unpack(act == 'undo' and {'u:' .. annotator, rev} or {}))
local review = h[6] == 'in_review' and 1 or 0
local receipt = string.format('%s|%d|%s|%s|%s|%.0f|%d|%d', digest, rev, state, token, claimed, now, counted, review)
redis.call('SET', receipt_key, receipt, 'PX', ARGV[9])
return {'OK', receipt}
