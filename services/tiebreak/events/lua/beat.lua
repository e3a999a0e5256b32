-- One heartbeat of one member of a consumer group.
-- KEYS[1] members of the group   tb:{tag}:group:<group>:members   zset: member -> end of its lease, Redis' clock in ms
-- KEYS[2] owners                 tb:{tag}:group:<group>:owners    hash: <topic>/<partition> -> member
-- ARGV[1] member   ARGV[2] session, ms   ARGV[3] '1' to join, '0' to stay   ARGV[4..] the group's partitions, in the agreed order
-- Returns {0} when the member's lease had run out and it does not join, else {1, {due...}, {owned...}}.
-- Invariant: a partition has one owner. It becomes another's only after its owner released it (release.lua) or lost its lease.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local me = ARGV[1]

local expired = {}
for _, member in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now)) do
  expired[member] = true
end
local member_known = redis.call('ZSCORE', KEYS[1], me) and not expired[me]
local owners = {}
local flat = redis.call('HGETALL', KEYS[2])
for i = 1, #flat, 2 do
  owners[flat[i]] = flat[i + 1]
end

for member, _ in pairs(expired) do
  redis.call('ZREM', KEYS[1], member)
end
for partition, owner in pairs(owners) do
  if expired[owner] then
    redis.call('HDEL', KEYS[2], partition)
    owners[partition] = nil
  end
end
if not member_known and ARGV[3] ~= '1' then
  return {0}
end

redis.call('ZADD', KEYS[1], now + tonumber(ARGV[2]), me)
local members = redis.call('ZRANGE', KEYS[1], 0, -1)
table.sort(members)
local rank = 0
for i, member in ipairs(members) do
  if member == me then
    rank = i
  end
end

local due = {}
for i = 4 + rank - 1, #ARGV, #members do
  local partition = ARGV[i]
  due[#due + 1] = partition
  if not owners[partition] then
    redis.call('HSET', KEYS[2], partition, me)
    owners[partition] = me
  end
end
local owned = {}
for i = 4, #ARGV do
  if owners[ARGV[i]] == me then
    owned[#owned + 1] = ARGV[i]
  end
end
return {1, due, owned}
