-- The server was started again, and its disk had every change: the index of its former life is whole, and open for everybody.
-- ARGV  nonce
-- Returns {'OK', 1 where it is open now, 0 where it is to be built} or {'BUILDING'} (somebody else became the builder).
-- Invariant: only an index of which every change was on disk before it was answered outlives the server.
if not ready() then return {'BUILDING'} end
local epoch = redis.call('GET', P .. 'epoch')
if not epoch or not string.find(epoch, '|always', 1, true) then return {'OK', 0} end
redis.call('SET', P .. 'epoch', life() .. '|always|' .. ARGV[1])
redis.call('DEL', P .. 'builder')
return {'OK', 1}
