// The scripts: each is one atomic step in Redis. `allow-oom`, because a full Redis is when the reports are needed most; what
// they write is bounded by the number of members and the size of a report.

import RedisClient

enum FleetScripts {
  /// Writes one report, and removes members that have been silent for long.
  ///
  /// Two live processes under one name would take turns in the same field, each looking healthy. They are told apart from a restart by
  /// this: a process that ended never writes again, so when one that wrote before writes once more after another, both live.
  ///
  /// KEYS: members, marks, seen. ARGV: field, report, instance, 1 if it is the last, how long members are kept in ms, how many
  /// there may be. Answers OK.
  static let report = RedisScript(
    name: "report",
    source: """
      #!lua flags=allow-oom
      local time = redis.call('TIME')
      local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
      local members, marks, seen = KEYS[1], KEYS[2], KEYS[3]
      local field, report, instance, last = ARGV[1], ARGV[2], ARGV[3], ARGV[4] == '1'

      for _, silent in ipairs(redis.call('ZRANGEBYSCORE', seen, '-inf', now - tonumber(ARGV[5]), 'LIMIT', 0, 100)) do
        redis.call('ZREM', seen, silent)
        redis.call('HDEL', members, silent)
        redis.call('HDEL', marks, silent)
      end

      local text = redis.call('HGET', marks, field)
      if not text and redis.call('HLEN', marks) >= tonumber(ARGV[6]) then
        return redis.error_reply('FLEETFULL ' .. ARGV[6] .. ' members are registered already')
      end
      local readable, mark = pcall(cjson.decode, text or '{}')
      if not readable or type(mark) ~= 'table' then mark = {} end
      local holder, clash, before = mark.instance, tonumber(mark.clash) or 0, {}
      local returned = false
      if type(mark.before) == 'string' then
        for one in string.gmatch(mark.before, '%S+') do
          if one == instance then returned = true else before[#before + 1] = one end
        end
      end
      if type(holder) == 'string' and holder ~= instance then
        if returned then
          -- Its last word must not hide the other, which lives.
          if last then return redis.status_reply('OK') end
          clash = now
        end
        table.insert(before, 1, holder)
        before[5] = nil
      end

      redis.call('HSET', members, field, report)
      redis.call('HSET', marks, field, string.format(
        '{"seen":%.0f,"instance":"%s","stopped":%s,"clash":%.0f,"before":"%s"}',
        now, instance, last and 'true' or 'false', clash, table.concat(before, ' ')))
      redis.call('ZADD', seen, string.format('%.0f', now), field)
      return redis.status_reply('OK')
      """)

  /// Reads all reports and marks as they were at one moment. KEYS: members, marks, seen. Answers seconds and microseconds of Redis's
  /// clock, the reports and the marks.
  static let read = RedisScript(
    name: "read the fleet",
    source: """
      #!lua flags=no-writes
      local time = redis.call('TIME')
      return {time[1], time[2], redis.call('HGETALL', KEYS[1]), redis.call('HGETALL', KEYS[2])}
      """)

  /// Removes one member. KEYS: members, marks, seen. ARGV: field. Answers how many fields it removed.
  static let forget = RedisScript(
    name: "forget",
    source: """
      #!lua flags=allow-oom
      redis.call('ZREM', KEYS[3], ARGV[1])
      return redis.call('HDEL', KEYS[1], ARGV[1]) + redis.call('HDEL', KEYS[2], ARGV[1])
      """)
}
