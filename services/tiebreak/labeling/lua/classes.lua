-- The classes that people added, after adding one more where a name is given.
-- ARGV  nonce, name or ''
-- Returns {'OK', name...}, oldest first, or {'BUILDING'}.
-- Invariant: what an index lists is whole, or nothing: half of the classes would be an older version of the schema, and answers by the
-- newer one refused for good. A class keeps its place.
if not ready() then return {'BUILDING'} end
if ARGV[2] ~= '' and not redis.call('ZSCORE', P .. 'classes', ARGV[2]) then
  redis.call('ZADD', P .. 'classes', redis.call('INCR', P .. 'order'), ARGV[2])
end
return {'OK', unpack(redis.call('ZRANGE', P .. 'classes', 0, -1))}
