-- Put a settled task's content back where it was dropped, as it was, so that an answer to it can be taken back.
-- ARGV  nonce, task, how long it stays (ms), lane, rank, body, folded answers, then per person who answered:
--   annotator, revision, state, token, claimed, sequence, replaces, ballot, when it was given, note
-- Returns {'OK', 1}, {'OK', 0} where the task did not end by being settled, or {'BUILDING'}.
-- Invariant: the label that stands keeps its revision, and nothing is on offer that was not.
if not ready() then return {'BUILDING'} end
local id, key = ARGV[2], task_key(ARGV[2])
if has_body(id) then return {'OK', 1} end
local revision = string.match(redis.call('HGET', done_key(id), id) or '', '^settled:(%d+)$')
if not revision then return {'OK', 0} end
local now = now_ms()
if redis.call('EXISTS', key) == 0 then
  local standing, people = 0, {}
  redis.call('HSET', key, 'st', 'settled', 'ln', ARGV[4], 'rk', ARGV[5], 'sq', ARGV[7], 'lr', revision, 'ls', ARGV[7])
  for i = 8, #ARGV, 10 do
    local annotator, rev, state = ARGV[i], ARGV[i + 1], ARGV[i + 2]
    if state ~= 'withdrawn' then standing = standing + 1 end
    people[#people + 1] = annotator
    redis.call('HSET', key, 'r:' .. annotator, rev,
               'c:' .. annotator, string.format('%s|%s|%s|%s|%.0f', rev, state, ARGV[i + 3], ARGV[i + 4], now),
               'v:' .. annotator, table.concat({ARGV[i + 5], ARGV[i + 6], rev, state, ARGV[i + 7]}, '|'))
  end
  redis.call('HSET', key, 'ns', standing, 'vo', table.concat(people, '\n'))
end
for i = 8, #ARGV, 10 do note(id, ARGV[i], ARGV[i + 8], ARGV[i + 9]) end
redis.call('HSET', P .. 'bodies', id, ARGV[6])
redis.call('HDEL', done_key(id), id)
redis.call('ZREM', P .. 'forget', id)
redis.call('ZADD', P .. 'purge', now + ARGV[3], id)
return {'OK', 1}
