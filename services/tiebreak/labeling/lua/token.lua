-- A token's record.
-- ARGV  nonce, digest
-- Returns {'OK', name, role, created_ms, expires_ms} (each false where there is no such token) or {'BUILDING'}.
-- Invariant: after a start of the server no token is good until the trail was read: the newest thing that it lost may be a token's end.
local built = redis.call('GET', P .. 'tokens_built')
if built and built ~= life() then return {'BUILDING'} end
local h = redis.call('HMGET', P .. 'token:' .. ARGV[2], 'name', 'role', 'created_ms', 'expires_ms')
return {'OK', h[1], h[2], h[3], h[4]}
