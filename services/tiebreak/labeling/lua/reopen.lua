-- Offer tasks to further people.
-- ARGV  nonce, then per task: id, sequence, review ('0' | '1')
-- Returns {'OK'} or {'BUILDING'}.
-- Invariant: a task that is held, settled, gone or has moved on is left alone.
if not ready() then return {'BUILDING'} end
for i = 2, #ARGV, 3 do
  local id = ARGV[i]
  local h = redis.call('HMGET', task_key(id), 'st', 'sq', 'ln')
  if h[1] and h[1] ~= 'settled' and h[2] == ARGV[i + 1] then
    local state = ARGV[i + 2] == '1' and 'in_review' or 'open'
    if state ~= h[1] then
      unoffer(id, h[3], h[1])
      redis.call('HSET', task_key(id), 'st', state)
      redis.call('INCRBY', P .. 'in_review', state == 'in_review' and 1 or -1)
    end
    offer(id)
  end
end
return {'OK'}
