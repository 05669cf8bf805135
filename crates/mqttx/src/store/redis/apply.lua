-- Applies records of one session, as they are in the log. Either all of them are in afterwards, or none that counts.
-- KEYS: state, messages, queue, assigned, received, filters
-- ARGV: owner, position of the first record, '1' when it may exceed maxmemory, time to live in ms, time, records…
-- Answers the position that is reached, or why nothing was done.
local FENCED, LOST, HOLE = -1, -2, -3
local FIRST_RECORD = 6

local call, byte, sub, reverse = redis.call, string.byte, string.sub, string.reverse
local state, messages, queue, assigned, received, filters = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]

local kept = call('HMGET', state, 'owner', 'position')
if not kept[1] then return LOST end
if kept[1] ~= ARGV[1] then return FENCED end
local position, first = tonumber(kept[2]), tonumber(ARGV[2])
if position < first - 1 then return HOLE end

-- Redis looks at maxmemory before the first write of a script only, and only when that write may need memory.
if ARGV[3] == '1' then
  call('ZREM', queue, '')
else
  call('HSET', state, 'position', kept[2])
end

-- By priority: what the queued messages take, and the highest number.
local bytes, ends = {0, 0, 0, 0}, {}
-- Messages of this group that nothing was written of yet: many are assigned or finished before its end.
local fresh = {}

local function lane(message) return math.floor(byte(message, 1) / 64) + 1 end

local function add_bytes(message, length)
  local lane = lane(message)
  bytes[lane] = bytes[lane] + length
end

local function unqueue(message)
  if call('ZREM', queue, message) == 1 then add_bytes(message, -call('HSTRLEN', messages, message)) end
end

local apply = {
  -- Enqueue
  [1] = function(record, message)
    fresh[message] = ARGV[5] .. record
    local lane = lane(message)
    local high, low = struct.unpack('>I4I4', message)
    local last = ends[lane]
    if not last or high > last[1] or high == last[1] and low > last[2] then
      ends[lane] = {high, low, message}
    end
  end,
  -- Assign
  [2] = function(record, message)
    local stored = fresh[message]
    if stored then
      fresh[message] = nil
      call('HSET', messages, message, stored)
    elseif call('HEXISTS', messages, message) == 1 then
      unqueue(message)
    else
      return
    end
    call('HSET', assigned, message, record)
  end,
  -- Release
  [3] = function(_, message)
    local assignment = call('HGET', assigned, message)
    if assignment and #assignment == 19 then call('HSET', assigned, message, assignment .. 'R') end
  end,
  -- Done
  [4] = function(_, message)
    fresh[message] = nil
    if call('HDEL', assigned, message) == 0 then unqueue(message) end
    call('HDEL', messages, message)
  end,
  -- Requeue
  [5] = function(_, message)
    if call('HDEL', assigned, message) == 1 then
      call('ZADD', queue, 0, message)
      add_bytes(message, call('HSTRLEN', messages, message))
    end
  end,
  -- Received, Forgotten
  [6] = function(record) call('SADD', received, sub(record, 2, 3)) end,
  [7] = function(record) call('SREM', received, sub(record, 2, 3)) end,
  -- Subscribe
  [8] = function(record)
    local low, high = byte(record, 7, 8)
    local filter = sub(record, 9, 8 + low + 256 * high)
    local order = call('HINCRBY', state, 'filters', 1)
    call('HSET', filters, 's' .. filter, string.format('%.0f:', order) .. record)
    call('HDEL', filters, 'g' .. filter)
  end,
  -- Granted
  [9] = function(record)
    local filter = sub(record, 5)
    if call('HEXISTS', filters, 's' .. filter) == 1 then call('HSET', filters, 'g' .. filter, record) end
  end,
  -- Unsubscribe
  [10] = function(record)
    local filter = sub(record, 4)
    call('HDEL', filters, 's' .. filter, 'g' .. filter)
  end,
  -- Connecting, Resumed
  [11] = function() call('HSET', state, 'connecting', '1') end,
  [12] = function() call('HDEL', state, 'connecting') end,
  -- Epoch
  [13] = function(record)
    call('HDEL', state, 'connecting')
    call('DEL', received)
    for _, field in ipairs(call('HKEYS', filters)) do
      if byte(field, 1) == 103 then call('HDEL', filters, field) end
    end
    call('HSET', state, 'epoch', record)
  end,
}

-- A group that was applied, and whose answer was lost, comes again: with later ones behind it.
for i = FIRST_RECORD + position - first + 1, #ARGV do
  local record = ARGV[i]
  apply[byte(record, 1)](record, reverse(sub(record, 2, 9)))
end

for message, stored in pairs(fresh) do
  call('HSET', messages, message, stored)
  call('ZADD', queue, 0, message)
  add_bytes(message, #stored)
end
for lane = 1, 4 do
  if bytes[lane] ~= 0 then call('HINCRBY', state, 'bytes' .. lane, bytes[lane]) end
  local last = ends[lane]
  if last then
    local before = call('HGET', state, 'end' .. lane)
    local high, low = 0, -1
    if before then high, low = struct.unpack('>I4I4', before) end
    if last[1] > high or last[1] == high and last[2] > low then call('HSET', state, 'end' .. lane, last[3]) end
  end
end
local reached = first - 1 + #ARGV - FIRST_RECORD + 1
if reached < position then reached = position end
call('HSET', state, 'position', string.format('%.0f', reached))
if ARGV[4] ~= '0' then
  for _, key in ipairs(KEYS) do call('PEXPIRE', key, ARGV[4]) end
end
return reached
