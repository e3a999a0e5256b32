-- Shared by every script of the queue: the loader puts this text in front of each. What is asked within one run of a script is
-- answered from memory the second time: one run serves many people.
--
-- KEYS[1]  the prefix 'tb:{<project>}:'. Every key below starts with it, so all keys of a project share one hash slot.
-- ARGV[1]  the builder's nonce, '' for everybody else.
--
-- epoch            string  '<life of the server>|<always, or nothing>|<builder>': the index was built in that life and by whom, and
--                          whether the server then wrote every change to disk before it answered
-- builder          string  the nonce of who builds it (30 s)
-- fence            integer the fencing counter                    order          integer places on the `again` routes
-- open_tasks       integer tasks not yet settled, expired or withdrawn        in_review      integer those of them in dispute
-- settled_tasks    integer how often a task was settled, for the pace of the budget
-- bodies           hash    task -> the encoded task             task:<task>    hash    see below; made at the first claim
-- open:<route>     zset    untouched tasks by rank               again:<route>  zset    begun or disputed tasks by place
--                                                                 (`again:for:<annotator>`: those kept for one person)
-- kept             zset    task -> until when it is kept for one person
-- lines            set     routes with a skill or of one person, as long as anything is on them
-- cursor:<route>   hash    annotator -> last place looked at      leases         zset    task -> deadline
-- held:<annotator> zset    task -> token                          purge, forget  zset    task -> time
-- expiry           zset    time -> time                           expiry:<time>  list    tasks that may expire then
-- done:<3 digits>  hash    task -> 'settled:<revision>' | 'expired:0' | 'withdrawn:0' | 'erased:0'
-- erased           hash    erased person's digest -> '1' once all about them is gone, '0' before (kept by plain commands)
-- mine:<annotator> list    own answers, newest first              answered       hash    annotator -> answers that stand, skips aside
-- gold             hash    piece -> the encoded task (built again from `tasks`)
-- notes            hash    '<task>|<annotator>' -> '<time>|<note>' of a folded answer, while the task's content is here
-- forgiven         hash    annotator -> pieces of gold they had when a manager let them go on
-- token_epoch      string  changes with any token (`redis_tokens.py`)             token:<digest>  hash  a token's record
-- tokens_built     string  the life of the server in which the tokens were read from the trail
-- classes          zset    added class -> time                    idem:<annotator>:<key>  string  a receipt
--
-- task:<task>: st open|in_review|settled, ln lane, rk rank, kf who it is kept for, by holder, tok token, at claimed, sq applied answers,
--   ns answers that stand, lr label revision, ls sequence the standing label was settled at, lb label not yet published,
--   g:<annotator> '<token>|<claimed>', p:<annotator> time an answer is in flight since, r:<annotator> last revision,
--   u:<annotator> the revision of an undo that is neither confirmed nor folded yet, k:<annotator>:<key> there is a receipt of this name,
--   vo who has a field 'v:', by line in the order of their first answers, sh '<sq>|<shares>' what is told of the answers for review,
--   c:<annotator> '<revision>|<state>|<token>|<claimed>|<at>', v:<annotator> '<sequence>|<replaces>|<revision>|<state>|<ballot>'
--
-- A waiting task is a field of `bodies`, a place in `open:<lane>` and an entry of one `expiry:<time>` list: a key of its own and a
-- place in a second sorted set would cost more than most payloads. An entry whose task has left is dropped when its time comes.
local P = KEYS[1]
local LANES = {'triage', 'normal', 'backfill'}

local known = {head = {}, promised = {}}

local function now_ms()
  if not known.now then
    local t = redis.call('TIME')
    known.now = t[1] * 1000 + math.floor(t[2] / 1000)
  end
  return known.now
end

-- Another one after every start of the server, and on every other server: what had not reached the disk (or the replica) is gone.
local function life()
  return string.match(redis.call('INFO', 'server'), 'run_id:(%w+)') or ''
end

local function may_touch()
  local epoch = redis.call('GET', P .. 'epoch')
  if epoch and string.match(epoch, '^%w*') == life() then
    known.epoch = epoch
    return true
  end
  if ARGV[1] == '' or redis.call('GET', P .. 'builder') ~= ARGV[1] then return false end
  redis.call('PEXPIRE', P .. 'builder', 30000)
  return true
end

-- No epoch of this life means that Redis lost its data, or may have lost the newest: nobody but the builder may touch what is here.
local function ready()
  if known.ready == nil then known.ready = may_touch() end
  return known.ready
end

local function done_key(id) return P .. 'done:' .. string.sub(id, 1, 3) end
local function task_key(id) return P .. 'task:' .. id end
local function body_of(id) return redis.call('HGET', P .. 'bodies', id) end
local function has_body(id) return redis.call('HEXISTS', P .. 'bodies', id) == 1 end

-- The refusal of an act upon a task that this person was not given, or that is not here any more.
local function absent(id)
  local was = redis.call('HGET', done_key(id), id)
  return was and string.upper(string.match(was, '^%l+')) or 'NOT_FOUND' -- settled, expired, withdrawn or erased
end

-- Whether nothing about this person (a digest, '' for nobody) may be taken in.
local function is_erased(subject)
  return subject ~= '' and redis.call('HEXISTS', P .. 'erased', subject) == 1
end

-- All fields of a task's hash; empty when it has none.
local function hash_of(id)
  local all, fields = redis.call('HGETALL', task_key(id)), {}
  for j = 1, #all, 2 do fields[all[j]] = all[j + 1] end
  return fields
end

-- How much later (ms) than a normal one a lane's task is served, of the same age: less than 0 is sooner. Nil for what is no lane.
local function lane_start(lane, head_start)
  for i, name in ipairs(LANES) do
    if lane == name then return (i - 2) * head_start end
  end
  return nil
end

local function common_lane(name)
  for _, lane in ipairs(LANES) do
    if lane == name then return true end
  end
  return false
end

-- The hash of a task that may be waiting untouched; false when the task is not here.
local function open_hash(id)
  if redis.call('EXISTS', task_key(id)) == 1 then return true end
  for _, lane in ipairs(LANES) do
    local rank = redis.call('ZSCORE', P .. 'open:' .. lane, id)
    if rank then
      redis.call('HSET', task_key(id), 'st', 'open', 'ln', lane, 'rk', rank)
      return true
    end
  end
  return false
end

-- The task may expire at `at`, or up to `step` ms later: tasks of one step share a list.
local function may_expire(id, at, step)
  local due = string.format('%.0f', math.ceil(at / step) * step)
  redis.call('RPUSH', P .. 'expiry:' .. due, id)
  redis.call('ZADD', P .. 'expiry', due, due)
end

-- Whether the log brought an answer to the task, or it has a field of this kind ('c:' an answer is confirmed, 'g:' it was given).
local function worked_on(id, kind)
  if redis.call('HEXISTS', task_key(id), 'sq') == 1 then return true end
  for _, field in ipairs(redis.call('HKEYS', task_key(id))) do
    if string.sub(field, 1, 2) == kind then return true end
  end
  return false
end

-- Take a task without answers off the queue for good. `state`: what it became.
local function drop(id, state)
  local route = redis.call('HGET', task_key(id), 'ln')
  for _, lane in ipairs(route and {route} or LANES) do redis.call('ZREM', P .. 'open:' .. lane, id) end
  redis.call('HDEL', P .. 'bodies', id)
  redis.call('DEL', task_key(id))
  redis.call('DECR', P .. 'open_tasks')
  redis.call('HSET', done_key(id), id, state .. ':0')
end

-- A person's answer as the field 'c:<annotator>' has it; nil where there is none.
local function answer_of(c)
  if not c then return nil end
  local rev, state, token, claimed, at = string.match(c, '^(%d+)|(%l+)|(%d+)|(%d+)|(%d+)$')
  return {rev = tonumber(rev), state = state, token = token, claimed = claimed, at = tonumber(at),
          stands = state ~= 'withdrawn'}
end

-- The revision of a person's answer that the log brought, from the field 'v:<annotator>'; 0 when it brought none.
local function folded_revision(v)
  return tonumber(string.match(v or '', '^%d+|%d+|(%d+)|') or '0')
end

-- Whether this person's answer is on its way to the log, or on it, and not folded yet. After `patience` ms it is not expected any more.
local function is_awaited_of(fields, annotator, now, patience)
  if tonumber(fields['r:' .. annotator] or '0') <= folded_revision(fields['v:' .. annotator]) then return false end
  local c = answer_of(fields['c:' .. annotator])
  return now - math.max(tonumber(fields['p:' .. annotator] or '0'), c and c.at or 0) < patience
end

-- Whether anybody's is.
local function is_awaited(fields, now, patience)
  for field in pairs(fields) do
    local annotator = string.match(field, '^r:(.+)$')
    if annotator and is_awaited_of(fields, annotator, now, patience) then return true end
  end
  return false
end

-- What somebody noted with their answer, `at` ms; '' is nothing, and takes back what was there.
local function note(id, annotator, at, text)
  local field = id .. '|' .. annotator
  if text ~= '' then
    redis.call('HSET', P .. 'notes', field, at .. '|' .. text)
  else
    redis.call('HDEL', P .. 'notes', field)
  end
end

local function drop_notes(id, fields)
  for field in pairs(fields) do
    local annotator = string.match(field, '^v:(.+)$')
    if annotator then note(id, annotator, 0, '') end
  end
end

local function given(id, annotator)
  return answer_of(redis.call('HGET', task_key(id), 'c:' .. annotator))
end

-- Settled, and not about to open again because this very person took the answer back.
local function is_gone(state, answer)
  return state == 'settled' and (answer == nil or answer.stands)
end

local function gone_for(id, annotator)
  local h = redis.call('HMGET', task_key(id), 'st', 'c:' .. annotator)
  return is_gone(h[1], answer_of(h[2]))
end

-- Take a task off the routes of its lane; `state` as it was while it was offered, `kept` its field 'kf'.
local function unoffer(id, lane, state, kept)
  known.head = {}
  if kept then
    redis.call('ZREM', P .. 'again:for:' .. kept, id)
    redis.call('HDEL', task_key(id), 'kf')
    redis.call('ZREM', P .. 'kept', id)
  end
  redis.call('ZREM', P .. 'open:' .. lane, id)
  redis.call('ZREM', P .. 'again:' .. lane, id)
  if state ~= 'open' then redis.call('ZREM', P .. 'again:review', id) end
end

-- Whether an answer that stands has not been folded yet. Who is given the task meanwhile may work for nothing; what is to become of
-- it is decided when the answer is folded.
local function is_ahead(id)
  local fields = hash_of(id)
  for field, text in pairs(fields) do
    local annotator = string.match(field, '^c:(.+)$')
    local c = annotator and answer_of(text)
    if c and c.stands and c.rev > folded_revision(fields['v:' .. annotator]) then return true end
  end
  return false
end

-- Put a task that nobody holds where its state says, and nowhere else: on two routes it could be given to two people. No change
-- when it is there, held, settled or about to be decided. One that others answered is kept for the first of `people` (by line) for whom
-- fewer than `most` are kept, until `till`.
local function offer(id, people, till, most)
  local h = redis.call('HMGET', task_key(id), 'st', 'ln', 'rk', 'ns', 'by', 'kf')
  if h[5] or h[6] or h[1] == 'settled' then return end
  local untouched = tonumber(h[4] or '0') == 0
  if not untouched and is_ahead(id) then return end
  local fresh = h[1] == 'open' and untouched
  local route = P .. (fresh and 'open:' .. h[2] or 'again:' .. (h[1] == 'in_review' and 'review' or h[2]))
  if redis.call('ZSCORE', route, id) then return end
  unoffer(id, h[2])
  if h[1] == 'open' and not fresh then
    for name in string.gmatch(people or '', '[^\n]+') do
      local line = P .. 'again:for:' .. name
      if redis.call('ZCARD', line) < most then
        redis.call('HSET', task_key(id), 'kf', name)
        redis.call('ZADD', P .. 'kept', till, id)
        route = line
        break
      end
    end
  end
  if not common_lane(h[2]) then redis.call('SADD', P .. 'lines', h[2]) end
  redis.call('ZADD', route, fresh and h[3] or redis.call('INCR', P .. 'order'), id)
end

local function unlease(id)
  local by = redis.call('HGET', task_key(id), 'by')
  if by then
    redis.call('ZREM', P .. 'held:' .. by, id)
    redis.call('HDEL', task_key(id), 'by', 'tok', 'at')
  end
  redis.call('ZREM', P .. 'leases', id)
end

local function hold(id, annotator, token, claimed, deadline)
  redis.call('HSET', task_key(id), 'by', annotator, 'tok', token, 'at', claimed)
  redis.call('ZADD', P .. 'leases', deadline, id)
  redis.call('ZADD', P .. 'held:' .. annotator, token, id)
end

-- `review`: whether the task is in review; `fields`: further fields of it to be set; `body` where it is known. Whoever runs this writes
-- `fence` at the end.
local function lease(id, annotator, now, lease_ms, review, fields, body)
  -- Never below the microsecond: a counter that was lost, or is some writes behind, grows past every token given before.
  known.fence = math.max((known.fence or tonumber(redis.call('GET', P .. 'fence') or '0')) + 1, now * 1000)
  local token = string.format('%.0f', known.fence)
  redis.call('HSET', task_key(id), 'by', annotator, 'tok', token, 'at', now,
             'g:' .. annotator, string.format('%s|%.0f', token, now), unpack(fields or {}))
  redis.call('ZADD', P .. 'leases', now + lease_ms, id)
  redis.call('ZADD', P .. 'held:' .. annotator, token, id)
  return {id, token, now, now + lease_ms, body or body_of(id), review and 1 or 0}
end

-- Lease a task that nobody holds to who took their answer to it back, once: as that is confirmed or as the log brings it, whichever
-- is first, or somebody else could be given it in between. Nil where it is not theirs.
local function give_back(id, annotator, revision, now, lease_ms)
  local h = redis.call('HMGET', task_key(id), 'u:' .. annotator, 'c:' .. annotator, 'by', 'ln', 'kf', 'st')
  local c = answer_of(h[2])
  if h[1] ~= revision or not c or c.rev ~= tonumber(revision) then return nil end
  redis.call('HDEL', task_key(id), 'u:' .. annotator)
  if h[3] then return nil end
  unoffer(id, h[4], nil, h[5])
  return lease(id, annotator, now, lease_ms, h[6] == 'in_review')
end

-- Remember a confirmed answer: end the person's lease, take a late answer's task off offer. False: known already, or no such task.
local function take_answer(id, annotator, rev, state, token, claimed, at, line, keep)
  local key = task_key(id)
  local h = redis.call('HMGET', key, 'st', 'c:' .. annotator, 'r:' .. annotator, 'by', 'ns', 'ln', 'kf')
  local old = answer_of(h[2])
  if not h[1] or (old and old.rev >= rev) then return false end
  local stood = old ~= nil and old.stands
  local stands = state ~= 'withdrawn'
  local change = (stands and 1 or 0) - (stood and 1 or 0)
  redis.call('HSET', key, 'c:' .. annotator, string.format('%d|%s|%s|%s|%.0f', rev, state, token, claimed, at),
             'r:' .. annotator, math.max(rev, tonumber(h[3] or '0')), 'ns', tonumber(h[5] or '0') + change)
  local answers = (stands and state ~= 'skipped' and 1 or 0) - (stood and old.state ~= 'skipped' and 1 or 0)
  -- Also by 0: who only ever skipped has lines to be erased, too.
  redis.call('HINCRBY', P .. 'answered', annotator, answers)
  if stands and h[4] == annotator then
    redis.call('HDEL', key, 'p:' .. annotator, 'by', 'tok', 'at')
    redis.call('ZREM', P .. 'held:' .. annotator, id)
    redis.call('ZREM', P .. 'leases', id)
  else
    redis.call('HDEL', key, 'p:' .. annotator)
    -- What somebody holds is on no route.
    if stands and not h[4] then unoffer(id, h[6], h[1], h[7]) end
  end
  if redis.call('LPUSH', P .. 'mine:' .. annotator, line) > keep then
    redis.call('LTRIM', P .. 'mine:' .. annotator, 0, keep - 1)
  end
  return true
end
