-- Put back leases that were given before the index was built again, the newest first.
-- ARGV  nonce, then per lease: annotator, task, token, claimed, deadline
-- Returns {'OK', number put back} or {'BUILDING'}.
-- Invariant: a task has at most one holder. Who was given a task that somebody else holds by now, or that is settled, is known to have
-- been given it: their answer is taken as a late one. A lease that ended, was answered, or is known (or a newer one) changes nothing.
if not ready() then return {'BUILDING'} end
local now, back = now_ms(), 0
for i = 2, #ARGV, 5 do
  local annotator, id, token, claimed, deadline = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4]
  if tonumber(deadline) > now and has_body(id) and open_hash(id) then
    local h = redis.call('HMGET', task_key(id), 'g:' .. annotator, 'c:' .. annotator, 'by', 'st', 'ln', 'kf')
    local c, known_token = answer_of(h[2]), tonumber(string.match(h[1] or '', '^%d+') or '0')
    if known_token < tonumber(token) and not (c and c.stands) then
      redis.call('HSET', task_key(id), 'g:' .. annotator, token .. '|' .. claimed)
      if (not h[3] or h[3] == annotator) and h[4] ~= 'settled' then
        unoffer(id, h[5], h[4], h[6])
        hold(id, annotator, token, claimed, deadline)
        back = back + 1
      end
    end
  end
  known.fence = math.max(known.fence or tonumber(redis.call('GET', P .. 'fence') or '0'), tonumber(token))
end
if known.fence then redis.call('SET', P .. 'fence', string.format('%.0f', known.fence)) end
return {'OK', back}
