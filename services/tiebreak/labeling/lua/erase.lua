-- Forget tasks for good, in whatever state they are.
-- ARGV  nonce, then the ids of tasks
-- Returns {'OK', tasks that had content, leases ended, answers removed} or {'BUILDING'}.
-- Invariant: of an erased task nothing is left but its id in `done`, on no route and in no counter; repeated, it changes nothing.
if not ready() then return {'BUILDING'} end
local tasks, leases, answers = 0, 0, 0
for i = 2, #ARGV do
  local id = ARGV[i]
  local key, h, here = task_key(id), hash_of(id), has_body(id)
  local gold = redis.call('HDEL', P .. 'gold', id)
  if here or gold == 1 then tasks = tasks + 1 end
  -- A task without a hash waits, untouched, in one of the few lanes.
  if here and h.st ~= 'settled' then redis.call('DECR', P .. 'open_tasks') end
  if h.st == 'in_review' then redis.call('DECR', P .. 'in_review') end
  for _, lane in ipairs(h.ln and {h.ln} or LANES) do unoffer(id, lane, h.st or 'open', h.kf) end
  if h.by then
    unlease(id)
    leases = leases + 1
  end
  for field in pairs(h) do
    local kind = string.sub(field, 1, 2)
    if kind == 'c:' then answers = answers + 1 end
    if kind == 'k:' then redis.call('DEL', P .. 'idem:' .. string.sub(field, 3)) end
  end
  drop_notes(id, h)
  redis.call('DEL', key)
  redis.call('HDEL', P .. 'bodies', id)
  redis.call('ZREM', P .. 'purge', id)
  redis.call('ZREM', P .. 'forget', id)
  redis.call('HSET', done_key(id), id, 'erased:0')
end
return {'OK', tasks, leases, answers}
