-- Take back tasks that nobody was ever given.
-- ARGV  nonce, then the ids of tasks
-- Returns {'OK', number taken back} or {'BUILDING'}.
-- Invariant: a task that somebody holds, held or answered stays: a late answer to it still counts.
if not ready() then return {'BUILDING'} end
local gone = 0
for i = 2, #ARGV do
  if has_body(ARGV[i]) and not worked_on(ARGV[i], 'g:') then
    drop(ARGV[i], 'withdrawn')
    gone = gone + 1
  end
end
return {'OK', gone}
