-- What people said about a task in review, for the reviewer who holds it.
-- ARGV  nonce, annotator, task
-- Returns {'OK', who answered, by line in the order of their first answers, what the consensus made of these answers ('' nothing),
--   per answer: the field 'v:', the note ('' none)}, {'BUILDING'}, {'NOT_FOUND'}, {'SETTLED'}, {'EXPIRED'}, {'WITHDRAWN'}, {'ERASED'},
--   {'STALE_LEASE'} or {'NOT_IN_REVIEW'}.
-- Invariant: changes nothing, and tells nobody but a task's holder, and them of a task in review alone.
if not ready() then return {'BUILDING'} end
local annotator, id = ARGV[2], ARGV[3]
local h = hash_of(id)
if not h['g:' .. annotator] then return {absent(id)} end
if is_gone(h.st, answer_of(h['c:' .. annotator])) then return {'SETTLED'} end
if h.by ~= annotator then return {'STALE_LEASE'} end
if h.st ~= 'in_review' then return {'NOT_IN_REVIEW'} end
local told_at, shares = string.match(h.sh or '', '^(%d+)|(.*)$')
local out = {'OK', h.vo or '', told_at == h.sq and shares or ''}
for field, text in pairs(h) do
  local by = string.match(field, '^v:(.+)$')
  if by then
    local noted = redis.call('HGET', P .. 'notes', id .. '|' .. by)
    out[#out + 1] = {text, noted and string.match(noted, '^%d+|(.*)$') or ''}
  end
end
return out
