-- Takes a session over, and answers its state without the messages that are queued.
-- KEYS: state, messages, queue, assigned, received, filters
-- ARGV: nonce of the new owner, time to live in ms
local call = redis.call
local state, messages, queue, assigned, received, filters = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]

-- A full store must be opened before it can be emptied: see apply.lua.
call('ZREM', queue, '')
local known = call('EXISTS', state)
local owner = string.format('%.0f:%s', call('HINCRBY', state, 'owners', 1), ARGV[1])
call('HSET', state, 'owner', owner, 'position', '0')
for _, key in ipairs(KEYS) do
  if ARGV[2] == '0' then call('PERSIST', key) else call('PEXPIRE', key, ARGV[2]) end
end

local lanes = {}
for priority = 0, 3 do
  local from = '[' .. string.char(priority * 64)
  local to = priority < 3 and '(' .. string.char((priority + 1) * 64) or '+'
  local first = call('ZRANGEBYLEX', queue, from, to, 'LIMIT', 0, 1)[1]
  local last = call('ZREVRANGEBYLEX', queue, to, from, 'LIMIT', 0, 1)[1]
  lanes[priority + 1] = {call('ZLEXCOUNT', queue, from, to), first or '', last or ''}
end

local in_flight = {}
for _, message in ipairs(call('HKEYS', assigned)) do
  in_flight[#in_flight + 1] = message
  in_flight[#in_flight + 1] = call('HGET', messages, message) or ''
end
return {
  owner, known, call('HGETALL', state), lanes, in_flight,
  call('HGETALL', assigned), call('SMEMBERS', received), call('HGETALL', filters),
}
