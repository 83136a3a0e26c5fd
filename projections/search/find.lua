
-- --- what is looked for; loaded with index.lua, whose layout this reads ---
--
-- A query is a tree (msgpack): a node is an array, its kind first.
--   WORDS  places        each {place, {terms: run and print of each}, {languages: in which it is a stop word}}
--   AND    anchored members, other members   the first look for something, the others only narrow
--   OR     members
--   NOT    member
--   FLAGS  bit           NEWER, OLDER   high, low
--
-- One call reads the indexes of all buckets that are on its node, whatever their slots: a query costs a call
-- for each node. It walks down the ids in all of them at once, by windows of the newest segments:
--
-- 1. Of the buckets, take the one in which there may still be the highest id.
-- 2. Of its segment, intersect what the query cannot do without in a window of ordinals, the last first,
--    beginning with the rarest; what is left is asked whether it is what is looked for.
-- 3. Once there is enough, stop where nothing older can be newer than what was found.

local WORDS, AND, OR, NOT, FLAGS, LANGUAGE, NEWER, OLDER = 0, 1, 2, 3, 4, 5, 6, 7
-- Records are read at once where as many lie between the first and the last for each that is wanted.
local NEAR = 24
-- Postings of a list that are read at once; Lua's stack has no room for many more.
local AT_ONCE = 1000
-- Candidates at least that a window is to have.
local CANDIDATES = 6
-- How many postings can be read in the time in which one is looked for.
local PROBE = 12
-- How often a query may spend its budget where segments overlap, so that it cannot end between them.
local OVERRUN = 16
local HALF_MAX = 4294967295

-- By number of postings; filled by calls, since nothing but names can be registered while this loads.
local FORMATS = {}

-- An id but for its last ten bits, as a number: those below 2^63 fit into a double. Its milliseconds, and
-- a little more.
local function time_of(high, low)
  return high * 4194304 + (low - low % 1024) / 1024
end

-- The lowest id of a time, as two halves.
local function lowest_of(time)
  local low = time % 4194304
  return (time - low) / 4194304, low * 1024
end

-- --- a query, made ready once for all segments ---

-- A term: the names of its run and of its list end so; what tells it from others of its run.
local function made_term(run, print)
  return {
    print = struct.pack('>I4', print), run = ':' .. run, list = string.format(':%d:%.0f', run, print),
  }
end

local function made_words(node)
  local words, times = {kind = WORDS, slots = {}, must = {}, passed = {}}, {}
  for at = 2, #node do
    local place, terms, stop = node[at][1], {}, node[at][3]
    for number = 1, #node[at][2], 2 do
      terms[#terms + 1] = made_term(node[at][2][number], node[at][2][number + 1])
    end
    local slot = {place = place, terms = terms, stop = stop}
    words.slots[#words.slots + 1] = slot
    if #stop == 0 then words.must[#words.must + 1] = slot end
    for _, language in ipairs(stop) do times[language] = (times[language] or 0) + 1 end
  end
  -- Languages of whose tweets it is not asked for.
  for language, number in pairs(times) do
    if number == #words.slots then words.passed[#words.passed + 1] = language end
  end
  -- Whether it is one place, so that it is there if one of the terms is.
  words.single = #words.slots == 1 and words.slots[1].place == 0
  -- The one term that it asks for, if that is all.
  words.only = words.single and #words.slots[1].terms == 1 and words.slots[1].terms[1] or nil
  return words
end

local made

local function made_all(nodes)
  local several = {}
  for at, node in ipairs(nodes) do several[at] = made(node) end
  return several
end

-- `must` are places without which nothing is found; `sure` are members of which that says all there is.
local function made_and(node)
  local all = {kind = AND, sought = made_all(node[2]), others = made_all(node[3]), must = {}, unsure = {}}
  for _, member in ipairs(all.sought) do
    local required = member.kind == WORDS and #member.passed == 0
    if required then
      for _, slot in ipairs(member.must) do all.must[#all.must + 1] = slot end
    end
    if not required or not member.single or #member.must == 0 then
      all.unsure[#all.unsure + 1] = member
    end
  end
  return all
end

made = function(node)
  local kind = node[1]
  if kind == WORDS then return made_words(node) end
  if kind == AND then return made_and(node) end
  if kind == OR then return {kind = OR, sought = made_all(node[2]), must = {}} end
  if kind == NOT then return {kind = NOT, member = made(node[2])} end
  return {kind = kind, node[2], node[3]}
end

-- --- a segment, and what was read of it ---

-- The record of a tweet: a string, and where in it that begins. The last one is remembered.
local function record(segment, ordinal)
  if segment.ordinal ~= ordinal then
    local at = ordinal * RECORD
    segment.record = redis.call('GETRANGE', segment.records, at, at + RECORD - 1)
    segment.ordinal, segment.offset = ordinal, 0
  end
  return segment.record, segment.offset
end

-- The postings of a run's term: ordinals ascending, one for each place.
local function of_run(run, print, at)
  local ordinals, places, count = {}, {}, 0
  while at do
    if (at - 1) % ENTRY == 0 then
      local high, low, place = string.byte(run, at + 4, at + 6)
      count = count + 1
      ordinals[count] = high * 256 + low
      places[count] = place
      at = string.find(run, print, at + ENTRY, true)
    else
      at = string.find(run, print, at + 1, true)
    end
  end
  return {ordinals = ordinals, places = places, count = count}
end

-- The postings of a term, nil if there are none.
local function postings(segment, term, spent)
  local known = segment.terms[term]
  if known ~= nil then return known or nil end
  known = false
  local run = segment.runs[term.run]
  if run == nil then
    run = redis.call('GET', segment.name .. term.run)
    segment.runs[term.run] = run
  end
  local at = run and string.find(run, term.print, 1, true)
  while at and (at - 1) % ENTRY ~= 0 do at = string.find(run, term.print, at + 1, true) end
  if at then
    if string.byte(run, at + 6) == LISTED then
      local list = redis.call('GET', segment.name .. term.list)
      if list then known = {list = list, count = #list / POSTING} end
    else
      known = of_run(run, term.print, at)
      spent[1] = spent[1] + known.count
    end
  end
  spent[1] = spent[1] + 1
  segment.terms[term] = known
  return known or nil
end

-- Which of the postings is the first that is not below an ordinal, counted from 0.
local function first_from(found, ordinal)
  local low, high = 0, found.count
  local list, ordinals = found.list, found.ordinals
  while low < high do
    local middle = math.floor((low + high) / 2)
    local there
    if list then
      local upper, lower = string.byte(list, middle * POSTING + 1, middle * POSTING + 2)
      there = upper * 256 + lower
    else
      there = ordinals[middle + 1]
    end
    if there < ordinal then low = middle + 1 else high = middle end
  end
  return low
end

local function has(found, ordinal)
  if found.ordinals then return found.ordinals[first_from(found, ordinal) + 1] == ordinal end
  local list, wanted = found.list, struct.pack('>I2', ordinal)
  local at = string.find(list, wanted, 1, true)
  while at and (at - 1) % POSTING ~= 0 do at = string.find(list, wanted, at + 1, true) end
  return at ~= nil
end

-- Ordinals of a term in the window of a segment, ascending; one for each place.
local function ordinals_of(segment, found, spent)
  local first = segment.from > 0 and first_from(found, segment.from) or 0
  local finish = segment.to < segment.count and first_from(found, segment.to) or found.count
  local number = finish - first
  spent[1] = spent[1] + number
  local ordinals = found.ordinals
  if ordinals then
    if number == found.count then return ordinals end
    local out = {}
    for at = 1, number do out[at] = ordinals[first + at] end
    return out
  end
  local out
  while number > 0 do
    local some = math.min(number, AT_ONCE)
    local form = FORMATS[some]
    if not form then
      form = '>' .. string.rep('I2x', some)
      FORMATS[some] = form
    end
    local part = {struct.unpack(form, found.list, first * POSTING + 1)}
    part[some + 1] = nil
    if out then
      local count = #out
      for at = 1, some do out[count + at] = part[at] end
    else
      out = part
    end
    first, number = first + some, number - some
  end
  return out or {}
end

-- Lists of ordinals, each ascending, as one.
local function union(lists)
  if #lists == 0 then return {} end
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

-- Of ordinals those that another list has as well, both ascending.
local function both(list, other)
  local out, count, at, there = {}, 0, 1, other[1]
  for number = 1, #list do
    local ordinal = list[number]
    while there and there < ordinal do
      at = at + 1
      there = other[at]
    end
    if not there then break end
    if there == ordinal then
      count = count + 1
      out[count] = ordinal
    end
  end
  return out
end

-- How often one of a place's terms stands in a segment.
local function often(segment, slot, spent)
  local count = 0
  for _, term in ipairs(slot.terms) do
    local found = postings(segment, term, spent)
    if found then count = count + found.count end
  end
  return count
end

local function of_slot(segment, slot, spent)
  local lists = {}
  for _, term in ipairs(slot.terms) do
    local found = postings(segment, term, spent)
    if found then lists[#lists + 1] = ordinals_of(segment, found, spent) end
  end
  return union(lists)
end

local function in_slot(segment, slot, ordinal, spent)
  for _, term in ipairs(slot.terms) do
    local found = postings(segment, term, spent)
    if found then
      spent[1] = spent[1] + 1
      if has(found, ordinal) then return true end
    end
  end
  return false
end

-- Of ordinals those at which one of a place's terms stands, each looked for by itself.
local function those_in(segment, slot, list, spent)
  local kept, only = {}, #slot.terms == 1 and postings(segment, slot.terms[1], spent)
  for at = 1, #list do
    local ordinal, there = list[at], nil
    if only then there = has(only, ordinal) else there = in_slot(segment, slot, ordinal, spent) end
    if there then kept[#kept + 1] = ordinal end
  end
  spent[1] = spent[1] + #list
  return kept
end

-- --- what is in a window ---

-- How many candidates a segment has, if words came without regard to each other; 0 if it has none.
local function estimate(segment, node, spent)
  local both, sum = nil, 0
  for _, slot in ipairs(node.must) do
    local count = often(segment, slot, spent)
    if count == 0 then return 0 end
    both = (both or segment.count) * count / segment.count
  end
  if both then return both end
  for _, slot in ipairs(node.slots or {}) do sum = sum + often(segment, slot, spent) end
  for _, member in ipairs(node.sought or {}) do sum = sum + estimate(segment, member, spent) end
  return sum
end

-- What stands at all of these places: the rarest first, and of it what the others have as well.
local function common(segment, slots, spent)
  if #slots == 1 then return of_slot(segment, slots[1], spent) end
  local counts, rarest = {}, 1
  for at, slot in ipairs(slots) do
    counts[at] = often(segment, slot, spent)
    if counts[at] == 0 then return {} end
    if counts[at] < counts[rarest] then rarest = at end
  end
  local list, share = of_slot(segment, slots[rarest], spent), (segment.to - segment.from) / segment.count
  for at, slot in ipairs(slots) do
    if at ~= rarest and #list > 0 then
      if #list * PROBE > counts[at] * share then
        list = both(list, of_slot(segment, slot, spent))
      else
        list = those_in(segment, slot, list, spent)
      end
    end
  end
  return list
end

-- Ordinals among which is every tweet that a node that looks for something finds, ascending.
local function candidates(segment, node, spent)
  if #node.must > 0 then return common(segment, node.must, spent) end
  local lists = {}
  for _, slot in ipairs(node.slots or {}) do lists[#lists + 1] = of_slot(segment, slot, spent) end
  for _, member in ipairs(node.sought or {}) do lists[#lists + 1] = candidates(segment, member, spent) end
  return union(lists)
end

-- --- whether a tweet is what is looked for ---

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

-- Where in a tweet a place's terms stand: a set.
local function places_of(segment, slot, ordinal, spent)
  local places = {}
  for _, term in ipairs(slot.terms) do
    local found = postings(segment, term, spent)
    local at = found and first_from(found, ordinal)
    spent[1] = spent[1] + 1
    while at and at < found.count do
      local there, place
      if found.ordinals then
        there, place = found.ordinals[at + 1], found.places[at + 1]
      else
        local upper, lower, last = string.byte(found.list, at * POSTING + 1, at * POSTING + 3)
        there, place = upper * 256 + lower, last
      end
      if there ~= ordinal then break end
      places[place] = true
      at = at + 1
    end
  end
  return places
end

-- Whether each place is right from `start` on, or has a stop word of the tweet's language.
local function stands(segment, ordinal, slots, places, start)
  if start < 0 then return false end
  for at, slot in ipairs(slots) do
    if not places[at][start + slot.place] and not speaks(segment, ordinal, slot.stop) then return false end
  end
  return true
end

local function holds(segment, node, ordinal, spent)
  if node.single then return in_slot(segment, node.slots[1], ordinal, spent) end
  local slots, places = node.slots, {}
  for at, slot in ipairs(slots) do places[at] = places_of(segment, slot, ordinal, spent) end
  for at, slot in ipairs(slots) do
    for place in pairs(places[at]) do
      if stands(segment, ordinal, slots, places, place - slot.place) then return true end
    end
  end
  return false
end

local is

-- `sought` are the members of those that look for something which are not known to be so; `found` whether
-- one is.
local function all_are(segment, node, sought, found, ordinal, spent)
  for _, member in ipairs(node.others) do
    if not is(segment, member, ordinal, spent) then return false end
  end
  local passed = false
  for _, member in ipairs(sought) do
    if is(segment, member, ordinal, spent) then
      found = true
    elseif member.kind == WORDS and speaks(segment, ordinal, member.passed) then
      passed = true
    else
      return false
    end
  end
  return found or not passed
end

is = function(segment, node, ordinal, spent)
  local kind = node.kind
  if kind == WORDS then return holds(segment, node, ordinal, spent) end
  if kind == AND then return all_are(segment, node, node.sought, false, ordinal, spent) end
  if kind == NOT then return not is(segment, node.member, ordinal, spent) end
  if kind == OR then
    for _, member in ipairs(node.sought) do
      if is(segment, member, ordinal, spent) then return true end
    end
    return false
  end
  local data, at = record(segment, ordinal)
  if kind == FLAGS then
    local high, low = string.byte(data, at + 23, at + 24)
    return math.floor((high * 256 + low) / node[1]) % 2 == 1
  end
  if kind == LANGUAGE then return speaks(segment, ordinal, {node[1]}) end
  local high, low = struct.unpack('>I4I4', data, at + 1)
  if kind == NEWER then return less(node[1], node[2], high, low) end
  return less(high, low, node[1], node[2])
end

-- Whether one of the query's candidates is what it looks for: what made it one is known. Of a single word
-- that is all.
local function is_found(segment, query, ordinal, spent)
  if query.kind == WORDS then return holds(segment, query, ordinal, spent) end
  if query.kind == AND then
    local sure = #query.unsure < #query.sought
    return all_are(segment, query, query.unsure, sure, ordinal, spent)
  end
  return is(segment, query, ordinal, spent)
end

-- --- from the highest id down ---

-- Takes what a query finds in the window of a segment between two ids, the last that came first.
local function each(segment, query, bounds, spent)
  local list = candidates(segment, query, spent)
  local number = #list
  if number == 0 then return end
  spent[1] = spent[1] + number
  local base, last, data, offset = list[1], list[number], nil, 0
  if last - base < number * NEAR then
    data = redis.call('GETRANGE', segment.records, base * RECORD, last * RECORD + RECORD - 1)
  end
  local ids, times, count = bounds.ids, bounds.times, #bounds.times
  -- Whether more must be so than what made it a candidate.
  local records, is_asked = segment.records, not (query.kind == WORDS and query.single)
  last = -1
  for at = number, 1, -1 do
    local ordinal = list[at]
    if ordinal ~= last then
      last = ordinal
      local one = data
      if one then
        offset = (ordinal - base) * RECORD
      else
        one = redis.call('GETRANGE', records, ordinal * RECORD, ordinal * RECORD + RECORD - 1)
      end
      if is_asked then segment.ordinal, segment.record, segment.offset = ordinal, one, offset end
      local high, low, top, flags = struct.unpack('>I4I4xxxxxxxxI4xxI2', one, offset + 1)
      local time = time_of(high, low)
      if bounds.cut and time < bounds.cut and top == ordinal then break end
      if flags < REPLACED
        and (segment.is_inside or less(high, low, bounds.below_high, bounds.below_low)
          and less(bounds.above_high, bounds.above_low, high, low))
        and (not is_asked or is_found(segment, query, ordinal, spent)) then
        count = count + 1
        times[count] = time
        ids[count] = string.sub(one, offset + 1, offset + 8)
      end
    end
  end
end

-- Makes a bucket's next older segment the one at hand, and `highest` what it can still hold, or what
-- those before it can; nil if there is none.
local function next_segment(bucket, bounds)
  while true do
    local at = bucket.at
    bucket.segment, bucket.highest = nil, nil
    if at <= HEADER then return end
    bucket.at = at - SEGMENT
    local number, count, min_high, min_low, max_high, max_low, _, before =
      struct.unpack('>I4I4I4I4I4I4I4I4', bucket.value, at - SEGMENT + 1)
    local is_below = less(max_high, max_low, bounds.below_high, bounds.below_low)
    local is_above = less(bounds.above_high, bounds.above_low, min_high, min_low)
    if (is_below or less(min_high, min_low, bounds.below_high, bounds.below_low))
      and (is_above or less(bounds.above_high, bounds.above_low, max_high, max_low)) then
      bucket.before = time_of(before, HALF_MAX)
      bucket.highest = math.max(bucket.before, time_of(max_high, max_low))
      bucket.segment = {
        name = bucket.name .. ':' .. number, records = bucket.name .. ':' .. number .. ':d', count = count,
        to = count, runs = {}, terms = {}, is_inside = is_below and is_above,
      }
      return
    end
  end
end

-- Where the window begins that has so many of the postings of a term before `segment.to`.
local function before(segment, found, number)
  local finish = segment.to < segment.count and first_from(found, segment.to) or found.count
  if finish <= number then return 0 end
  if found.ordinals then return found.ordinals[finish - number + 1] end
  local high, low = string.byte(found.list, (finish - number) * POSTING + 1, (finish - number) * POSTING + 2)
  return high * 256 + low
end

-- The next window of a bucket: a segment's last ordinals that were not looked at.
local function step(bucket, query, bounds, spent)
  local segment, times = bucket.segment, bounds.times
  local width, left = segment.width, math.max(bounds.want - #times, 1) / bounds.buckets
  if not width then
    local there, only = estimate(segment, query, spent), query.only and postings(segment, query.only, spent)
    if there == 0 then return next_segment(bucket, bounds) end
    width = math.ceil(math.max(CANDIDATES, 1.5 * left) * segment.count / there)
    segment.from = only and left < there and before(segment, only, math.ceil(left))
  end
  segment.from = segment.from or math.max(0, segment.to - width)
  local known = #times
  each(segment, query, bounds, spent)
  segment.to, segment.from = segment.from, nil
  if segment.to == 0 then return next_segment(bucket, bounds) end
  local found = #times - known
  left = math.max(0, bounds.want - #times) / bounds.buckets
  segment.width = found > 0 and math.max(width, math.ceil(1.5 * width * left / found)) or 4 * width
  local data, offset = record(segment, segment.to - 1)
  local high, low, _, _, top = struct.unpack('>I4I4I4I4I4', data, offset + 1)
  if top ~= segment.to - 1 then high, low = struct.unpack('>I4I4', record(segment, top), 1) end
  bucket.highest = math.max(bucket.before, time_of(high, low))
  if bucket.highest < bounds.above then bucket.highest = nil end
end

-- What is looked for between, and what was found: ids, and their times.
local function bounds_of(args, want, names)
  local below_high, below_low = struct.unpack('>I4I4', args[1], 1)
  local above_high, above_low = struct.unpack('>I4I4', args[2], 1)
  return {
    below_high = below_high, below_low = below_low, above_high = above_high, above_low = above_low,
    below = time_of(below_high, below_low), above = time_of(above_high, above_low),
    want = want, buckets = names, ids = {}, times = {},
  }
end

local function read_index(name, bounds)
  local value = redis.call('GET', name)
  if not value then return nil end
  local high, low = struct.unpack('>I4I4', value, 1)
  local bucket = {name = name, value = value, at = #value, high = high, low = low}
  next_segment(bucket, bounds)
  return bucket
end

-- The indexes that a call is about: KEYS[1], and those that are named from ARGV[first] on; and the highest
-- floor of them. Nothing if there is one missing.
local function read_indexes(keys, args, first, bounds)
  local buckets, high, low = {}, 0, 0
  for at = first - 1, #args do
    local bucket = read_index(at < first and keys[1] or args[at], bounds)
    if not bucket then return nil end
    buckets[#buckets + 1] = bucket
    if less(high, low, bucket.high, bucket.low) then high, low = bucket.high, bucket.low end
  end
  return buckets, high, low
end

-- The bucket in which there may still be the highest id; nil if none can matter any more.
local function highest_of(buckets, bounds)
  local best, most = nil, bounds.cut or 0
  for at = 1, #buckets do
    local highest = buckets[at].highest
    if highest and (highest > most or not best and highest == most) then best, most = buckets[at], highest end
  end
  return best
end

-- The time from which on there are enough.
local function cut_of(bounds)
  local count = #bounds.times
  if count < bounds.want then return nil end
  if count == bounds.want then
    local least = bounds.times[1]
    for at = 2, count do
      if bounds.times[at] < least then least = bounds.times[at] end
    end
    bounds.cut, bounds.cut_at = least, count
  elseif bounds.cut_at ~= count then
    local sorted = {}
    for at = 1, count do sorted[at] = bounds.times[at] end
    table.sort(sorted)
    bounds.cut, bounds.cut_at = sorted[count - bounds.want + 1], count
  end
  return bounds.cut
end

-- Looks through indexes from the highest id down, and returns the id from which on all of them were looked
-- through: `high` and `low`, where one is no longer whole; where there was enough; or where the budget ended.
-- Nothing if the query costs too much.
local function look(buckets, high, low, query, bounds, budget)
  local spent, floor = {0}, time_of(high, low)
  while true do
    local bucket = highest_of(buckets, bounds) -- 1
    if not bucket then break end
    if bucket.highest < floor then return high, low end
    if spent[1] > budget and bucket.highest + 1 < bounds.below then return lowest_of(bucket.highest + 1) end
    if spent[1] > budget * OVERRUN then return nil end
    step(bucket, query, bounds, spent) -- 2
    bounds.cut = cut_of(bounds) -- 3
  end
  if bounds.cut and floor < bounds.cut then return lowest_of(bounds.cut) end
  return high, low
end

-- KEYS: an index's name. ARGV: below, above (8 bytes each, exclusive), want, budget, query, then the names of
-- further indexes of this node. Returns from which id on what follows is whole, the highest floor of the indexes,
-- and at least `want` ids above the first, if there are so many, of 8 bytes each and in no order. Nothing where
-- one has no index, and an empty list if it costs too much.
local function find(keys, args)
  local bounds = bounds_of(args, tonumber(args[3]), #args - 4)
  local buckets, floor_high, floor_low = read_indexes(keys, args, 6, bounds)
  if not buckets then return false end
  local high, low = look(buckets, floor_high, floor_low, made(cmsgpack.unpack(args[5])), bounds, tonumber(args[4]))
  if not high then return {} end
  return {struct.pack('>I4I4', high, low), struct.pack('>I4I4', floor_high, floor_low), table.concat(bounds.ids)}
end

-- KEYS: an index's name. ARGV: below, above, the width of an interval in milliseconds, budget, query, the
-- epoch of ids, then further names as above. Returns from which id on the counts are whole, the highest floor of
-- the indexes, then start and count of each interval.
local function count(keys, args)
  local width, epoch, counts = tonumber(args[3]), tonumber(args[6]), {}
  local bounds = bounds_of(args, math.huge, #args - 5)
  local buckets, floor_high, floor_low = read_indexes(keys, args, 7, bounds)
  if not buckets then return false end
  local high, low = look(buckets, floor_high, floor_low, made(cmsgpack.unpack(args[5])), bounds, tonumber(args[4]))
  if not high then return {} end
  for _, id in ipairs(bounds.ids) do
    local id_high, id_low = struct.unpack('>I4I4', id, 1)
    -- What one bucket found below what was looked through in all is for the next call.
    if not less(id_high, id_low, high, low) then
      -- Milliseconds are all but the lowest 22 bits.
      local start = math.floor((id_high * 1024 + math.floor(id_low / 4194304) + epoch) / width) * width
      counts[start] = (counts[start] or 0) + 1
    end
  end
  local out = {struct.pack('>I4I4', high, low), struct.pack('>I4I4', floor_high, floor_low)}
  for start, number in pairs(counts) do
    out[#out + 1] = string.format('%.0f', start)
    out[#out + 1] = number
  end
  return out
end

local READS = {'no-writes', 'allow-cross-slot-keys'}
redis.register_function{function_name = 'murmur_search_find_@VERSION@', callback = find, flags = READS}
redis.register_function{function_name = 'murmur_search_count_@VERSION@', callback = count, flags = READS}
