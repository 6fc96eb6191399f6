-- Replays requests that were written ahead, signed, in turn: wrk has no HMAC.
--
--   wrk -t1 -c32 -d8s -s replay.lua http://127.0.0.1:8000 -- FILE [PATTERN]
--
-- FILE holds the requests as bytes, each preceded by a line with its length. With PATTERN, a Lua
-- pattern, every answer's body is searched for it, and one without counts as wrong. The closing
-- line of the output is JSON: counts, and latencies in microseconds.

local requests, count, at, pattern = {}, 0, 0, nil
local threads = {}
wrong = 0 -- global, so that done() can ask each thread for it

function setup(thread)
  threads[#threads + 1] = thread
end

function init(arguments)
  local file = assert(io.open(arguments[1], "rb"))
  for length in file:lines() do
    count = count + 1
    requests[count] = file:read(tonumber(length))
  end
  file:close()
  pattern = arguments[2]
  if pattern then
    response = function(_, _, body)
      if not body:find(pattern) then
        wrong = wrong + 1
      end
    end
  end
end

function request()
  at = at % count + 1
  return requests[at]
end

function done(summary, latency)
  local errors, all_wrong = summary.errors, 0
  for _, thread in ipairs(threads) do
    all_wrong = all_wrong + thread:get("wrong")
  end
  print(string.format(
    '{"requests": %d, "duration_us": %d, "p50_us": %d, "p99_us": %d, "not_2xx": %d, "wrong": %d, "broken": %d}',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    errors.status, all_wrong,
    errors.connect + errors.read + errors.write + errors.timeout
  ))
end
