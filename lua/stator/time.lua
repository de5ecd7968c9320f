--- Time for scripts: seconds since the host started, the same all through a step.
local core = require "stator.core.task"
local err = require "stator.err"
local task = require "stator.task"
local registry = require "stator.registry"

local park, unwrap = core.park, core.unwrap

local PERIOD_MIN_S, PERIOD_MAX_S = 1e-6, 6e7

local M = {}

--- Seconds since the host started; constant within a step.
function M.now() return core.now() end

--- Waits for `seconds`. An operation.
---@type fun(seconds: number): userdata
M.sleep = core.sleep

--- Waits for the next tick. An operation.
function M.next_tick() return core.ticks(1) end

--- Waits for `n` ticks. An operation.
function M.ticks(n) return core.ticks(n) end

local LATE = { skip = true, burst = true }

--- Turns on a fixed grid: the first at once, then one a period. A turn that is late by a period or
--- more is skipped and counted in `tick.missed`, or made up for (`late = "burst"`).
---@param period_s number
---@param options { late: "skip"|"burst" }?
---@return fun(): { n: integer, now_s: number, late_s: number, missed: integer }
---@async
function M.every(period_s, options)
  if type(period_s) ~= "number" or not (period_s >= PERIOD_MIN_S and period_s <= PERIOD_MAX_S) then
    err.raise(("every: expected a period of %g to %g seconds, got %s"):format(PERIOD_MIN_S, PERIOD_MAX_S,
      tostring(period_s)))
  end
  local late = "skip"
  if options then
    registry.check_options("every", options, { "late" }, 2)
    late = options.late or late
    if not LATE[late] then err.raise(('every: late is "skip" or "burst", not "%s"'):format(tostring(late))) end
  end
  task.current("every")
  local tick = { n = 0, now_s = 0, late_s = 0, missed = 0 }
  local start, turn = core.now(), -1
  return function()
    turn = turn + 1
    local due = start + turn * period_s
    if turn > 0 then
      local behind = math.floor((core.now() - due) / period_s + 1e-9)
      if behind > 0 and late == "skip" then
        turn = turn + behind
        due = start + turn * period_s
        tick.missed = tick.missed + behind
      end
      unwrap(park(core.sleep_until(due)))
    end
    tick.n, tick.now_s = tick.n + 1, core.now()
    tick.late_s = math.max(0, tick.now_s - due)
    return tick
  end
end

return M
