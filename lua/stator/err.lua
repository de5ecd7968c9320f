--- Error values: `code` for callers, `message` and `trace` for people, `cause` for both.
local task_core = require "stator.core.task"
local texts = require "stator.texts"

---@class (exact) stator.Error
---@field code string what happened, for code: "timeout", "closed", "modbus.illegal_data_address"
---@field message string the same for people
---@field cause any the error that led to it
---@field trace string? stack where it was raised, then where it was awaited, then where its tasks were spawned
---@field stacks string[]? the parts of trace, without
---@field spawns string[]? the places of spawning
---@field seen_by number? the task that has it now
---@field task string? name of the task it came from
---@field revision integer? of the code that it came from
---@field unknown boolean? whether it was done is unknown: it is no use to do it again without looking
---@field tries integer? how often stator.retry has run what failed, when more than once
---@field scope table? of a cancellation: the scope that was cancelled
---@field as string? of a cancellation: the code of the failure that it becomes there
---@field also stator.Error? what went wrong as well, in the cleanup after it
---@field failures table[]? of supervise: the last ones, { name, code, message, at_s }
---@field passes boolean? the watchdog raised it: nothing in its slice may catch it
local Error = {}
Error.__index = Error
Error.__tostring = function(e) return e.message end
task_core.error_metatable(Error)

local M = {}

---@param code string
---@param message string
---@param cause any
---@return stator.Error
function M.new(code, message, cause)
  return setmetatable({ code = code, message = message, cause = cause }, Error)
end

---@return boolean
function M.is(value) return getmetatable(value) == Error end

---@return boolean whether it is a cancellation that still travels to its scope
function M.is_cancelled(value)
  return getmetatable(value) == Error and rawget(value, "scope") ~= nil
end

--- Whether pcall, try and the like have to let it through: a cancellation, or a stop by the watchdog.
---@return boolean
function M.must_pass(value)
  return getmetatable(value) == Error and (rawget(value, "scope") ~= nil or rawget(value, "passes") == true)
end

local FRAMES_MAX = 24 -- of one stack

--- A traceback without the runtime's frames and C functions; as it is when nothing else is in it.
---@param text string
---@return string lines, indented by a tab
function M.script_frames(text)
  local lines = {}
  for line in text:gmatch "[^\n]+" do
    local frame = line:match "^%s+(.*)$"
    local internal = not frame or frame:find "^stator/" or frame:find "^%[" or frame:find '^=?%[?string "=?record'
    if not internal and #lines < FRAMES_MAX then lines[#lines + 1] = "\t" .. frame end
  end
  return #lines > 0 and table.concat(lines, "\n") or text
end

local STACKS_MAX = 8 -- of one error: a failure that goes on through more tasks tells the first ones

local function join_trace(e)
  local parts = {}
  for i, stack in ipairs(e.stacks) do parts[i] = stack end
  for _, place in ipairs(e.spawns or {}) do parts[#parts + 1] = "spawned at " .. place end
  e.trace = table.concat(parts, "\n")
end

--- Adds the stack of the running task, once: the first is where it failed, each further one where a task
--- awaits the one before.
local function note_stack(e)
  local by = task_core.current() or -1
  if e.stacks and (e.seen_by == by or #e.stacks >= STACKS_MAX) then return end
  if not e.stacks and e.trace then e.stacks = { e.trace } end
  local frames = M.script_frames(debug.traceback("", 3))
  if e.stacks then
    frames = ("awaited by %s:\n%s"):format(M.who(by) or "a task", frames)
  else
    frames = frames:gsub("^%s+", "")
  end
  e.stacks = e.stacks or {}
  e.stacks[#e.stacks + 1] = frames
  e.seen_by = by
  join_trace(e)
end

--- The name of a task by its handle; set by stator.task.
M.who = function() return nil end

--- Notes where the task that failed with it was spawned.
---@param place string?
function M.note_spawn(e, place)
  if not place or not e.stacks then return end
  e.spawns = e.spawns or {}
  if #e.spawns < STACKS_MAX then e.spawns[#e.spawns + 1] = place end
  join_trace(e)
end

--- Turns whatever was raised into an error value. A message handler for xpcall: keeps the stack.
function M.handler(raised)
  local e = raised
  if not M.is(raised) then
    local is_table = type(raised) == "table"
    local message = raised
    if is_table then message = raised.message or "a table without a message was raised" end
    if raised == nil then message = "nil was raised" end
    message = tostring(message):gsub("^stator/[%w_/]+%.lua:%d+: ", "") -- the script's line is in the trace
    local code = is_table and raised.code or not is_table and texts.code(message)
    e = M.new(tostring(code or "error"), message, is_table and raised or nil)
    e.unknown = is_table and raised.unknown == true or nil
  end
  if not e.scope then
    note_stack(e)
  elseif e.scope.task.handle == task_core.current() then
    note_stack(e.scope.failure or e) -- a child failed, or it was cancelled: this is where its task waited meanwhile
  end
  return e
end

--- What a cancellation becomes in its scope: a failure with the stack of where the scope's task waited.
---@param cancelled stator.Error
---@return stator.Error
function M.failure_of(cancelled)
  local e = M.new(cancelled.as or "cancelled", cancelled.message)
  e.trace, e.stacks, e.seen_by = cancelled.trace, cancelled.stacks, cancelled.seen_by
  return e.stacks and e or M.handler(e)
end

--- An error value of what xpcall answered: where the stack or the heap is full, err.handler itself may
--- fail, and what comes is text.
function M.of(raised)
  if M.is(raised) then return raised end
  return M.new(texts.code(tostring(raised)) or "error", tostring(raised))
end

--- The first line of a trace that lies in a script, as "file.lua:12".
function M.place(e)
  local at = tostring(e.message):match("^([%w_%-%./]+%.lua:%d+):")
  if at then return at end
  for line in tostring(e.trace or ""):gmatch("[^\n]+") do
    local place = line:match("^%s*([%w_%-%./]+%.lua:%d+):")
    if place and place:sub(1, 7) ~= "stator/" then return place end
  end
end

--- Raises `message` at the line of the script that called into the runtime, as an error value with
--- `code` when one is given.
---@param message string
---@param code string?
function M.raise(message, code)
  local level = 2
  while true do
    local frame = debug.getinfo(level, "Sl")
    if not frame then error(message, 0) end
    local internal = frame.what == "C" or frame.source:find("^@stator/") or frame.source:find("^=record")
      or frame.source:find("^=query")
    if not internal and code then
      error(M.new(code, ("%s:%d: %s"):format(frame.short_src, frame.currentline, message)), 0)
    elseif not internal then
      error(message, level) -- no tail call: it would shift the level
    end
    level = level + 1
  end
end

local SHOWN_MAX = 40

local function escaped(c) return ("\\%03d"):format(c:byte()) end

--- A value as messages show it: text in quotes, cut, without bytes that do not print.
function M.shown(value)
  local kind = type(value)
  if kind == "string" then
    local text = value:sub(1, SHOWN_MAX):gsub("%c", escaped)
    return #value <= SHOWN_MAX and '"' .. text .. '"' or ('"%s..." (%d bytes)'):format(text, #value)
  elseif kind == "number" or kind == "boolean" or kind == "nil" then
    return tostring(value)
  end
  local meta = kind == "table" and getmetatable(value)
  if type(meta) == "table" and rawget(meta, "__tostring") then return tostring(value) end
  return kind == "cdata" and "a view" or "a " .. kind
end

M.nearest = texts.nearest

return M
