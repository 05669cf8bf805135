-- Queued messages of one priority, in order, and the highest number that this priority ever had.
-- KEYS: state, messages, queue
-- ARGV: owner, first message, end of the lane ('(' and a message, or '+'), most messages, most bytes, field of the lane's end
local call = redis.call
local owner = call('HGET', KEYS[1], 'owner')
if not owner then return -2 end
if owner ~= ARGV[1] then return -1 end

local most, room = tonumber(ARGV[4]), tonumber(ARGV[5])
local found, from = {}, '[' .. ARGV[2]
repeat
  -- Few at a time: whoever asks for many messages may still want few bytes.
  local count = math.min(most - #found, 64)
  local names = call('ZRANGEBYLEX', KEYS[3], from, ARGV[3], 'LIMIT', 0, count)
  for _, name in ipairs(names) do
    local message = call('HGET', KEYS[2], name) or ''
    found[#found + 1] = message
    room = room - #message
    from = '(' .. name
    if room <= 0 or #found == most then
      return {found, name, '1'}
    end
  end
until #names < count
return {found, call('HGET', KEYS[1], ARGV[6]) or '', '0'}
