#!lua name=murmur_search_@VERSION@

-- The real-time tier: the index of the newest tweets of one shard, a bucket. All keys of a call carry
-- the same hash tag. KEYS[1] of a commit is the bucket's positions (see effects.lua); the index's name is
-- the key of its table of segments, and its other keys are that name and a suffix.
--
-- A segment holds tweets in the order in which they came, numbered from 0 (their *ordinal*):
--   name:<n>:d    a record of 24 bytes each, big-endian: id (8), author (4 bytes of a hash), version (4), the
--                 highest upper half of an id up to here (4), language (2), flags (2)
--   name:<n>:<f>  postings of the terms whose hash ends in f: a run of entries of 7 bytes, 4 bytes more of
--                 the hash, ordinal (2), place (1)
-- The table of segments is a string: the floor (8), then 32 bytes a segment, oldest first: number (4),
-- tweets (4), lowest id (8), highest id (8), the highest upper half of an id in all segments before (4),
-- and how many of its runs are sealed (4). Below the floor tweets may be missing; from it upwards none is.
--
-- A run that grows has up to as much to spare as it is long. One that grows no more is sealed: written
-- again as long as it is.
--
-- A version is the lower half of the offset of the post, by which the first of two posts of one id by one
-- author counts. No two of them can be 2^31 records apart while both are in the window.
--
-- Ids exceed 2^53: they are compared as two halves of 32 bits.

local RECORD, ENTRY, SEGMENT, HEADER = 24, 7, 32, 8
local RUNS = 1024
local SEALED_PER_CALL = 32
local KEYS_PER_CALL = 256
local BLOCK = 64
local WINDOW = 512
-- Runs up to this many bytes are looked through at once.
local SHORT = 4096
-- How many entries can be passed over in the time in which one tweet is looked for in a run.
local PROBE = 4
-- How often a query may spend its budget where segments overlap, so that it cannot end between them.
local OVERRUN = 16
-- Flags: another post of the id counts; its author deleted it, now or before it came.
local REPLACED, DELETED = 32768, 49152
local SORTED = function(a, b) return a > b end

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
    local number, count, min_high, min_low, max_high, max_low, before, sealed =
      struct.unpack('>I4I4I4I4I4I4I4I4', value, at)
    index.segments[#index.segments + 1] = {
      number = number, count = count, min_high = min_high, min_low = min_low,
      max_high = max_high, max_low = max_low, before = before, sealed = sealed,
      name = name .. ':' .. number,
    }
  end
  return index
end

local function write_table(index)
  local parts = {struct.pack('>I4I4', index.high, index.low)}
  for _, one in ipairs(index.segments) do
    parts[#parts + 1] = struct.pack('>I4I4I4I4I4I4I4I4', one.number, one.count, one.min_high, one.min_low,
      one.max_high, one.max_low, one.before, one.sealed)
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

local function drop_oldest(index, pending)
  local oldest = table.remove(index.segments, 1)
  pending[oldest.name] = nil
  for first = 0, RUNS - 1, KEYS_PER_CALL do
    local names = {oldest.name .. ':d'}
    for run = first, first + KEYS_PER_CALL - 1 do names[#names + 1] = oldest.name .. ':' .. run end
    redis.call('UNLINK', unpack(names))
  end
  if not less(oldest.max_high, oldest.max_low, index.high, index.low) then
    -- One above the highest that is gone; ids have fewer than 63 bits, so this cannot overflow.
    index.high, index.low = oldest.max_high, oldest.max_low + 1
    if index.low == 4294967296 then index.high, index.low = index.high + 1, 0 end
  end
end

-- Begins a segment where the newest is full, and drops what the window has no room for.
local function newest(index, window, pending)
  local segments = index.segments
  local last = segments[#segments]
  if last and last.count < window.tweets then return last end
  local number, before = 0, 0
  if last then
    number = last.number + 1
    before = math.max(last.before, last.max_high)
  end
  while #segments > 0 and (#segments >= window.segments or segments[1].max_high < before - window.span) do
    drop_oldest(index, pending)
  end
  local made = {
    number = number, count = 0, min_high = 4294967295, min_low = 0, max_high = 0, max_low = 0,
    before = before, sealed = 0, name = index.name .. ':' .. number,
  }
  segments[#segments + 1] = made
  return made
end

local function append(pending, segment, id, author, version, facts, entries)
  local high, low = struct.unpack('>I4I4', id, 1)
  if less(high, low, segment.min_high, segment.min_low) then segment.min_high, segment.min_low = high, low end
  if less(segment.max_high, segment.max_low, high, low) then segment.max_high, segment.max_low = high, low end
  local ordinal = segment.count
  segment.count = ordinal + 1
  local record = id .. author .. struct.pack('>I4I4', version, segment.max_high) .. facts
  redis.call('APPEND', segment.name .. ':d', record)
  local runs = pending[segment.name]
  if not runs then
    runs = {}
    pending[segment.name] = runs
  end
  local where = struct.pack('>I2', ordinal)
  for at = 1, #entries, 7 do
    local run = string.sub(entries, at, at + 1)
    local entry = string.sub(entries, at + 2, at + 5) .. where .. string.sub(entries, at + 6, at + 6)
    runs[run] = (runs[run] or '') .. entry
  end
end

local function flush(pending)
  for name, runs in pairs(pending) do
    for hash, run in pairs(runs) do
      local high, low = string.byte(hash, 1, 2)
      redis.call('APPEND', name .. ':' .. (high * 256 + low), run)
    end
  end
end

local function seal(index)
  for at = #index.segments - 1, 1, -1 do
    local segment = index.segments[at]
    if segment.sealed < RUNS then
      local last = math.min(segment.sealed + SEALED_PER_CALL, RUNS) - 1
      for run = segment.sealed, last do
        local value = redis.call('GET', segment.name .. ':' .. run)
        if value then redis.call('SET', segment.name .. ':' .. run, value) end
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

-- --- what is looked for ---
--
-- A query is a tree (msgpack): a node is an array, its kind first.
local WORDS, AND, OR, NOT, FLAGS, LANGUAGE, NEWER, OLDER = 0, 1, 2, 3, 4, 5, 6, 7
--   WORDS  places        each {place, {terms: run and print of each}, {languages: in which it is a stop word}}
--   AND    anchored members, other members   the first look for something, the others only narrow
--   OR     members
--   NOT    member
--   FLAGS  bit           NEWER, OLDER   high, low
--
-- A segment at hand is a table: the segment, and what has been read of it for this query.

local function record(segment, ordinal)
  local block = math.floor(ordinal / BLOCK)
  local data = segment.blocks[block]
  if not data then
    local at = block * BLOCK * RECORD
    data = redis.call('GETRANGE', segment.name .. ':d', at, at + BLOCK * RECORD - 1)
    segment.blocks[block] = data
  end
  return data, (ordinal - block * BLOCK) * RECORD
end

local function run_of(segment, number)
  local run = segment.runs[number]
  if run == nil then
    run = redis.call('GET', segment.name .. ':' .. number)
    segment.runs[number] = run
  end
  return run
end

-- Where in a run the entries of an ordinal begin, or would.
local function offset_of(run, ordinal)
  local low, high = 0, #run / ENTRY
  while low < high do
    local middle = math.floor((low + high) / 2)
    local upper, lower = string.byte(run, middle * ENTRY + 5, middle * ENTRY + 6)
    if upper * 256 + lower < ordinal then low = middle + 1 else high = middle end
  end
  return low * ENTRY
end

-- The entries of a term in the window at hand: ordinals ascending, each once; and if wanted, by ordinal
-- its places.
local function entries(segment, number, print, wanted, spent)
  local list, places = {}, wanted and {} or nil
  local run = run_of(segment, number)
  if not run then return list, places end
  local first, finish = segment.from > 0 and offset_of(run, segment.from) or 0, segment.to
  spent[1] = spent[1] + 1 + (#run - first) / 512
  local last, count = -1, 0
  local at = string.find(run, print, first + 1, true)
  while at do
    if (at - 1) % ENTRY == 0 then
      local high, low, place = string.byte(run, at + 4, at + 6)
      local ordinal = high * 256 + low
      if ordinal >= finish then break end
      if ordinal ~= last then
        count = count + 1
        list[count] = ordinal
        last = ordinal
        if wanted then places[ordinal] = {place} end
      elseif wanted then
        local several = places[ordinal]
        several[#several + 1] = place
      end
      at = string.find(run, print, at + ENTRY, true)
    else
      at = string.find(run, print, at + 1, true)
    end
  end
  spent[1] = spent[1] + count
  return list, places
end

-- Lists of ordinals, each ascending, as one.
local function union(lists)
  if #lists == 1 then return lists[1] end
  local all, seen = {}, {}
  for _, list in ipairs(lists) do
    for _, ordinal in ipairs(list) do
      if not seen[ordinal] then
        seen[ordinal] = true
        all[#all + 1] = ordinal
      end
    end
  end
  table.sort(all)
  return all
end

-- What one place of a phrase finds: ordinals, and if wanted, by ordinal the places.
local function slot(segment, terms, wanted, spent)
  local lists, places = {}, nil
  for at = 1, #terms, 2 do
    local list, found = entries(segment, terms[at], struct.pack('>I4', terms[at + 1]), wanted, spent)
    if #list > 0 then
      lists[#lists + 1] = list
      if not places then
        places = found
      elseif wanted then
        for ordinal, several in pairs(found) do
          local mine = places[ordinal]
          if mine then
            for _, place in ipairs(several) do mine[#mine + 1] = place end
          else
            places[ordinal] = several
          end
        end
      end
    end
  end
  if #lists == 0 then return {}, {} end
  return union(lists), places
end

local function speaks(segment, ordinal, languages)
  if #languages == 0 then return false end
  local data, at = record(segment, ordinal)
  local high, low = string.byte(data, at + 21, at + 22)
  local language = high * 256 + low
  for _, one in ipairs(languages) do
    if one == language then return true end
  end
  return false
end

-- Whether each place is right from `start` on, or has a stop word of the tweet's language.
local function stands(segment, ordinal, slots, start)
  if start < 0 then return false end
  for _, one in ipairs(slots) do
    local wanted, there = start + one.place, false
    for _, place in ipairs(one.places[ordinal] or {}) do
      if place == wanted then
        there = true
        break
      end
    end
    if not there and not speaks(segment, ordinal, one.stop) then return false end
  end
  return true
end

local function phrase(segment, slots)
  local lists, least = {}, nil
  for _, one in ipairs(slots) do
    lists[#lists + 1] = one.list
    if #one.stop == 0 and (not least or #one.list < #least) then least = one.list end
  end
  local list, set = {}, {}
  for _, ordinal in ipairs(least or union(lists)) do
    for _, one in ipairs(slots) do
      for _, place in ipairs(one.places[ordinal] or {}) do
        if not set[ordinal] and stands(segment, ordinal, slots, place - one.place) then
          set[ordinal] = true
          list[#list + 1] = ordinal
        end
      end
    end
  end
  return {list = list, set = set}
end

local function words(segment, node, spent)
  local known = segment.words[node]
  if known then return known end
  if #node == 2 and node[2][1] == 0 then
    known = {list = slot(segment, node[2][2], false, spent)}
  else
    local slots = {}
    for at = 2, #node do
      local one = node[at]
      local list, places = slot(segment, one[2], true, spent)
      slots[#slots + 1] = {place = one[1], stop = one[3], list = list, places = places}
    end
    known = phrase(segment, slots)
  end
  segment.words[node] = known
  return known
end

-- Whether words are one place, so that a run tells of a tweet by itself.
local function is_single(node)
  return #node == 2 and node[2][1] == 0
end

local function contains(run, entry)
  local at = string.find(run, entry, 1, true)
  while at and (at - 1) % ENTRY ~= 0 do at = string.find(run, entry, at + 1, true) end
  return at ~= nil
end

-- Whether a tweet has the words. Those that were not looked up for the window are looked for in their
-- runs: cheaper for a few tweets.
local function holds(segment, node, ordinal, spent)
  local known = segment.words[node]
  if not known and is_single(node) then
    local terms, where = node[2][2], struct.pack('>I2', ordinal)
    for at = 1, #terms, 2 do
      local run = run_of(segment, terms[at])
      spent[1] = spent[1] + 1
      if run and contains(run, struct.pack('>I4', terms[at + 1]) .. where) then return true end
    end
    return false
  end
  known = known or words(segment, node, spent)
  local set = known.set
  if not set then
    set = {}
    for _, one in ipairs(known.list) do set[one] = true end
    known.set = set
  end
  return set[ordinal] ~= nil
end

-- How much is to be looked through for words: the length of the runs of the shortest place.
local function length_of(segment, node)
  local least
  for at = 2, #node do
    local terms, length = node[at][2], 0
    for number = 1, #terms, 2 do
      local run = run_of(segment, terms[number])
      length = length + (run and #run or 0)
    end
    if not least or length < least then least = length end
  end
  return least
end

-- Languages of whose tweets a member is not asked for.
local function passed_over(node)
  if node.passed then return node.passed end
  local times, found = {}, {}
  if node[1] == WORDS then
    for at = 2, #node do
      for _, language in ipairs(node[at][3]) do times[language] = (times[language] or 0) + 1 end
    end
    for language, number in pairs(times) do
      if number == #node - 1 then found[#found + 1] = language end
    end
  end
  node.passed = found
  return found
end

local candidates, is

-- Of several words that must all be there: those ordinals of the rarest that the others have as well.
local function common(segment, nodes, spent)
  local rarest, least
  for _, node in ipairs(nodes) do
    local length = length_of(segment, node)
    if not least or length < least then rarest, least = node, length end
  end
  local list = words(segment, rarest, spent).list
  for _, node in ipairs(nodes) do
    if node ~= rarest and #list > 0 then
      if #list * PROBE > length_of(segment, node) / ENTRY then words(segment, node, spent) end
      local kept = {}
      for _, ordinal in ipairs(list) do
        if holds(segment, node, ordinal, spent) then kept[#kept + 1] = ordinal end
      end
      list = kept
    end
  end
  return list
end

-- Ordinals among which is every tweet that a node that looks for something finds, ascending.
candidates = function(segment, node, spent)
  if node[1] == WORDS then return words(segment, node, spent).list end
  local required, lists = {}, {}
  for _, member in ipairs(node[2]) do
    if node[1] == AND and member[1] == WORDS and #passed_over(member) == 0 then required[#required + 1] = member end
  end
  if #required > 0 then return common(segment, required, spent) end
  for _, member in ipairs(node[2]) do
    lists[#lists + 1] = candidates(segment, member, spent)
  end
  return union(lists)
end

local function all_are(segment, node, ordinal, spent)
  for _, member in ipairs(node[3]) do
    if not is(segment, member, ordinal, spent) then return false end
  end
  local passed, found = false, false
  for _, member in ipairs(node[2]) do
    if is(segment, member, ordinal, spent) then
      found = true
    elseif speaks(segment, ordinal, passed_over(member)) then
      passed = true
    else
      return false
    end
  end
  return found or not passed
end

is = function(segment, node, ordinal, spent)
  local kind = node[1]
  if kind == WORDS then return holds(segment, node, ordinal, spent) end
  if kind == AND then return all_are(segment, node, ordinal, spent) end
  if kind == NOT then return not is(segment, node[2], ordinal, spent) end
  if kind == OR then
    for _, member in ipairs(node[2]) do
      if is(segment, member, ordinal, spent) then return true end
    end
    return false
  end
  local data, at = record(segment, ordinal)
  if kind == FLAGS then
    local high, low = string.byte(data, at + 23, at + 24)
    return math.floor((high * 256 + low) / node[2]) % 2 == 1
  end
  if kind == LANGUAGE then return speaks(segment, ordinal, {node[2]}) end
  local high, low = struct.unpack('>I4I4', data, at + 1)
  if kind == NEWER then return less(node[2], node[3], high, low) end
  return less(high, low, node[2], node[3])
end

-- Calls `take` with what a query finds in a window of a segment between two ids, the last that came
-- first. Says whether there can be more before the window.
local function each(segment, query, bounds, spent, take)
  local list = candidates(segment, query, spent)
  for at = #list, 1, -1 do
    local ordinal = list[at]
    spent[1] = spent[1] + 1
    local so = query[1] == WORDS or is(segment, query, ordinal, spent)
    if so or bounds.cut then
      local data, offset = record(segment, ordinal)
      local high, low, _, _, highest = struct.unpack('>I4I4I4I4I4', data, offset + 1)
      if so and string.byte(data, offset + 23) < 128
        and less(high, low, bounds.below_high, bounds.below_low)
        and less(bounds.above_high, bounds.above_low, high, low) then
        bounds.taken = bounds.taken + 1
        take(high, low)
      end
      if bounds.cut and highest < bounds.cut then return false end
    end
  end
  if segment.from == 0 then return false end
  if not bounds.cut then return true end
  local data, offset = record(segment, segment.from - 1)
  local highest = struct.unpack('>I4', data, offset + 17)
  return highest >= bounds.cut
end

-- The runs that a query looks at.
local function runs_of(node, found)
  if node[1] == WORDS then
    for at = 2, #node do
      for number = 1, #node[at][2], 2 do found[node[at][2][number]] = true end
    end
  elseif node[1] == AND or node[1] == OR then
    for part = 2, #node do
      for _, member in ipairs(node[part]) do runs_of(member, found) end
    end
  elseif node[1] == NOT then
    runs_of(node[2], found)
  end
  return found
end

-- Looks through a segment by windows, the last first, so that a frequent word is not looked up for all of
-- it. How many the first has tells how wide the next has to be.
local function through(segment, query, bounds, spent, take)
  segment.blocks, segment.runs = {}, {}
  local width = segment.count
  for number in pairs(bounds.runs) do
    local run = run_of(segment, number)
    if run and #run > SHORT then width = bounds.window end
  end
  segment.to = segment.count
  repeat
    segment.from = math.max(0, segment.to - width)
    segment.words = {}
    local before = bounds.taken
    local more = each(segment, query, bounds, spent, take)
    local found, left = bounds.taken - before, bounds.want - bounds.taken
    width = found > 0 and math.max(WINDOW, math.ceil(1.5 * width * left / found)) or segment.count
    segment.to = segment.from
  until not more
end

local function bounds_of(args, window)
  local below_high, below_low = struct.unpack('>I4I4', args[1], 1)
  local above_high, above_low = struct.unpack('>I4I4', args[2], 1)
  return {
    below_high = below_high, below_low = below_low, above_high = above_high, above_low = above_low,
    window = window, want = tonumber(args[3]), taken = 0,
  }
end

-- Looks through an index, the newest segment first, and returns the id from which on all of it was
-- looked through: where the index is no longer whole, where there was enough, or where the budget ended.
-- Nothing if the query costs too much.
local function look(index, query, bounds, budget, take)
  local spent = {0}
  bounds.runs = runs_of(query, {})
  for at = #index.segments, 1, -1 do
    local segment = index.segments[at]
    local highest = math.max(segment.max_high, segment.before)
    if bounds.cut and highest < bounds.cut then return bounds.cut, 0 end
    if spent[1] > budget and highest + 1 < bounds.below_high then return highest + 1, 0 end
    if spent[1] > budget * OVERRUN then return nil end
    if not less(segment.max_high, segment.max_low, bounds.above_high, bounds.above_low)
      and less(segment.min_high, segment.min_low, bounds.below_high, bounds.below_low) then
      through(segment, query, bounds, spent, take)
    end
  end
  if bounds.cut and less(index.high, index.low, bounds.cut, 0) then return bounds.cut, 0 end
  return index.high, index.low
end

-- KEYS: an index's name. ARGV: below, above (8 bytes each, exclusive), want, budget, query. Returns from
-- which id on what follows is whole, and at least `want` ids above it, if there are so many, of 8 bytes
-- each and in no order; then the floor of the index. Nothing where there is no index, and an empty list
-- if it costs too much.
local function find(keys, args)
  local value = redis.call('GET', keys[1])
  if not value then return false end
  local bounds, ids, highs, index = bounds_of(args, WINDOW), {}, {}, read_table(keys[1], value)
  local high, low = look(index, cmsgpack.unpack(args[5]), bounds, tonumber(args[4]),
    function(id_high, id_low)
      local count = #ids + 1
      ids[count] = struct.pack('>I4I4', id_high, id_low)
      highs[count] = id_high
      if count == bounds.want then
        table.sort(highs, SORTED)
        bounds.cut = highs[count]
      end
    end)
  if not high then return {} end
  return {struct.pack('>I4I4', high, low), struct.pack('>I4I4', index.high, index.low), table.concat(ids)}
end

-- KEYS: an index's name. ARGV: as above with, in place of `want`, the width of an interval in
-- milliseconds and the epoch of ids. Returns from which id on the counts are whole, the floor of the index,
-- then start and count of each interval.
local function count(keys, args)
  local value = redis.call('GET', keys[1])
  if not value then return false end
  local width, epoch, counts, index = tonumber(args[3]), tonumber(args[6]), {}, read_table(keys[1], value)
  local high, low = look(index, cmsgpack.unpack(args[5]), bounds_of(args, 65536), tonumber(args[4]),
    function(id_high, id_low)
      -- Milliseconds are all but the lowest 22 bits.
      local start = math.floor((id_high * 1024 + math.floor(id_low / 4194304) + epoch) / width) * width
      counts[start] = (counts[start] or 0) + 1
    end)
  if not high then return {} end
  local out = {struct.pack('>I4I4', high, low), struct.pack('>I4I4', index.high, index.low)}
  for start, number in pairs(counts) do
    out[#out + 1] = string.format('%.0f', start)
    out[#out + 1] = number
  end
  return out
end

redis.register_function('murmur_search_commit_@VERSION@', commit)
redis.register_function('murmur_search_open_@VERSION@', open)
redis.register_function{function_name = 'murmur_search_find_@VERSION@', callback = find, flags = {'no-writes'}}
redis.register_function{function_name = 'murmur_search_count_@VERSION@', callback = count, flags = {'no-writes'}}
