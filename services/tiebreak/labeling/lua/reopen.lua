-- Offer tasks to further people.
-- ARGV  nonce, how long (ms) a task is kept for one person, how many for each, then per task: id, sequence, review ('0' | '1'),
--   people to keep it for if they are free, by line, and what the reviewer is told of the answers
-- Returns {'OK'} or {'BUILDING'}.
-- Invariant: a task that is held, settled, gone or has moved on is left alone.
if not ready() then return {'BUILDING'} end
for i = 4, #ARGV, 5 do
  local id = ARGV[i]
  local h = redis.call('HMGET', task_key(id), 'st', 'sq', 'ln', 'kf')
  if h[1] and h[1] ~= 'settled' and h[2] == ARGV[i + 1] then
    local state = ARGV[i + 2] == '1' and 'in_review' or 'open'
    if state ~= h[1] then
      unoffer(id, h[3], h[1], h[4])
      redis.call('HSET', task_key(id), 'st', state)
      redis.call('INCRBY', P .. 'in_review', state == 'in_review' and 1 or -1)
    end
    if state == 'in_review' then redis.call('HSET', task_key(id), 'sh', h[2] .. '|' .. ARGV[i + 4]) end
    offer(id, ARGV[i + 3], now_ms() + ARGV[2], tonumber(ARGV[3]))
  end
end
return {'OK'}
