-- The end of a rebuild: mark tasks as settled for good, and at last open the index for everybody.
-- ARGV  nonce, '' | '1' to open the index | 'always' to open it where the disk has every change, then per task: id, label revision
-- Returns {'OK'} or {'BUILDING'} (somebody else became the builder).
-- Invariant: the epoch is set only by the builder; an erased task stays erased.
if not ready() then return {'BUILDING'} end
for i = 3, #ARGV, 2 do
  redis.call('HSETNX', done_key(ARGV[i]), ARGV[i], 'settled:' .. ARGV[i + 1])
end
if ARGV[2] ~= '' then
  redis.call('SET', P .. 'epoch', life() .. '|' .. (ARGV[2] == 'always' and ARGV[2] or '') .. '|' .. ARGV[1])
  redis.call('DEL', P .. 'builder')
end
return {'OK'}
