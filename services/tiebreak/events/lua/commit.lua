-- Store a member's positions, fenced.
-- KEYS[1] owners      tb:{tag}:group:<group>:owners      hash: <topic>/<partition> -> member
-- KEYS[2] positions   tb:{tag}:group:<group>:positions   hash: <topic>/<partition> -> next offset
-- ARGV[1] member   ARGV[2..] partition, position, partition, position, ...
-- Error (nothing written): NOTOWNER with the first partition that has another owner.
-- Invariant: only a partition's owner moves its position.
for i = 2, #ARGV, 2 do
  if redis.call('HGET', KEYS[1], ARGV[i]) ~= ARGV[1] then
    return redis.error_reply('NOTOWNER ' .. ARGV[i])
  end
end
for i = 2, #ARGV, 2 do
  redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1])
end
return 1
