#!lua name=murmur_effects_@VERSION@

-- What a worker writes to one bucket for one slice, and what a reader fills under a lease.
-- All keys of a call carry the same hash tag. KEYS[1] of a commit is the bucket's positions:
-- a hash of source partition ("new-tweets/3") to the next offset to apply.

-- Rule of positions. stored = what the bucket says, expected = what this worker last saw there,
-- finish = the end of the slice at hand:
--   stored < expected      acknowledged writes were lost: change nothing, tell the worker
--   no stored position     the same for whoever began there (`begin`), even at 0: were he to go on,
--                          the bucket would have a position of his source and lack those of others.
--                          Expected is -1 where nobody began.
--   stored >= finish       applied before (redelivery, or a zombie is writing): change nothing
-- A call with move = 0 is one of several for the same slice and bucket: only the last one moves.
local function admit(positions, source, expected, finish, move)
  local stored = redis.call('HGET', positions, source)
  local at = tonumber(stored or -1)
  if at < tonumber(expected) then return {'lost', stored or '0'} end
  if stored and at >= tonumber(finish) then return {'applied', stored} end
  if move == '1' then redis.call('HSET', positions, source, finish) end
  return nil
end

-- KEYS: a bucket's positions. ARGV: source, then the store's position of every source of the unit,
-- name and offset. An empty bucket begins with those; one that knows others, but not this source, is
-- from before its first slice. Returns the source's position.
local function begin(keys, args)
  if redis.call('EXISTS', keys[1]) == 0 then
    for at = 2, #args, 2 do redis.call('HSET', keys[1], args[at], args[at + 1]) end
  end
  redis.call('HSETNX', keys[1], args[1], 0)
  return redis.call('HGET', keys[1], args[1])
end

-- A marked timeline is a string: a marker of 13 bytes, then ids of 8 bytes each (little-endian), in
-- the order in which they came, possibly repeated; whoever reads sorts. The marker is
--   'F' id n e  complete from id upwards, below it the store is read; the first n ids (2 bytes) are
--               those that it was filled with, what follows was added since; e (2 bytes) is the
--               epoch of pushing in which it was filled (`tiers.py`), kept as it is
--   'B' token   a reader is filling it; it collects what is added meanwhile
-- Nothing is added where there is no marker, so a lost timeline is not made to look warm.
local MARKER, FILLED, ID = 13, 10, 8

-- Ids exceed 2^53: they are compared as two numbers of 32 bits.
local function parts(bytes, at)
  local low, high = struct.unpack('<I4I4', bytes, at)
  return high, low
end

local function less(a, a_at, b, b_at)
  local a_high, a_low = parts(a, a_at)
  local b_high, b_low = parts(b, b_at)
  return a_high < b_high or (a_high == b_high and a_low < b_low)
end

-- Drops those that came first and raises the marker above the highest of them: an id that came late
-- and now stands below the marker is left to the store.
local function trim(key, keep)
  local value = redis.call('GET', key)
  if string.sub(value, 1, 1) ~= 'F' then return end
  local cut = #value - keep * ID
  local high, low = parts(value, 2)
  local raised = false
  for at = MARKER + 1, cut, ID do
    local h, l = parts(value, at)
    if h > high or (h == high and l >= low) then high, low, raised = h, l, true end
  end
  if raised then
    -- One above the highest; ids have fewer than 63 bits, so this cannot overflow.
    low = low + 1
    if low == 4294967296 then high, low = high + 1, 0 end
  end
  local filled, epoch = struct.unpack('<I2I2', value, FILLED)
  filled = math.max(0, filled - (cut - MARKER) / ID)
  local marker = 'F' .. struct.pack('<I4I4I2I2', low, high, filled, epoch)
  redis.call('SET', key, marker .. string.sub(value, cut + 1), 'KEEPTTL')
end

-- Trimming waits until a quarter more than `keep` has come, so that it costs little per id.
local function add(key, keep, ids)
  local length = redis.call('APPEND', key, ids)
  if length == #ids then
    redis.call('DEL', key)
    return 0
  end
  if length > MARKER + keep * ID * 1.25 then trim(key, keep) end
  return #ids / ID
end

local function backfill(key, floor, ids)
  local marker = redis.call('GETRANGE', key, 0, MARKER - 1)
  if marker == '' then return 0 end
  if string.sub(marker, 1, 1) ~= 'F' or less(marker, 2, floor, 1) then
    -- Filled from facts that may lack this author, or deeper than what is at hand: begin again.
    redis.call('DEL', key)
    return 0
  end
  if ids == '' then return 0 end
  redis.call('APPEND', key, ids)
  return #ids / ID
end

-- ARGV: source, expected, finish, move, then operations, each on the next of KEYS[2..]:
--   'D'                  forget a cache entry, and any fill of it that is under way
--   'P' ttl_ms value     replace a cache entry, and forget any fill of it that is under way
--   'A' keep n ids...    to each of the next n marked timelines add ids; trim it to about `keep`
--   'S' keep n ids       to each of the next n marked timelines add the same ids
--   'B' n floor ids      to each of the next n marked timelines add all of one author's ids from
--                        `floor` upwards
--   'X' n ttl_ms         let each of the next n keys that there are live for so long from now
local function commit(keys, args)
  local refused = admit(keys[1], args[1], args[2], args[3], args[4])
  if refused then return refused end
  local at, k = 5, 2
  local added = 0
  while k <= #keys do
    local op = args[at]
    if op == 'A' then
      local keep, n = tonumber(args[at + 1]), tonumber(args[at + 2])
      for i = 0, n - 1 do
        added = added + add(keys[k + i], keep, args[at + 3 + i])
      end
      at, k = at + 3 + n, k + n
    elseif op == 'S' then
      local keep, n, ids = tonumber(args[at + 1]), tonumber(args[at + 2]), args[at + 3]
      for i = 0, n - 1 do
        added = added + add(keys[k + i], keep, ids)
      end
      at, k = at + 4, k + n
    elseif op == 'B' then
      local n, floor, ids = tonumber(args[at + 1]), args[at + 2], args[at + 3]
      for i = 0, n - 1 do
        added = added + backfill(keys[k + i], floor, ids)
      end
      at, k = at + 4, k + n
    elseif op == 'X' then
      local n, ttl = tonumber(args[at + 1]), args[at + 2]
      for i = 0, n - 1 do
        redis.call('PEXPIRE', keys[k + i], ttl)
      end
      at, k = at + 3, k + n
    else
      redis.call('DEL', keys[k] .. ':lease')
      if op == 'P' then
        redis.call('SET', keys[k], args[at + 2], 'PX', args[at + 1])
        at = at + 3
      else
        redis.call('DEL', keys[k])
        at = at + 1
      end
      k = k + 1
    end
  end
  return {'ok', added}
end

-- KEYS: one timeline. ARGV: token, ttl_ms, from, epoch, ids. Fills a timeline that the caller marked
-- with its token, if that mark still stands.
local function finish_timeline(keys, args)
  local value = redis.call('GET', keys[1])
  if not value or string.sub(value, 1, MARKER) ~= 'B' .. args[1] then return 0 end
  local marker = 'F' .. args[3] .. struct.pack('<I2I2', math.min(#args[5] / ID, 65535), tonumber(args[4]))
  redis.call('SET', keys[1], marker .. args[5] .. string.sub(value, MARKER + 1), 'PX', args[2])
  return 1
end

-- KEYS: one timeline. ARGV: ids. Adds what a reader found himself to a timeline that is there.
local function collect(keys, args)
  if redis.call('EXISTS', keys[1]) == 0 then return 0 end
  redis.call('APPEND', keys[1], args[1])
  return 1
end

-- KEYS: cache entries. ARGV: token, lease_ms. Returns for each entry its value, or 'lease' where the
-- caller now holds the lease to fill it, or false where somebody else is filling it.
local function lease(keys, args)
  local out = {}
  for i, key in ipairs(keys) do
    local value = redis.call('GET', key)
    if value then
      out[i] = {value}
    else
      local taken = redis.call('SET', key .. ':lease', args[1], 'NX', 'PX', args[2])
      out[i] = taken and 1 or 0
    end
  end
  return out
end

-- KEYS: cache entries. ARGV: token, ttl_ms, value... A fill counts only while its lease stands: a commit
-- that came between has removed it, and what the reader loaded may be older than that commit.
local function fill(keys, args)
  local filled = 0
  for i, key in ipairs(keys) do
    if redis.call('GET', key .. ':lease') == args[1] then
      redis.call('SET', key, args[i + 2], 'PX', args[2])
      redis.call('DEL', key .. ':lease')
      filled = filled + 1
    end
  end
  return filled
end

redis.register_function('murmur_begin_@VERSION@', begin)
redis.register_function('murmur_commit_@VERSION@', commit)
redis.register_function('murmur_lease_@VERSION@', lease)
redis.register_function('murmur_fill_@VERSION@', fill)
redis.register_function('murmur_finish_timeline_@VERSION@', finish_timeline)
redis.register_function('murmur_collect_@VERSION@', collect)
