#!lua name=murmur_engagement_@VERSION@

-- Counts of tweets and the membership of their likes. All keys of a call carry the same hash tag.
-- KEYS[1] is the bucket's positions, KEYS[2..] the tweets' entries; each entry K stands beside
--   K:likers   the users who like it, complete while COMPLETE is a member
--   K:sources  the registers of new-tweets that are in it, by source partition
--   K:lease    who may fill it (projections/cache.py)
--
-- An entry is the register of `engagements` (position, views, likes), the sums of the registers of
-- `new-tweets`, and how many those are. Likers are those as of the entry's position: both change in
-- one script only, so one without the other is not trusted.

local ENTRY = '<I8I8I4I4I4I4I2'
local ENTRY_BYTES = 34
local REGISTER = '<I8I4I4I4'
local REGISTER_BYTES = 20
local COMPLETE = '-1'
local STEP = 4000

local function each(command, key, args, at, n)
  local last = at + n - 1
  for first = at, last, STEP do
    redis.call(command, key, unpack(args, first, math.min(first + STEP - 1, last)))
  end
end

local function position_of(value)
  return (struct.unpack('<I8', value))
end

local function forget(key)
  redis.call('DEL', key, key .. ':lease', key .. ':sources')
  redis.call('UNLINK', key .. ':likers')
end

-- A slice's likes, unlikes and views into the entries that are hot. What is done is decided by the
-- entry's own position, so a repeated, recut or late slice counts once:
--   absent                   cold: the caller gets the lease, and counts from the store
--   position <= first        nothing of this is in it: add all
--   otherwise                some or all of this is in it: the caller sees how much, and trims
-- An entry without its likers takes views only. The entry loses its expiry until the store has it.
-- ARGV: source, expected, token, lease_ms, likers_max, then for each entry
--   first finish views adds removals user...
local function engage(keys, args)
  local stored = redis.call('HGET', keys[1], args[1])
  if stored and tonumber(stored) < tonumber(args[2]) then return {'lost', stored} end
  local out = {'ok'}
  local at = 6
  for k = 2, #keys do
    local key = keys[k]
    local adds, removals = tonumber(args[at + 3]), tonumber(args[at + 4])
    local value = redis.call('GET', key)
    if not value then
      redis.call('UNLINK', key .. ':likers')
      redis.call('SET', key .. ':lease', args[3], 'PX', args[4])
    elseif position_of(value) <= tonumber(args[at]) then
      local likers = key .. ':likers'
      local _, views, likes, replies, retweets, quotes, sources = struct.unpack(ENTRY, value)
      local known = true
      if adds + removals > 0 then
        known = redis.call('SISMEMBER', likers, COMPLETE) == 1
        if known then
          if adds > 0 then each('SADD', likers, args, at + 5, adds) end
          if removals > 0 then each('SREM', likers, args, at + 5 + adds, removals) end
          likes = redis.call('SCARD', likers) - 1
          if likes > tonumber(args[5]) then redis.call('UNLINK', likers) end
        end
      end
      if known then
        value = struct.pack(ENTRY, tonumber(args[at + 1]), views + tonumber(args[at + 2]), likes,
          replies, retweets, quotes, sources)
        redis.call('SET', key, value)
      end
    end
    out[k] = value
    at = at + 5 + adds + removals
  end
  return out
end

-- Fills an absent entry with its registers: the entry itself, then of each register of new-tweets
-- the length and text of its source and its packed counts.
local function put(key, value, ttl)
  redis.call('DEL', key .. ':sources', key .. ':lease')
  redis.call('UNLINK', key .. ':likers')
  redis.call('SET', key, string.sub(value, 1, ENTRY_BYTES), 'PX', ttl)
  local at = ENTRY_BYTES + 1
  while at <= #value do
    local text = at + 1 + string.byte(value, at)
    local packed = string.sub(value, text, text + REGISTER_BYTES - 1)
    redis.call('HSET', key .. ':sources', string.sub(value, at + 1, text - 1), packed)
    at = text + REGISTER_BYTES
  end
  if #value > ENTRY_BYTES then redis.call('PEXPIRE', key .. ':sources', ttl) end
end

-- The store has what `engage` counted: the entry may expire from now on. Where Redis lost it in
-- between, a fill that is under way may lack it: forget that.
local function durable(key, position, ttl)
  local value = redis.call('GET', key)
  if not value or position_of(value) < position then return forget(key) end
  if position_of(value) == position then
    redis.call('PEXPIRE', key, ttl)
    redis.call('PEXPIRE', key .. ':likers', ttl)
  end
end

-- The register of `engagements` as counted from the store; `filled` is the whole entry, for one
-- that is absent and whose lease still is the caller's.
local function counted(key, position, likes, views, ttl, token, filled)
  local value = redis.call('GET', key)
  if value then
    if position_of(value) >= position then return end
    local _, _, _, replies, retweets, quotes, sources = struct.unpack(ENTRY, value)
    redis.call('UNLINK', key .. ':likers')
    value = struct.pack(ENTRY, position, views, likes, replies, retweets, quotes, sources)
    redis.call('SET', key, value, 'PX', ttl)
  elseif redis.call('GET', key .. ':lease') == token then
    put(key, filled, ttl)
  end
  redis.call('DEL', key .. ':lease')
end

-- The register of one partition of new-tweets replaces what the entry holds of it.
local function family(key, source, position, replies, retweets, quotes, ttl)
  redis.call('DEL', key .. ':lease')
  local value = redis.call('GET', key)
  if not value then return end
  local at, views, likes, sum_replies, sum_retweets, sum_quotes, n = struct.unpack(ENTRY, value)
  local sources = key .. ':sources'
  local old = nil
  if n == 0 then
    redis.call('DEL', sources)
  elseif redis.call('HLEN', sources) ~= n then
    return forget(key)
  else
    old = redis.call('HGET', sources, source)
  end
  if old then
    local was, a, b, c = struct.unpack(REGISTER, old)
    if was >= position then return end
    sum_replies, sum_retweets, sum_quotes = sum_replies - a, sum_retweets - b, sum_quotes - c
  else
    n = n + 1
  end
  redis.call('HSET', sources, source, struct.pack(REGISTER, position, replies, retweets, quotes))
  redis.call('PEXPIRE', sources, ttl)
  redis.call('SET', key, struct.pack(ENTRY, at, views, likes, sum_replies + replies,
    sum_retweets + retweets, sum_quotes + quotes, n), 'KEEPTTL')
end

-- Effects of a slice whose facts are in the store; the rule of positions is that of effects.lua.
-- ARGV: source, expected, finish, move, then for each of KEYS[2..] one operation:
--   'E' position ttl_ms                                     `durable`
--   'G' position likes views ttl_ms token filled            `counted`
--   'F' position n user...                                  likers, more of them
--   'S' position ttl_ms                                     likers, that was all of them
--   'C' position replies retweets quotes ttl_ms             `family`
local function commit(keys, args)
  local stored = redis.call('HGET', keys[1], args[1])
  if stored then
    local at = tonumber(stored)
    if at < tonumber(args[2]) then return {'lost', stored} end
    if at >= tonumber(args[3]) then return {'applied', stored} end
  end
  if args[4] == '1' then redis.call('HSET', keys[1], args[1], args[3]) end
  local at = 5
  for k = 2, #keys do
    local key, op, position = keys[k], args[at], tonumber(args[at + 1])
    if op == 'E' then
      durable(key, position, args[at + 2])
      at = at + 3
    elseif op == 'G' then
      counted(key, position, tonumber(args[at + 2]), tonumber(args[at + 3]), args[at + 4],
        args[at + 5], args[at + 6])
      at = at + 7
    elseif op == 'C' then
      family(key, args[1], position, tonumber(args[at + 2]), tonumber(args[at + 3]),
        tonumber(args[at + 4]), args[at + 5])
      at = at + 6
    else
      local value = redis.call('GET', key)
      local stands = value and position_of(value) == position
      if op == 'F' then
        local n = tonumber(args[at + 2])
        if stands and n > 0 then each('SADD', key .. ':likers', args, at + 3, n) end
        at = at + 3 + n
      else
        if stands then
          redis.call('SADD', key .. ':likers', COMPLETE)
          redis.call('PEXPIRE', key .. ':likers', args[at + 2])
        end
        at = at + 3
      end
    end
  end
  return {'ok', 0}
end

-- KEYS: entries. ARGV: token, ttl_ms, value... A reader's fill, as murmur_fill of effects.lua.
local function fill(keys, args)
  local filled = 0
  for i, key in ipairs(keys) do
    if redis.call('GET', key .. ':lease') == args[1] then
      put(key, args[i + 2], args[2])
      filled = filled + 1
    end
  end
  return filled
end

redis.register_function('murmur_engage_@VERSION@', engage)
redis.register_function('murmur_engagement_commit_@VERSION@', commit)
redis.register_function('murmur_engagement_fill_@VERSION@', fill)
