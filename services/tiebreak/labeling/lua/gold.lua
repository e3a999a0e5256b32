-- Remember gold; what is about an erased person is left out.
-- ARGV  nonce, then per piece: id, subject's digest, body
-- Returns {'OK'} or {'BUILDING'}.
-- Invariant: once an erasure began, no gold about that person comes back.
if not ready() then return {'BUILDING'} end
for i = 2, #ARGV, 3 do
  if not is_erased(ARGV[i + 1]) then redis.call('HSET', P .. 'gold', ARGV[i], ARGV[i + 2]) end
end
return {'OK'}
