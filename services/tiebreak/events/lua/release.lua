-- A member gives partitions up, or leaves.
-- KEYS[1] members of the group   tb:{tag}:group:<group>:members   zset: member -> end of its lease
-- KEYS[2] owners                 tb:{tag}:group:<group>:owners    hash: <topic>/<partition> -> member
-- ARGV[1] member   ARGV[2] '1' to leave the group   ARGV[3..] partitions (when leaving: all that it owns, none need be named)
-- Invariant: nobody else's partition is touched.
if ARGV[2] == '1' then
  local flat = redis.call('HGETALL', KEYS[2])
  for i = 1, #flat, 2 do
    if flat[i + 1] == ARGV[1] then
      redis.call('HDEL', KEYS[2], flat[i])
    end
  end
  redis.call('ZREM', KEYS[1], ARGV[1])
else
  for i = 3, #ARGV do
    if redis.call('HGET', KEYS[2], ARGV[i]) == ARGV[1] then
      redis.call('HDEL', KEYS[2], ARGV[i])
    end
  end
end
return 1
