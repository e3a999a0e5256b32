-- Fold annotations of the log into their tasks.
-- ARGV  nonce, history length, then per annotation: task, annotator, revision, state, token, claimed, ballot, history line
-- Returns {'OK', per annotation: {'unknown'} | {'done'} |
--   {'new' | 'duplicate', sequence, label revision, settled at, unpublished label, body, {ballot field...}}} or {'BUILDING'}.
-- Invariant: an (annotator, revision) is folded once; its place is the order in which the log brought it.
if not ready() then return {'BUILDING'} end
local now = now_ms()
local out = {'OK'}
for i = 3, #ARGV, 8 do
  local id, annotator, rev, state = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2]), ARGV[i + 3]
  local key = task_key(id)
  if not open_hash(id) then
    out[#out + 1] = {redis.call('HEXISTS', done_key(id), id) == 1 and 'done' or 'unknown'}
  elseif not has_body(id) then
    out[#out + 1] = {'done'}
  else
    take_answer(id, annotator, rev, state, ARGV[i + 4], ARGV[i + 5], now, ARGV[i + 7], tonumber(ARGV[2]))
    local old = redis.call('HGET', key, 'v:' .. annotator)
    local place, _, old_rev, old_state = string.match(old or '', '^(%d+)|(%d+)|(%d+)|(%l+)|')
    local new = not old_rev or tonumber(old_rev) < rev
    if new then
      local counting = old_state == 'submitted' or old_state == 'late'
      local place_now = redis.call('HINCRBY', key, 'sq', 1)
      redis.call('HSET', key, 'v:' .. annotator,
                 place_now .. '|' .. (counting and place or '0') .. '|' .. rev .. '|' .. state .. '|' .. ARGV[i + 6])
    end
    local h = redis.call('HMGET', key, 'sq', 'lr', 'ls', 'lb')
    local ballots = {}
    local all = redis.call('HGETALL', key)
    for j = 1, #all, 2 do
      if string.sub(all[j], 1, 2) == 'v:' then ballots[#ballots + 1] = all[j + 1] end
    end
    out[#out + 1] = {new and 'new' or 'duplicate', tonumber(h[1] or '0'), tonumber(h[2] or '0'),
                     tonumber(h[3] or '0'), h[4] or '', body_of(id), ballots}
  end
end
return out
