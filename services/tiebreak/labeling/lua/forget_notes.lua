-- Drop the notes of answers that were given before a time.
-- ARGV  nonce, the time (ms), then fields of `notes`
-- Returns {'OK', notes dropped} or {'BUILDING'}.
-- Invariant: a note that a newer answer brought meanwhile stays.
if not ready() then return {'BUILDING'} end
local dropped = 0
for i = 3, #ARGV do
  local at = string.match(redis.call('HGET', P .. 'notes', ARGV[i]) or '', '^(%d+)|')
  if at and tonumber(at) < tonumber(ARGV[2]) then dropped = dropped + redis.call('HDEL', P .. 'notes', ARGV[i]) end
end
return {'OK', dropped}
