-- Forget the answers that were given before a time: votes, receipts, notes, who gave them.
-- ARGV  nonce, the time (ms), how long an answer may be on its way to the log (ms), then the ids of tasks
-- Returns {'OK', answers forgotten} or {'BUILDING'}.
-- Invariant: a newer answer stays, and so does one that is on its way. An open task goes on as if what is forgotten had never been
-- said, but for the number of the next revision; a label that stands, stands.
if not ready() then return {'BUILDING'} end
local before, patience, now, forgotten = tonumber(ARGV[2]), tonumber(ARGV[3]), now_ms(), 0

-- When the newest answer of a person was given: by the log's word (the index may have been built since), or else by its confirmation.
local function given_at(c, v)
  if folded_revision(v) < c.rev then return c.at end
  return cjson.decode(string.match(v, '^%d+|%d+|%d+|%l+|(.*)$'))[4] -- see redis_wire.ballot_text
end

local function drop_receipt(id, field)
  local receipt = P .. 'idem:' .. string.sub(field, 3)
  local accepted = string.match(redis.call('GET', receipt) or '', '^[^|]*|%d+|%l+|%d+|%d+|(%d+)|')
  if accepted and tonumber(accepted) >= before then return end
  redis.call('DEL', receipt)
  redis.call('HDEL', task_key(id), field)
end

-- A task without content settled long ago: of those whose answers are forgotten nothing is left in it.
local function drop_answer(id, h, name, here)
  local fields = {'c:' .. name, 'v:' .. name, 'u:' .. name, 'p:' .. name}
  if h.by ~= name then fields[#fields + 1] = 'g:' .. name end
  if not here then fields[#fields + 1] = 'r:' .. name end
  redis.call('HDEL', task_key(id), unpack(fields))
  note(id, name, 0, '')
end

local function forget_in(id)
  local h, here, gone, standing = hash_of(id), has_body(id), {}, 0
  for field, text in pairs(h) do
    local kind, name = string.sub(field, 1, 2), string.sub(field, 3)
    if kind == 'k:' then drop_receipt(id, field) end
    local c = kind == 'c:' and answer_of(text)
    if c and given_at(c, h['v:' .. name]) < before and not is_awaited_of(h, name, now, patience) then
      drop_answer(id, h, name, here)
      gone[name] = true
      forgotten = forgotten + 1
      if c.stands then standing = standing + 1 end
    end
  end
  if not next(gone) then return end
  local left = {}
  for name in string.gmatch(h.vo or '', '[^\n]+') do
    if not gone[name] then left[#left + 1] = name end
  end
  redis.call('HDEL', task_key(id), 'sh', 'vo')
  redis.call('HSET', task_key(id), 'ns', tonumber(h.ns or '0') - standing)
  if #left > 0 then redis.call('HSET', task_key(id), 'vo', table.concat(left, '\n')) end
  if here then offer(id) end
end

for i = 4, #ARGV do forget_in(ARGV[i]) end
return {'OK', forgotten}
