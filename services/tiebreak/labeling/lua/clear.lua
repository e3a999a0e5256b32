-- A page of the clearing before a rebuild: remove these keys of a former life's index.
-- ARGV  nonce, then per key: its name without the prefix
-- Returns {'OK'} or {'BUILDING'} (somebody else became the builder).
-- Invariant: only the builder clears. An index that somebody else has opened meanwhile is of this life, and not for clearing.
if ARGV[1] == '' or redis.call('GET', P .. 'builder') ~= ARGV[1] then return {'BUILDING'} end
redis.call('PEXPIRE', P .. 'builder', 30000)
for i = 2, #ARGV do redis.call('UNLINK', P .. ARGV[i]) end
return {'OK'}
