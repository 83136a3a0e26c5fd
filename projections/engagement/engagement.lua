#!lua name=murmur_engagement_@VERSION@

-- Counts of tweets and the membership of their likes. All keys of a call carry the same hash tag.
-- KEYS[1] is the bucket's positions, KEYS[2..] the tweets' entries; each entry K stands beside
--   K:likers   the users who like it, 8 bytes each, and COMPLETE, which says that none is missing
--   K:sources  the registers of new-tweets that are in it, by source partition
--   K:lease    who may fill it (projections/cache.py)
--
-- An entry is the register of `engagements` (position, views, likes), the sums of the registers of
-- `new-tweets`, and how many those are. Likers are those as of the entry's position: both change in
-- one script only, so one without the other is not trusted.
-- An entry that is longer ends in what redrives add (redriven.py), which follows from memberships
-- that no script knows: it is never changed here. Whoever would have to, forgets it.

local ENTRY = '<I8I8I4I4I4I4I2'
local ENTRY_BYTES = 34
local ADJUSTED, ADJUSTMENT_BYTES = 32768, 20
local REGISTER = '<I8I4I4I4'
local REGISTER_BYTES = 20
local ENGAGED = '<I8I8I4I4'
local ENGAGED_BYTES = 24
local USER_BYTES = 8
local COMPLETE = '*'
local STEP = 4000

-- A command on users[first..last].
local function each(command, key, users, first, last)
  local changed = 0
  for from = first, last, STEP do
    local upto = math.min(from + STEP - 1, last)
    changed = changed + redis.call(command, key, unpack(users, from, upto))
  end
  return changed
end

-- The users in data, as strings of bytes: as numbers they would lose digits.
local function users_of(data, first)
  local users, n = {}, 0
  for at = first, #data, USER_BYTES do
    n = n + 1
    users[n] = string.sub(data, at, at + USER_BYTES - 1)
  end
  return users, n
end

-- The values of keys[first..last], in one call: of a script's time most is the calls.
local function values_of(keys, first, last)
  local values = {}
  for from = first, last, STEP do
    local upto = math.min(from + STEP - 1, last)
    local some = redis.call('MGET', unpack(keys, from, upto))
    if from == first and upto == last then return some end
    for _, value in ipairs(some) do values[#values + 1] = value end
  end
  return values
end

local function position_of(value)
  return (struct.unpack('<I8', value))
end

local function forget(key)
  redis.call('UNLINK', key, key .. ':lease', key .. ':sources', key .. ':likers')
end

-- A slice's likes, unlikes and views into the entries that are hot. What is done is decided by the
-- entry's own position, so a repeated, recut or late slice counts once:
--   absent                   cold: the caller gets the lease, and counts from the store
--   with what redrives add   left as it is: the caller counts from the store, and forgets it
--   position <= first        nothing of this is in it: add all
--   otherwise                some or all of this is in it: the caller sees how much, and trims
-- Likers are as many as the entry says, and the mark; where they are not, some are missing (evicted,
-- or still being filled): they are dropped, the entry is left as it was and only takes views.
-- ARGV: source, expected, token, lease_ms, ttl_ms, likers_max, then for each entry one string: ENGAGED
-- (first, finish, views, how many likers), the likers, and those who like it no more.
local function engage(keys, args)
  local stored = redis.call('HGET', keys[1], args[1])
  if tonumber(stored or -1) < tonumber(args[2]) then return {'lost', stored or '0'} end
  local ttl, likers_max = args[5], tonumber(args[6])
  local values = values_of(keys, 2, #keys)
  local out = {'ok'}
  for k = 2, #keys do
    local key, value, data = keys[k], values[k - 1], args[k + 5]
    local first, finish, seen, adds = struct.unpack(ENGAGED, data)
    if not value then
      redis.call('SET', key .. ':lease', args[3], 'PX', args[4])
    elseif #value == ENTRY_BYTES and position_of(value) <= first then
      local likers = key .. ':likers'
      local _, views, likes, replies, retweets, quotes, sources = struct.unpack(ENTRY, value)
      local known = true
      if #data > ENGAGED_BYTES then
        local users, n = users_of(data, ENGAGED_BYTES + 1)
        likes = likes + each('SADD', likers, users, 1, adds) - each('SREM', likers, users, adds + 1, n)
        known = redis.call('SCARD', likers) == likes + 1
        if not known or likes > likers_max then
          redis.call('UNLINK', likers)
        elseif finish % 8 == 0 then
          redis.call('PEXPIRE', likers, ttl)  -- often enough for what is hot
        end
      end
      if known then
        value = struct.pack(ENTRY, finish, views + seen, likes, replies, retweets, quotes, sources)
        redis.call('SET', key, value, 'PX', ttl)
      end
    end
    out[k] = value
  end
  return out
end

-- Fills an absent entry with its registers: the entry itself, then of each register of new-tweets
-- the length and text of its source and its packed counts.
local function put(key, value, ttl)
  redis.call('UNLINK', key .. ':lease', key .. ':sources', key .. ':likers')
  local _, _, _, _, _, _, sources = struct.unpack(ENTRY, value)
  local bytes = ENTRY_BYTES
  if sources >= ADJUSTED then bytes = bytes + ADJUSTMENT_BYTES end
  redis.call('SET', key, string.sub(value, 1, bytes), 'PX', ttl)
  local at = bytes + 1
  while at <= #value do
    local text = at + 1 + string.byte(value, at)
    local packed = string.sub(value, text, text + REGISTER_BYTES - 1)
    redis.call('HSET', key .. ':sources', string.sub(value, at + 1, text - 1), packed)
    at = text + REGISTER_BYTES
  end
  if #value > bytes then redis.call('PEXPIRE', key .. ':sources', ttl) end
end

-- The store has what `engage` counted. Where Redis lost the entry in between, a reader may have
-- filled it, or be about to fill it, from a store that lacked this: forget that.
local function durable(keys, first, n, args, at)
  for i, value in ipairs(values_of(keys, first, first + n - 1)) do
    if not value or #value > ENTRY_BYTES or position_of(value) < tonumber(args[at + i - 1]) then
      forget(keys[first + i - 1])
    end
  end
end

-- The register of `engagements` as counted from the store; `filled` is the whole entry, for one
-- that is absent and whose lease still is the caller's. Where all likers are known (n >= 0), they
-- are those of this register.
local function counted(key, args, at)
  local position, ttl, n = tonumber(args[at]), args[at + 3], tonumber(args[at + 6])
  local likers = key .. ':likers'
  local found = redis.call('MGET', key, key .. ':lease')
  if found[1] and #found[1] > ENTRY_BYTES then return forget(key) end
  if found[1] then
    if position_of(found[1]) >= position then return end
    local _, _, _, replies, retweets, quotes, sources = struct.unpack(ENTRY, found[1])
    redis.call('UNLINK', likers, key .. ':lease')
    redis.call('SET', key, struct.pack(ENTRY, position, tonumber(args[at + 2]),
      tonumber(args[at + 1]), replies, retweets, quotes, sources), 'PX', ttl)
  elseif found[2] == args[at + 4] then
    put(key, args[at + 5], ttl)
  else
    redis.call('DEL', key .. ':lease')
    return
  end
  if n >= 0 then
    redis.call('SADD', likers, COMPLETE)
    each('SADD', likers, args, at + 7, at + 6 + n)
    redis.call('PEXPIRE', likers, ttl)
  end
end

-- The register of one partition of new-tweets replaces what the entry holds of it.
local function family(key, source, position, replies, retweets, quotes, ttl)
  redis.call('DEL', key .. ':lease')
  local value = redis.call('GET', key)
  if not value then return end
  if #value > ENTRY_BYTES then return forget(key) end
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
-- ARGV: source, expected, finish, move, then operations, each on the next of KEYS[2..]:
--   'E' n position...   on n keys                                  `durable`
--   'G' position likes views ttl_ms token filled n liker...        `counted`
--   'F' position n liker...                                        likers, more of them
--   'C' position replies retweets quotes ttl_ms                    `family`
local function commit(keys, args)
  local stored = redis.call('HGET', keys[1], args[1])
  local now = tonumber(stored or -1)
  if now < tonumber(args[2]) then return {'lost', stored or '0'} end
  if stored and now >= tonumber(args[3]) then return {'applied', stored} end
  if args[4] == '1' then redis.call('HSET', keys[1], args[1], args[3]) end
  local at, k = 5, 2
  while k <= #keys do
    local key, op = keys[k], args[at]
    if op == 'E' then
      local n = tonumber(args[at + 1])
      durable(keys, k, n, args, at + 2)
      at, k = at + 2 + n, k + n
    elseif op == 'G' then
      counted(key, args, at + 1)
      at, k = at + 8 + math.max(0, tonumber(args[at + 7])), k + 1
    elseif op == 'C' then
      family(key, args[1], tonumber(args[at + 1]), tonumber(args[at + 2]), tonumber(args[at + 3]),
        tonumber(args[at + 4]), args[at + 5])
      at, k = at + 6, k + 1
    else
      local n = tonumber(args[at + 2])
      local value = redis.call('GET', key)
      if value and position_of(value) == tonumber(args[at + 1]) then
        each('SADD', key .. ':likers', args, at + 3, at + 2 + n)
      end
      at, k = at + 3 + n, k + 1
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
