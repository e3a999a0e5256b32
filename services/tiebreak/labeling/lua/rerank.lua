-- Move waiting tasks within their lines.
-- ARGV  nonce, then per task: id, lane, rank
-- Returns {'OK', number moved} or {'BUILDING'}.
-- Invariant: what is not on offer untouched stays where it is.
if not ready() then return {'BUILDING'} end
local moved = 0
for i = 2, #ARGV, 3 do
  local id, lane, rank = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  if redis.call('ZSCORE', P .. 'open:' .. lane, id) then
    redis.call('ZADD', P .. 'open:' .. lane, rank, id)
    if redis.call('EXISTS', task_key(id)) == 1 then redis.call('HSET', task_key(id), 'rk', rank) end
    moved = moved + 1
  end
end
return {'OK', moved}
