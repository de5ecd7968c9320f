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

-- ---- counts of loops --------------------------------------------------------------------------

local BUCKETS, LOOPS_MAX = 20, 512
local frexp, floor = math.frexp, math.floor

local loops, loop_of = {}, {} -- in the order of their first start; by task and place

--- The counts of the loop at this line of the running task: they go on when it starts again. Kept for
--- the first LOOPS_MAX loops of the cell.
---@param level integer of the caller
local function counts_of(name, period_s, level)
  local frame = debug.getinfo(level + 1, "Sl")
  local place = frame and ("%s:%d"):format(frame.short_src, frame.currentline) or "?"
  local key = name .. " " .. place
  local counts = loop_of[key]
  if counts then return counts end
  counts = { name = name, place = place, period_s = period_s, runs = 0, missed = 0, late_max_s = 0, late = {} }
  for i = 1, BUCKETS do counts.late[i] = 0 end
  if #loops < LOOPS_MAX then loops[#loops + 1], loop_of[key] = counts, counts end
  return counts
end

--- A turn that is `late_s` behind its grid: bucket 1 below 1 us, then a power of two each.
local function count_turn(counts, late_s)
  local _, exponent = frexp(floor(late_s * 1e6))
  local late, bucket = counts.late, exponent < BUCKETS and exponent + 1 or BUCKETS
  counts.runs = counts.runs + 1
  late[bucket] = late[bucket] + 1
  if late_s > counts.late_max_s then counts.late_max_s = late_s end
end

--- Counts of all `every` loops: name, place, period_s, runs, missed, late_max_s, late (a histogram whose
--- buckets are those of host/jitter.h).
function M.loops() return loops end

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
  local counts = counts_of(task.current("every").name, period_s, 2)
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
        counts.missed = counts.missed + behind
      end
      -- a turn that is due runs in the next round, not in the next step
      unwrap(park(due > core.now() and core.sleep_until(due) or core.commit()))
    end
    tick.n, tick.now_s = tick.n + 1, core.now()
    tick.late_s = math.max(0, tick.now_s - due)
    count_turn(counts, tick.late_s)
    return tick
  end
end

return M
