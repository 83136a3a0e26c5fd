
-- --- one tweet, for whoever repairs it; loaded with index.lua and find.lua ---

-- What tells whether an author's tweet is as it was when it was looked at: '' where nothing is there.
local function seen_of(there, facts)
  if not there then return '' end
  return struct.pack('>I4I4I2', there.segment.number, there.ordinal, there.version % 65536) .. facts
end

local function facts_of(there)
  local at = there.ordinal * RECORD
  return redis.call('GETRANGE', there.segment.name .. ':d', at + 20, at + RECORD - 1)
end

-- KEYS: an index's name. ARGV: id, author, then terms by their hashes (6 bytes each, in one string). Returns
-- what the index holds of an author's tweet: nil where it is not in the window; else what `murmur_search_mend`
-- is told that was seen, the version, language and flags, and those terms that find it, with the place (7 bytes
-- each).
local function entry(keys, args)
  local value = redis.call('GET', keys[1])
  if not value then return false end
  local index = read_table(keys[1], value)
  local high, low = struct.unpack('>I4I4', args[1], 1)
  if less(high, low, index.high, index.low) then return false end
  local there = stored(index, args[1], args[2], {added = {}})
  if not there then return {'', 0, '', ''} end
  local facts, found, spent = facts_of(there), {}, {0}
  local segment = {name = there.segment.name, runs = {}, terms = {}}
  for at = 1, #args[3], 6 do
    local hash = string.sub(args[3], at, at + 5)
    local run, print = struct.unpack('>I2I4', hash, 1)
    local slot = {terms = {made_term(run, print)}}
    for place in pairs(places_of(segment, slot, there.ordinal, spent)) do
      found[#found + 1] = hash .. string.char(place)
    end
  end
  return {seen_of(there, facts), there.version, facts, table.concat(found)}
end

-- KEYS: an index's name. ARGV: tweets segments span of the window; what was seen; then what is to be:
--   'T' id author version facts entries       this tweet, whatever is there
--   'X' id author                             a tweet that was deleted
--   'N' id author                             nothing
-- Returns 0, and changes nothing, where there is something else by now than what was seen.
local function mend(keys, args)
  local value = redis.call('GET', keys[1])
  if not value then return 0 end
  local index, pending, known = read_table(keys[1], value), {}, {added = {}}
  local window = {tweets = tonumber(args[1]), segments = tonumber(args[2]), span = tonumber(args[3])}
  local id, author = args[6], args[7]
  local high, low = struct.unpack('>I4I4', id, 1)
  if less(high, low, index.high, index.low) then return 0 end
  local there = stored(index, id, author, known)
  if seen_of(there, there and facts_of(there) or '') ~= args[4] then return 0 end
  if args[5] == 'X' then
    remove(index, window, pending, known, id, author)
  else
    if there then
      -- Whatever comes of it later is an earlier post than this one.
      local at = there.ordinal * RECORD
      redis.call('SETRANGE', there.segment.name .. ':d', at + 12, struct.pack('>I4', 4294967295))
      mark(there, REPLACED)
    end
    if args[5] == 'T' then
      add(index, window, pending, known, id, author, tonumber(args[8]), args[9], args[10])
    end
  end
  flush(pending)
  write_table(index)
  return 1
end

redis.register_function{function_name = 'murmur_search_entry_@VERSION@', callback = entry, flags = READS}
redis.register_function('murmur_search_mend_@VERSION@', mend)
