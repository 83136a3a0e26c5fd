#!lua name=murmur_search_@VERSION@

-- The real-time tier: the index of the newest tweets of one shard, a bucket; this file writes it, and
-- find.lua, which is loaded with it, reads it. All keys of a commit carry the same hash tag. KEYS[1] of a
-- commit is the bucket's positions (see effects.lua); the index's name is the key of its table of segments,
-- and its other keys are that name and a suffix.
--
-- A segment holds tweets in the order in which they came, numbered from 0 (their *ordinal*):
--   name:<n>:d          a record of 24 bytes each, big-endian: id (8), author (4 bytes of a hash), version (4),
--                       which tweet has the highest id up to here (4), language (2), flags (2)
--   name:<n>:<f>        postings of the terms whose hash begins with f: a *run* of entries of 7 bytes, 4 bytes
--                       more of the hash (the *print*), ordinal (2), place (1)
--   name:<n>:<f>:<p>    the *list* of a frequent term, of which the run has one entry alone, with place 255:
--                       postings of 3 bytes, ordinal (2), place (1)
--   name:<n>:f          which terms have lists: 6 bytes of the hash each
-- The table of segments is a string: the floor (8), then 36 bytes a segment, oldest first: number (4),
-- tweets (4), lowest id (8), highest id (8), which tweet has that (4), the highest upper half of an id in all
-- segments before (4), and how many of its runs are sealed (4). Below the floor tweets may be missing; from it upwards none is.
--
-- A term gets a list where its run has become long by it, and from the beginning of a segment if it was
-- frequent in the one before. So a run stays short, and is looked through in no time.
--
-- A string that grows has up to as much to spare as it is long. One that grows no more is sealed: written
-- again as long as it is.
--
-- A version is the lower half of the offset of the post, by which the first of two posts of one id by one
-- author counts. No two of them can be 2^31 records apart while both are in the window.
--
-- Ids exceed 2^53: they are compared as two halves of 32 bits.

local RECORD, ENTRY, POSTING, SEGMENT, HEADER = 24, 7, 3, 36, 8
local RUNS = 1024
local SEALED_PER_CALL = 32
local KEYS_PER_CALL = 256
-- Whenever a run has grown by this many bytes it is looked for frequent terms.
local LONG = 1024
-- Postings from which on a term has a list.
local FREQUENT = 32
-- Place of the entry that says that a term has a list. Places of tweets are below it.
local LISTED = 255
local LISTED_ENTRY = '\0\0\255'
-- Flags: another post of the id counts; its author deleted it, now or before it came.
local REPLACED, DELETED = 32768, 49152

local function less(a_high, a_low, b_high, b_low)
  return a_high < b_high or (a_high == b_high and a_low < b_low)
end

-- The same rule of positions as in effects.lua.
local function admit(positions, source, expected, finish, move)
  local stored = redis.call('HGET', positions, source)
  local at = tonumber(stored or -1)
  if at < tonumber(expected) then return {'lost', stored or '0'} end
  if stored and at >= tonumber(finish) then return {'applied', stored} end
  if move == '1' then redis.call('HSET', positions, source, finish) end
  return nil
end

-- --- what is indexed ---

local function read_table(name, value)
  local high, low = struct.unpack('>I4I4', value, 1)
  local index = {name = name, high = high, low = low, segments = {}}
  for at = HEADER + 1, #value, SEGMENT do
    local number, count, min_high, min_low, max_high, max_low, top, before, sealed =
      struct.unpack('>I4I4I4I4I4I4I4I4I4', value, at)
    index.segments[#index.segments + 1] = {
      number = number, count = count, min_high = min_high, min_low = min_low,
      max_high = max_high, max_low = max_low, top = top, before = before, sealed = sealed,
      name = name .. ':' .. number, index = name,
    }
  end
  return index
end

local function write_table(index)
  local parts = {struct.pack('>I4I4', index.high, index.low)}
  for _, one in ipairs(index.segments) do
    parts[#parts + 1] = struct.pack('>I4I4I4I4I4I4I4I4I4', one.number, one.count, one.min_high,
      one.min_low, one.max_high, one.max_low, one.top, one.before, one.sealed)
  end
  redis.call('SET', index.name, table.concat(parts))
end

-- Where an author's tweet stands in a segment, and its records; nil if it does not. `known` holds the
-- records that this call has read.
local function ordinal_of(segment, id, author, known)
  local high, low = struct.unpack('>I4I4', id, 1)
  if less(high, low, segment.min_high, segment.min_low)
    or less(segment.max_high, segment.max_low, high, low) then return nil end
  local records = known[segment.name]
  if not records then
    records = redis.call('GET', segment.name .. ':d') or ''
    known[segment.name] = records
  end
  local last, wanted = nil, id .. author
  local at = string.find(records, wanted, 1, true)
  while at do
    -- One that was replaced stands before the one that counts.
    if (at - 1) % RECORD == 0 then last = (at - 1) / RECORD end
    at = string.find(records, wanted, at + 1, true)
  end
  return last, records
end

-- What is known of an author's tweet: its segment, ordinal, version and flags; nil for nothing.
local function stored(index, id, author, known)
  local added = known.added[id .. author]
  if added then return added end
  for at = #index.segments, 1, -1 do
    local segment = index.segments[at]
    local ordinal, records = ordinal_of(segment, id, author, known)
    if ordinal then
      local version = struct.unpack('>I4', records, ordinal * RECORD + 13)
      local flags = struct.unpack('>I2', records, ordinal * RECORD + 23)
      return {segment = segment, ordinal = ordinal, version = version, flags = flags}
    end
  end
  return nil
end

local function mark(there, flags)
  redis.call('SETRANGE', there.segment.name .. ':d', there.ordinal * RECORD + 22, struct.pack('>I2', flags))
end

local function name_of_list(segment, hash)
  local run, print = struct.unpack('>I2I4', hash, 1)
  return string.format('%s:%d:%.0f', segment.name, run, print)
end

-- Which terms have lists, of the segment that each index grows by: kept from call to call, since there may
-- be thousands. What is kept goes by the string that it was made of, never by a name.
local LISTS = {}

local function read_lists(segment)
  if segment.known then return end
  local lists, kept = redis.call('GET', segment.name .. ':f') or '', LISTS[segment.index]
  if not kept or kept.lists ~= lists then
    kept = {lists = lists, known = {}}
    for at = 1, #lists, 6 do kept.known[string.sub(lists, at, at + 5)] = true end
    LISTS[segment.index] = kept
  end
  segment.lists, segment.known = kept.lists, kept.known
end

-- Terms get lists: `hashes` of 6 bytes each.
local function add_lists(segment, hashes)
  if #hashes == 0 then return end
  local more = table.concat(hashes)
  redis.call('APPEND', segment.name .. ':f', more)
  for _, hash in ipairs(hashes) do segment.known[hash] = true end
  segment.lists = segment.lists .. more
  LISTS[segment.index] = {lists = segment.lists, known = segment.known}
end

local function unlink(names)
  for first = 1, #names, KEYS_PER_CALL do
    redis.call('UNLINK', unpack(names, first, math.min(first + KEYS_PER_CALL - 1, #names)))
  end
end

local function drop_oldest(index)
  local oldest = table.remove(index.segments, 1)
  local lists = redis.call('GET', oldest.name .. ':f') or ''
  local names = {oldest.name .. ':d', oldest.name .. ':f'}
  for run = 0, RUNS - 1 do names[#names + 1] = oldest.name .. ':' .. run end
  for at = 1, #lists, 6 do
    names[#names + 1] = name_of_list(oldest, string.sub(lists, at, at + 5))
  end
  unlink(names)
  if not less(oldest.max_high, oldest.max_low, index.high, index.low) then
    -- One above the highest that is gone; ids have fewer than 63 bits, so this cannot overflow.
    index.high, index.low = oldest.max_high, oldest.max_low + 1
    if index.low == 4294967296 then index.high, index.low = index.high + 1, 0 end
  end
end

-- What was frequent in a segment has lists in the next one from its beginning.
local function inherit(segment, last)
  segment.lists, segment.known = '', {}
  if not last then return end
  read_lists(last)
  local hashes, runs = {}, {}
  for at = 1, #last.lists, 6 do
    local hash = string.sub(last.lists, at, at + 5)
    if redis.call('STRLEN', name_of_list(last, hash)) >= FREQUENT * POSTING then
      local run = string.sub(hash, 1, 2)
      hashes[#hashes + 1] = hash
      runs[run] = (runs[run] or '') .. string.sub(hash, 3, 6) .. LISTED_ENTRY
    end
  end
  add_lists(segment, hashes)
  for run, marks in pairs(runs) do
    redis.call('APPEND', segment.name .. ':' .. struct.unpack('>I2', run, 1), marks)
  end
end

-- Gives a list to each term that is frequent in a run.
local function split(segment, run, name)
  local value, by_print = redis.call('GET', name), {}
  for at = 1, #value, ENTRY do
    local print = string.sub(value, at, at + 3)
    local several = by_print[print]
    if several then several[#several + 1] = at else by_print[print] = {at} end
  end
  local marks, hashes = {}, {}
  for print, several in pairs(by_print) do
    if #several >= FREQUENT then
      local postings = {}
      for number, at in ipairs(several) do postings[number] = string.sub(value, at + 4, at + 6) end
      local hash = run .. print
      redis.call('APPEND', name_of_list(segment, hash), table.concat(postings))
      hashes[#hashes + 1] = hash
      marks[#marks + 1] = print .. LISTED_ENTRY
    end
  end
  if #hashes == 0 then return end
  add_lists(segment, hashes)
  for at = 1, #value, ENTRY do
    if not segment.known[run .. string.sub(value, at, at + 3)] or string.byte(value, at + 6) == LISTED then
      marks[#marks + 1] = string.sub(value, at, at + 6)
    end
  end
  redis.call('SET', name, table.concat(marks))
end

-- Writes what `append` has put by, and forgets it.
local function flush(pending)
  for key, held in pairs(pending) do
    local segment = held.segment
    for hash, postings in pairs(held.lists) do redis.call('APPEND', name_of_list(segment, hash), postings) end
    for run, more in pairs(held.runs) do
      local name = segment.name .. ':' .. struct.unpack('>I2', run, 1)
      local length = redis.call('APPEND', name, more)
      if math.floor(length / LONG) > math.floor((length - #more) / LONG) then split(segment, run, name) end
    end
    pending[key] = nil
  end
end

-- Begins a segment where the newest is full, and drops what the window has no room for.
local function newest(index, window, pending)
  local segments = index.segments
  local last = segments[#segments]
  if last and last.count < window.tweets then
    read_lists(last)
    return last
  end
  flush(pending)
  local number, before = 0, 0
  if last then
    number = last.number + 1
    before = math.max(last.before, last.max_high)
  end
  while #segments > 0 and (#segments >= window.segments or segments[1].max_high < before - window.span) do
    drop_oldest(index)
  end
  local made = {
    number = number, count = 0, min_high = 4294967295, min_low = 0, max_high = 0, max_low = 0, top = 0,
    before = before, sealed = 0, name = index.name .. ':' .. number, index = index.name,
  }
  inherit(made, last)
  segments[#segments + 1] = made
  return made
end

local function append(pending, segment, id, author, version, facts, entries)
  local high, low = struct.unpack('>I4I4', id, 1)
  if less(high, low, segment.min_high, segment.min_low) then segment.min_high, segment.min_low = high, low end
  local ordinal = segment.count
  if less(segment.max_high, segment.max_low, high, low) then
    segment.max_high, segment.max_low, segment.top = high, low, ordinal
  end
  segment.count = ordinal + 1
  local record = id .. author .. struct.pack('>I4I4', version, segment.top) .. facts
  redis.call('APPEND', segment.name .. ':d', record)
  local held = pending[segment.name]
  if not held then
    held = {segment = segment, runs = {}, lists = {}}
    pending[segment.name] = held
  end
  local runs, lists, where = held.runs, held.lists, struct.pack('>I2', ordinal)
  for at = 1, #entries, 7 do
    local hash, place = string.sub(entries, at, at + 5), string.sub(entries, at + 6, at + 6)
    if segment.known[hash] then
      lists[hash] = (lists[hash] or '') .. where .. place
    else
      local run = string.sub(hash, 1, 2)
      runs[run] = (runs[run] or '') .. string.sub(hash, 3, 6) .. where .. place
    end
  end
end

local function sealed(name)
  local value = redis.call('GET', name)
  if value then redis.call('SET', name, value) end
  return value
end

local function seal(index)
  for at = #index.segments - 1, 1, -1 do
    local segment = index.segments[at]
    if segment.sealed < RUNS then
      local last = math.min(segment.sealed + SEALED_PER_CALL, RUNS) - 1
      for run = segment.sealed, last do
        local value = sealed(segment.name .. ':' .. run)
        for at = 1, value and #value or 0, ENTRY do
          if string.byte(value, at + 6) == LISTED then
            sealed(name_of_list(segment, struct.pack('>I2', run) .. string.sub(value, at, at + 3)))
          end
        end
      end
      segment.sealed = last + 1
      return
    end
  end
end

local function add(index, window, pending, known, id, author, version, facts, entries)
  local segment = newest(index, window, pending)
  local flags = struct.unpack('>I2', facts, 3)
  known.added[id .. author] = {segment = segment, ordinal = segment.count, version = version, flags = flags}
  append(pending, segment, id, author, version, facts, entries)
end

-- Puts a tweet in that is not there already, was not deleted, and is its author's first of this id.
local function put(index, window, pending, known, id, author, version, facts, entries)
  local high, low = struct.unpack('>I4I4', id, 1)
  if less(high, low, index.high, index.low) then return 0 end
  local there = stored(index, id, author, known)
  if there then
    if there.flags >= DELETED or there.version <= version then return 0 end
    mark(there, REPLACED)
  end
  add(index, window, pending, known, id, author, version, facts, entries)
  return 1
end

-- Takes a tweet out. One that is not there leaves its mark, for it may come late, by a redrive.
local function remove(index, window, pending, known, id, author)
  local high, low = struct.unpack('>I4I4', id, 1)
  if less(high, low, index.high, index.low) then return end
  local there = stored(index, id, author, known)
  if there then
    there.flags = DELETED
    mark(there, DELETED)
  else
    add(index, window, pending, known, id, author, 0, struct.pack('>I2I2', 0, DELETED), '')
  end
end

-- KEYS: positions, then the index's name for each operation. ARGV: source, expected, finish, move, then
-- operations:
--   'W' tweets segments span begun            the window's bounds, for those that follow; 1 from a worker
--                                             that has seen to it that there is an index
--   'T' id author version facts entries       put a tweet in
--   'X' id author                             take a tweet out
--
-- Where the bucket's positions stand and the index does not, it was lost, and another worker is about to
-- begin it anew: what this one would put into one of its own would be taken for all there is.
local function commit(keys, args)
  local value = #keys > 1 and redis.call('GET', keys[2])
  if #keys > 1 and not value and args[9] == '1' then return {'lost', args[2]} end
  local refused = admit(keys[1], args[1], args[2], args[3], args[4])
  if refused then return refused end
  if #keys == 1 then return {'ok', 0} end
  value = value or string.rep('\0', HEADER)
  local index, pending, known, added, window = read_table(keys[2], value), {}, {added = {}}, 0, nil
  local at = 5
  while at <= #args do
    if args[at] == 'W' then
      window = {tweets = tonumber(args[at + 1]), segments = tonumber(args[at + 2]), span = tonumber(args[at + 3])}
      at = at + 5
    elseif args[at] == 'T' then
      local version = tonumber(args[at + 3])
      added = added + put(index, window, pending, known, args[at + 1], args[at + 2], version, args[at + 4], args[at + 5])
      at = at + 6
    else
      remove(index, window, pending, known, args[at + 1], args[at + 2])
      at = at + 3
    end
  end
  flush(pending)
  seal(index)
  write_table(index)
  return {'ok', added}
end

-- KEYS: an index's name. ARGV: floor. Makes the index of a bucket that has none: it will be whole from
-- the floor upwards.
local function open(keys, args)
  return redis.call('SETNX', keys[1], args[1])
end

redis.register_function('murmur_search_commit_@VERSION@', commit)
redis.register_function('murmur_search_open_@VERSION@', open)
