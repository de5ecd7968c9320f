--- Work between two steps, for the task of a reload: bodies of scripts may run there, since no task runs, and the
--- world may be migrated. The host calls `serve` after the step in which it was asked for.
local core = require "stator.core.task"
local err = require "stator.err"

local M = {}

local waiting = {} -- by kind: { future, fn, arguments }

local function settle(future, ok, ...) future:settle(ok, ...) end

--- What its task is told: cancelled before it was served, it is not done any more.
local function results(kind, job, ok, ...)
  if waiting[kind] == job then waiting[kind] = nil end
  if not ok then error((...), 0) end
  return ...
end

--- Runs fn(...) after this step and returns its results, or raises. In a task, which waits for it.
---@param kind "stage"|"swap" how much patience the watchdog has
---@async
function M.run(kind, fn, ...)
  local job = { future = core.future(), fn = fn, n = select("#", ...), ... }
  waiting[kind] = job
  core.want_outside(kind)
  return results(kind, job, core.park(job.future))
end

--- Runs what waits.
function M.serve(kind)
  local job = waiting[kind]
  waiting[kind] = nil
  if job then settle(job.future, xpcall(job.fn, err.handler, unpack(job, 1, job.n))) end
end

return M
