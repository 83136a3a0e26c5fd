#!lua name=murmur_effects

-- What a worker writes to one bucket for one slice, and what a reader fills under a lease.
-- All keys of a call carry the same hash tag. KEYS[1] of a commit is the bucket's positions:
-- a hash of source partition ("new-tweets/3") to the next offset to apply.

-- Rule of positions. stored = what the bucket says, expected = what this worker last saw there,
-- finish = the end of the slice at hand:
--   no stored position     the bucket is new or came back empty: nothing in it is stale, go on
--   stored < expected      acknowledged writes were lost: change nothing, tell the worker
--   stored >= finish       applied before (redelivery, or a zombie is writing): change nothing
-- A call with move = 0 is one of several for the same slice and bucket: only the last one moves.
local function admit(positions, source, expected, finish, move)
  local stored = redis.call('HGET', positions, source)
  if stored then
    local at = tonumber(stored)
    if at < tonumber(expected) then return {'lost', stored} end
    if at >= tonumber(finish) then return {'applied', stored} end
  end
  if move == '1' then redis.call('HSET', positions, source, finish) end
  return nil
end

-- A marked timeline is a sorted set of ids whose rank 0 (score -inf) is its marker:
--   from:ID         complete from ID upwards; below it the store is read
--   building:TOKEN  a reader is filling it; it collects what is added meanwhile
-- Nothing is added where there is no marker, so a lost timeline is not made to look warm.
local function marker_of(key)
  return redis.call('ZRANGE', key, 0, 0)[1]
end

local function add(key, args, at, n)
  if n == 1 then return redis.call('ZADD', key, args[at], args[at]) end
  local scored = {}
  for i = 0, n - 1 do
    scored[2 * i + 1] = args[at + i]
    scored[2 * i + 2] = args[at + i]
  end
  return redis.call('ZADD', key, unpack(scored))
end

-- Keeps the newest `keep` ids and raises the marker to the oldest of them.
local function trim(key, keep)
  if redis.call('ZCARD', key) <= keep + 1 then return end
  if string.sub(marker_of(key), 1, 5) ~= 'from:' then return end
  redis.call('ZREMRANGEBYRANK', key, 0, -keep - 1)
  redis.call('ZADD', key, '-inf', 'from:' .. marker_of(key))
end

-- Ids are zero-padded to 19 digits, so that comparing them as strings compares them as numbers
-- (tonumber would round them).
local function backfill(key, args, at, floor, n)
  local marker = marker_of(key)
  if not marker then return 0 end
  if string.sub(marker, 1, 5) ~= 'from:' or string.sub(marker, 6) < floor then
    -- Filled from facts that may lack this author, or deeper than what is at hand: begin again.
    redis.call('DEL', key)
    return 0
  end
  if n == 0 then return 0 end
  return add(key, args, at, n)
end

-- ARGV: source, expected, finish, move, then for each of KEYS[2..] one operation:
--   'D'                  forget a cache entry, and any fill of it that is under way
--   'P' ttl_ms value     replace a cache entry, and forget any fill of it that is under way
--   'A' keep n id...     add ids to a marked timeline; keep > 0 trims it
--   'B' floor n id...    add all of one author's ids from `floor` upwards to a marked timeline
local function commit(keys, args)
  local refused = admit(keys[1], args[1], args[2], args[3], args[4])
  if refused then return refused end
  local at = 5
  local added = 0
  for k = 2, #keys do
    local key, op = keys[k], args[at]
    if op == 'A' then
      local keep, n = tonumber(args[at + 1]), tonumber(args[at + 2])
      if redis.call('EXISTS', key) == 1 then
        added = added + add(key, args, at + 3, n)
        if keep > 0 then trim(key, keep) end
      end
      at = at + 3 + n
    elseif op == 'B' then
      local n = tonumber(args[at + 2])
      added = added + backfill(key, args, at + 3, args[at + 1], n)
      at = at + 3 + n
    else
      redis.call('DEL', key .. ':lease')
      if op == 'P' then
        redis.call('SET', key, args[at + 2], 'PX', args[at + 1])
        at = at + 3
      else
        redis.call('DEL', key)
        at = at + 1
      end
    end
  end
  return {'ok', added}
end

-- KEYS: one timeline. ARGV: token, ttl_ms. Marks a cold timeline as being built; 1 when the caller builds it.
local function begin_timeline(keys, args)
  if redis.call('EXISTS', keys[1]) == 1 then return 0 end
  redis.call('ZADD', keys[1], '-inf', 'building:' .. args[1])
  redis.call('PEXPIRE', keys[1], args[2])
  return 1
end

-- KEYS: one timeline. ARGV: token, ttl_ms, from, id... Counts only while the caller's mark stands.
local function finish_timeline(keys, args)
  local key = keys[1]
  local mark = 'building:' .. args[1]
  if marker_of(key) ~= mark then return 0 end
  redis.call('ZREM', key, mark)
  redis.call('ZADD', key, '-inf', 'from:' .. args[3])
  for first = 4, #args, 1000 do
    add(key, args, first, math.min(1000, #args - first + 1))
  end
  redis.call('PEXPIRE', key, args[2])
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

redis.register_function('murmur_commit', commit)
redis.register_function('murmur_lease', lease)
redis.register_function('murmur_fill', fill)
redis.register_function('murmur_begin_timeline', begin_timeline)
redis.register_function('murmur_finish_timeline', finish_timeline)
