-- A token's record.
-- ARGV  nonce, digest
-- Returns {'OK', name, role, created_ms, expires_ms} (each false where there is no such token) or {'BUILDING'}.
-- Invariant: in a life of the server no token is good until the trail was read in it: what was lost last may be a token's end. So too
-- where nothing says that it was ever read: a snapshot can be older than the first reading.
if redis.call('GET', P .. 'tokens_built') ~= life() then return {'BUILDING'} end
local h = redis.call('HMGET', P .. 'token:' .. ARGV[2], 'name', 'role', 'created_ms', 'expires_ms')
return {'OK', h[1], h[2], h[3], h[4]}
