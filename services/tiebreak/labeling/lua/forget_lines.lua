-- Take the lines of answers that were given before a time out of people's histories.
-- ARGV  nonce, the time (ms), then the people
-- Returns {'OK', lines removed} or {'BUILDING'}.
-- Invariant: other lines keep their order.
if not ready() then return {'BUILDING'} end
local before, removed = tonumber(ARGV[2]), 0
for i = 3, #ARGV do
  local mine = P .. 'mine:' .. ARGV[i]
  for _, line in ipairs(redis.call('LRANGE', mine, 0, -1)) do
    -- '<time>|...': see redis_wire.line_of.
    if tonumber(string.match(line, '^%d+')) < before then removed = removed + redis.call('LREM', mine, 0, line) end
  end
end
return {'OK', removed}
