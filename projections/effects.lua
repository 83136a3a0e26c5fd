#!lua name=murmur_effects

-- What a worker writes to one bucket for one slice, and what a reader fills under a lease.
-- All keys of a call carry the same hash tag. KEYS[1] of a commit is the bucket's positions:
-- a hash of source partition ("new-tweets/3") to the next offset to apply.

-- Rule of positions. stored = what the bucket says, expected = what this worker last saw there,
-- finish = the end of the slice at hand:
--   no stored position     the bucket is new or came back empty: nothing in it is stale, go on
--   stored < expected      acknowledged writes were lost: change nothing, tell the worker
--   stored >= finish       applied before (redelivery, or a zombie is writing): change nothing
local function admit(positions, source, expected, finish)
  local stored = redis.call('HGET', positions, source)
  if stored then
    local at = tonumber(stored)
    if at < tonumber(expected) then return {'lost', stored} end
    if at >= tonumber(finish) then return {'applied', stored} end
  end
  redis.call('HSET', positions, source, finish)
  return nil
end

-- ARGV: source, expected, finish, then for each of KEYS[2..] one operation:
--   'D'                  forget a cache entry, and any fill of it that is under way
--   'P' ttl_ms value     replace a cache entry, and forget any fill of it that is under way
--   'A' keep n id...     add ids to a marked timeline, nothing where there is no marker;
--                        keep > 0 trims it to that many of the newest and raises its marker
local function commit(keys, args)
  local refused = admit(keys[1], args[1], args[2], args[3])
  if refused then return refused end
  local at = 4
  local added = 0
  for k = 2, #keys do
    local key, op = keys[k], args[at]
    if op == 'A' then
      local keep, n = tonumber(args[at + 1]), tonumber(args[at + 2])
      if redis.call('EXISTS', key) == 1 then
        if n == 1 then
          added = added + redis.call('ZADD', key, args[at + 3], args[at + 3])
        else
          local pairs_of = {}
          for i = 1, n do
            local id = args[at + 2 + i]
            pairs_of[2 * i - 1] = id
            pairs_of[2 * i] = id
          end
          added = added + redis.call('ZADD', key, unpack(pairs_of))
        end
        -- Rank 0 is the marker (score -inf), so `keep` entries and the marker are keep + 1.
        if keep > 0 and redis.call('ZCARD', key) > keep + 1 then
          redis.call('ZREMRANGEBYRANK', key, 0, -keep - 1)
          local oldest = redis.call('ZRANGE', key, 0, 0)[1]
          redis.call('ZADD', key, '-inf', 'from:' .. oldest)
        end
      end
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
