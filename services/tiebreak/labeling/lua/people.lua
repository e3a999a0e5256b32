-- What people ask for at one moment, in one run: each call is one of the functions that the loader puts in front of this.
-- ARGV  nonce, the epoch of the index in which the asker's leases were given ('': any), then per call: name, how many arguments, the arguments (the call sees them as its own ARGV, after the nonce)
-- `onward` is a `claim` for whoever's answer the call before it promised, if that counts; else its answer is {'OK'} alone.
-- Returns {the token epoch before (false: none), the index's epoch ('' while there is none), per call its answer or its error}; where
-- the epoch is not the asker's, nothing is done, and these two are all.
-- Invariant: calls run in their order, and an error of one leaves the others alone. Nobody is given anything of an index that was built
-- again before the asker put back what it had given (`regrant.lua`).
local out = {redis.call('GET', P .. 'token_epoch'), ready() and known.epoch or ''}
local at = 3
if ARGV[2] ~= '' and out[2] ~= '' and ARGV[2] ~= out[2] then return out end

local function onward(ARGV)
  local promise = out[#out]
  if promise[1] ~= 'OK' or not string.find(promise[2], '|1|%d$') then return {'OK'} end
  return calls.claim(ARGV)
end
calls.onward = onward

while at <= #ARGV do
  local last = at + 1 + tonumber(ARGV[at + 1])
  local done, answer = pcall(calls[ARGV[at]], {ARGV[1], unpack(ARGV, at + 2, last)})
  if done then
    out[#out + 1] = answer
  else
    out[#out + 1] = type(answer) == 'table' and answer or {err = tostring(answer)}
  end
  at = last + 1
end
if known.fence then redis.call('SET', P .. 'fence', string.format('%.0f', known.fence)) end
return out
