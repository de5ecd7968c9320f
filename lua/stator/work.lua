--- Work that takes long, on another thread and in a Lua state of its own: plain data in and out.
---
---   local path = await(stator.work("planner", map, from, to))       -- planner.lua returns a function
---   local path = await(stator.work("planner:shortest", map, from))  -- or a table with it
local buffer = require "string.buffer"
local core = require "stator.core.task"
local err = require "stator.err"
local file = require "stator.file"
local names = require "stator.names"
local plain = require "stator.plain"
local task = require "stator.task"
local work = require "stator.core.work"

local park = core.park
local BYTES_MAX = 16 * 2 ^ 20

local M = {}

local function collect(ok, value)
  if ok then
    local results = buffer.decode(value)
    return unpack(results, 1, results.n)
  end
  if err.is(value) and not err.is_cancelled(value) and value.trace then
    value.trace = value.trace .. "\nin work that was awaited at\n" .. debug.traceback("", 2):gsub("^%s+", "")
  end
  error(value, 0)
end

local function run(folder, module, name, bytes) return collect(park(work.run(folder, module, name, bytes))) end

--- Runs a function of a module of the script's folder on another thread, in a fresh state without
--- stator, with copies of its arguments; plain data only, 16 MiB each way. At most two run at once, each
--- with 128 MiB; others wait for their turn. The file is read each time. Taken back, it stops at its next
--- loop or allocation, and whoever waited goes on at once.
---@param module string "planner", or "planner:shortest"
---@param ... any
---@return stator.Operation that answers what the function returns; its error comes with its trace
function M.work(module, ...)
  names.text("work", module, 200)
  local file_name, name = module:match "^([%w_][%w_%.%-]*):([%a_][%w_]*)$"
  if not file_name then file_name, name = module:match "^[%w_][%w_%.%-]*$", "" end
  if not file_name then err.raise('work: expected "module" or "module:function", got ' .. err.shown(module)) end
  local arguments = { n = select("#", ...), ... }
  for i = 1, arguments.n do
    local problem = plain.problem(arguments[i], "argument " .. i)
    if problem then err.raise(("work: %s: only plain data goes into work"):format(problem)) end
  end
  local bytes = buffer.encode(arguments)
  if #bytes > BYTES_MAX then err.raise(("work: at most 16 MiB of arguments, got %d bytes"):format(#bytes), "limit") end
  local script = task.current("work").script
  return task.operation(run, script and script.folder or file.folder, file_name, name, bytes)
end

return M
