-- Fold annotations of the log into their tasks.
-- ARGV  nonce, history length, lease_ms, then per annotation: task, annotator, revision, state, token, claimed, ballot, history line,
--   when it was given, note
-- Returns {'OK', per annotation: {'unknown'} | {'done'} |
--   {'new' | 'duplicate', sequence, label revision, settled at, unpublished label, body, {ballot field...}}} or {'BUILDING'}.
-- Invariant: an (annotator, revision) is folded once; its place is the order in which the log brought it. Who is about to hear that
-- their undo is accepted holds the task.
if not ready() then return {'BUILDING'} end
local now = now_ms()
local out = {'OK'}

-- All fields of a task that may be waiting untouched; nil when it is not here.
local function fields_of(id)
  local fields = hash_of(id)
  if next(fields) then return fields end
  return open_hash(id) and hash_of(id) or nil
end

for i = 4, #ARGV, 10 do
  local id, annotator, rev, state = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2]), ARGV[i + 3]
  local h = fields_of(id)
  local body = h and body_of(id)
  if not h then
    out[#out + 1] = {redis.call('HEXISTS', done_key(id), id) == 1 and 'done' or 'unknown'}
  elseif not body then
    out[#out + 1] = {'done'}
  else
    local c = answer_of(h['c:' .. annotator])
    if not c or c.rev < rev then
      take_answer(id, annotator, rev, state, ARGV[i + 4], ARGV[i + 5], now, ARGV[i + 7], tonumber(ARGV[2]))
    end
    local mine = 'v:' .. annotator
    local place, _, old_rev, old_state = string.match(h[mine] or '', '^(%d+)|(%d+)|(%d+)|(%l+)|')
    local new = not old_rev or tonumber(old_rev) < rev
    if new then
      local counting = old_state == 'submitted' or old_state == 'late'
      h.sq = tonumber(h.sq or '0') + 1
      h[mine] = h.sq .. '|' .. (counting and place or '0') .. '|' .. rev .. '|' .. state .. '|' .. ARGV[i + 6]
      if not old_rev then h.vo = (h.vo and h.vo .. '\n' or '') .. annotator end
      redis.call('HSET', task_key(id), 'sq', h.sq, mine, h[mine], unpack(old_rev and {} or {'vo', h.vo}))
      if old_rev or ARGV[i + 9] ~= '' then note(id, annotator, ARGV[i + 8], ARGV[i + 9]) end
    end
    if h['u:' .. annotator] then give_back(id, annotator, ARGV[i + 2], now, tonumber(ARGV[3])) end
    local ballots = {}
    for field, text in pairs(h) do
      if string.sub(field, 1, 2) == 'v:' then ballots[#ballots + 1] = text end
    end
    out[#out + 1] = {new and 'new' or 'duplicate', tonumber(h.sq or '0'), tonumber(h.lr or '0'),
                     tonumber(h.ls or '0'), h.lb or '', body, ballots}
  end
end
if known.fence then redis.call('SET', P .. 'fence', string.format('%.0f', known.fence)) end
return out
