-- Take lines about tasks out of people's histories.
-- ARGV  nonce, how many people, the people, then the ids of tasks
-- Returns {'OK', lines removed} or {'BUILDING'}.
-- Invariant: other lines keep their order. (Erase the tasks first: then no new line can come.)
if not ready() then return {'BUILDING'} end
local people, gone, removed = tonumber(ARGV[2]), {}, 0
for i = 3 + people, #ARGV do gone[ARGV[i]] = true end
for i = 3, 2 + people do
  local mine = P .. 'mine:' .. ARGV[i]
  for _, line in ipairs(redis.call('LRANGE', mine, 0, -1)) do
    -- '<time>|["<annotation>","<task>",...': see redis_wire.line_of.
    if gone[string.match(line, '^%d+|%["[^"]*","([^"]*)"')] then
      removed = removed + redis.call('LREM', mine, 0, line)
    end
  end
end
return {'OK', removed}
