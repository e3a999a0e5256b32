-- Store decisions, first writer wins.
-- ARGV  nonce, undo_ms, keep_ms, then per decision: task, sequence, label revision, withdrawn ('0' | '1'), label
-- Returns {'OK', per decision: the label to publish, '' where there is none} or {'BUILDING'}.
-- Invariant: a label revision of a task has one content for ever; open_tasks counts tasks without a standing label.
if not ready() then return {'BUILDING'} end
local now = now_ms()
local out, changes, purge, settled = {'OK'}, 0, {}, 0
for i = 4, #ARGV, 5 do
  local id, sequence, rev, withdrawn, label = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2]), ARGV[i + 3] == '1', ARGV[i + 4]
  local key = task_key(id)
  local h = redis.call('HMGET', key, 'sq', 'lr', 'lb', 'st', 'ln', 'kf')
  -- Only a settled task may have lost its content while its hash is here.
  if not h[4] or (h[4] == 'settled' and not has_body(id)) then
    out[#out + 1] = ''
  elseif tonumber(h[2] or '0') >= rev then
    out[#out + 1] = h[3] or ''
  elseif h[1] ~= sequence then
    out[#out + 1] = '' -- another settler applied more: it decides
  else
    local state = withdrawn and 'open' or 'settled'
    local change = (h[4] == 'settled' and 1 or 0) - (withdrawn and 0 or 1)
    redis.call('HSET', key, 'lr', rev, 'lb', label, 'st', state, 'ls', withdrawn and '0' or sequence)
    changes = changes + change
    if change < 0 then settled = settled + 1 end
    if h[4] == 'in_review' then redis.call('DECR', P .. 'in_review') end
    unoffer(id, h[5], h[4], h[6])
    if withdrawn then
      redis.call('ZREM', P .. 'purge', id)
      purge[id] = nil
      offer(id)
    else
      purge[id] = true
    end
    out[#out + 1] = label
  end
end
if changes ~= 0 then redis.call('INCRBY', P .. 'open_tasks', changes) end
if settled > 0 then redis.call('INCRBY', P .. 'settled_tasks', settled) end
local places = {}
for id in pairs(purge) do
  places[#places + 1] = now + ARGV[2]
  places[#places + 1] = id
end
if #places > 0 then redis.call('ZADD', P .. 'purge', unpack(places)) end
return out
