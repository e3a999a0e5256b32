-- Who builds the index goes on building it: they read a log, and touch nothing here meanwhile.
-- ARGV  nonce
-- Returns {'OK'} or {'BUILDING'} (somebody else became the builder).
-- Invariant: the nonce outlives any reading that goes on, so that nobody else begins again.
if not ready() then return {'BUILDING'} end
return {'OK'}
