-- These labels are on the log: their content need not be kept for another try.
-- ARGV  nonce, then per label: task, revision
-- Returns {'OK'} or {'BUILDING'}.
-- Invariant: a label is forgotten here only after the log acknowledged that very revision.
if not ready() then return {'BUILDING'} end
for i = 2, #ARGV, 2 do
  if redis.call('HGET', task_key(ARGV[i]), 'lr') == ARGV[i + 1] then
    redis.call('HDEL', task_key(ARGV[i]), 'lb')
  end
end
return {'OK'}
