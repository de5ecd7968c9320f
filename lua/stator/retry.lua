--- stator.retry: a function run again after failures that may pass.
---
---   local regs = stator.retry({ tries = 4, min = 0.1, on = { "timeout", "link_down" } }, function()
---     return await(plc:read_holding(100, 16))
---   end)
---
--- Each try is a block of its own: what it recorded is forgotten, its cleanup has run, its children have
--- ended before the pause begins.
local backoff = require "stator.backoff"
local core = require "stator.core.task"
local err = require "stator.err"
local log = require "stator.log"
local names = require "stator.names"
local registry = require "stator.registry"
local task = require "stator.task"

local M = {}

local OPTIONS = { "tries", "min", "max", "jitter", "on", "idempotent" }

-- Never without `on`: mistakes of the script, limits, and what does not come back. `cancelled` is what a
-- cancel_when inside the function leaves, an e-stop for one.
local NOT_BY_ITSELF = {
  error = true, never_awaited = true, read_only = true, stale_view = true, memory = true, limit = true, stack = true,
  gone = true, abandoned = true, cancelled = true,
}

local TRIES_MAX = 1e9

local function codes_of(on)
  if on == nil then return nil end
  if type(on) ~= "table" or #on == 0 then
    err.raise('retry: on is a list of codes, such as { "timeout" }, not ' .. err.shown(on))
  end
  local codes = {}
  for _, code in ipairs(on) do
    if type(code) ~= "string" then err.raise("retry: on is a list of codes, this holds " .. err.shown(code)) end
    codes[code] = true
  end
  return codes
end

local function checked(options)
  registry.check_options("retry", options, OPTIONS)
  local o = {
    tries = options.tries == nil and 3 or names.whole("retry: tries", options.tries, 1, TRIES_MAX),
    jitter = names.number("retry: jitter", options.jitter, 0, 0, 1),
    min = names.number("retry: min", options.min, 0.2, 0.001, 3600),
    idempotent = options.idempotent == true, codes = codes_of(options.on),
  }
  o.max = names.number("retry: max", options.max, math.max(5, o.min), o.min, 86400)
  return o
end

local function may_pass(o, e)
  if err.must_pass(e) or (e.unknown and not o.idempotent) then return false end
  if o.codes then return o.codes[e.code] == true end
  return not NOT_BY_ITSELF[e.code]
end

--- The error that retry raises: the last one, which says how often it was tried.
local function last_error(e, n)
  if n == 1 or err.must_pass(e) then return e end
  local last = err.new(e.code, ("%s (after %d tries)"):format(e.message, n), e)
  last.trace, last.task, last.unknown, last.tries = e.trace, e.task, e.unknown, n
  return last
end

local function pack(...) return { n = select("#", ...), ... } end

--- Runs fn, and again after growing pauses while it fails with an error that may pass. A cancellation from
--- outside, a deadline outside, a stop by the watchdog and an error that is marked `unknown` are never
--- tried again. Raises the last error, with `tries`, and the error itself as `cause`.
---@param options table
--- tries: 3; min, max: pauses in seconds, 0.2 and 5; jitter: part of a pause, 0 to 1, that may be left out;
--- on: the codes that are tried again, else all that may pass;
--- idempotent: fn may run again though it is unknown whether it was done
---@async
function M.retry(options, fn, ...)
  local o = checked(options)
  if type(fn) ~= "function" then err.raise("retry: expected a function, got " .. type(fn)) end
  local me = task.current("retry")
  me.retries = (me.retries or 0) + 1
  local seed = ("%s#%d#%d"):format(me.name, me.sequence, me.retries)
  local n = 0
  while true do
    n = n + 1
    local results = pack(pcall(task.block, task.enter(me), fn, ...))
    if results[1] then return unpack(results, 2, results.n) end
    local e = err.of(results[2])
    if n >= o.tries or not may_pass(o, e) then error(last_error(e, n), 0) end
    local pause = backoff.pause(n, o.min, o.max, o.jitter, seed)
    log.event("debug", me.name, ("retry: try %d failed: %s; again in %g s"):format(n, tostring(e.message), pause),
      err.place(e))
    task.await(core.sleep(pause))
  end
end

return M
