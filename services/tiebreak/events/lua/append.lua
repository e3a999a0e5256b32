-- Append a block of records to one partition, atomically, with offsets that count up from 0 and never repeat.
-- KEYS[1] the partition's stream            tb:{tag}:log:<topic>:<partition>
-- KEYS[2] the topic                         tb:{tag}:topic:<topic>   hash: partitions, retention_ms ("" = for ever)
-- ARGV[1] partition number   ARGV[2] now, Unix ms   ARGV[3..] key, value, packed headers, key, ...
-- Returns the first offset. Errors (nothing written): NOTOPIC when the topic or the partition does not exist.
-- Invariant: the record with offset o is the entry with id (o+1)-0; the stream's last-generated-id is the only counter, so it
-- survives trimming. Records older than the topic's retention are trimmed here, a bounded number per call.
local partitions = tonumber(redis.call('HGET', KEYS[2], 'partitions') or '0')
if tonumber(ARGV[1]) >= partitions then
  return redis.error_reply('NOTOPIC no such topic or partition')
end
local retention = tonumber(redis.call('HGET', KEYS[2], 'retention_ms') or '')
local now = tonumber(ARGV[2])

local last = 0
if redis.call('EXISTS', KEYS[1]) == 1 then
  local info = redis.call('XINFO', 'STREAM', KEYS[1])
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then
      last = tonumber(string.match(info[i + 1], '^(%d+)'))
    end
  end
end

local count = (#ARGV - 2) / 3
for i = 1, count do
  -- %d: a number above 1e14 would otherwise be written as 1e+14
  local id = string.format('%d-0', last + i)
  redis.call('XADD', KEYS[1], id, 't', ARGV[2], 'k', ARGV[3 * i], 'v', ARGV[3 * i + 1], 'h', ARGV[3 * i + 2])
end

if retention then
  local first = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
  if first and tonumber(first[2][2]) < now - retention then
    local expired = nil
    -- Twice what was added: trimming always catches up, and no call is slow.
    for _, entry in ipairs(redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 2 * count + 100)) do
      if tonumber(entry[2][2]) >= now - retention then
        break
      end
      expired = tonumber(string.match(entry[1], '^(%d+)'))
    end
    redis.call('XTRIM', KEYS[1], 'MINID', string.format('%d-0', expired + 1))
  end
end
return last
