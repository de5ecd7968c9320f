--- Services: a question with an answer, from one script to another.
---
---   stator.service("grip", function(force_n) ... return held end)         in a script's body
---   local held = await(stator.call("grip", 40))                           in any task of the cell
---
--- Each call runs as a task of the service's script: at most `at_once` of them, the others wait in line,
--- and past `waiting` a call fails with code `busy`. Scripts have environments of their own, so what goes
--- across is plain data, by value.
local core = require "stator.core.task"
local err = require "stator.err"
local by_value = require "stator.by_value"
local registry = require "stator.registry"
local task = require "stator.task"

local park = core.park
local AT_ONCE, WAITING, BOUND_MAX = 16, 64, 4096
local OPTIONS = { "at_once", "waiting" }
local CROSS = "can go from one script to another"

local M = {
  stopping = nil, ---@type fun(): boolean whether no service takes calls any more, and why
}

---@class stator.Service
---@field name string
---@field script stator.Script
---@field at_once integer
---@field waiting integer
---@field running integer
---@field line table[] calls that wait, first to last
---@field faulted string? why it does not run
---@field halted boolean? a reload replaces it: calls wait in line

local function check_bound(what, name, value, low)
  if type(value) ~= "number" or not (value >= low and value <= BOUND_MAX and value % 1 == 0) then
    error(("%s: %s is a whole number from %d to %d, not %s"):format(what, name, low, BOUND_MAX, err.shown(value)), 4)
  end
end

--- Declares a service. Its name is the whole cell's.
---@param name string
---@param options { at_once: integer?, waiting: integer? }? at_once: calls that run at the same time, 16; waiting:
--- calls that wait for them, 64
---@param fn function(...) may wait; what it returns is the answer
function M.service(name, options, fn)
  if type(options) == "function" and fn == nil then options, fn = {}, options end
  if type(name) ~= "string" or name == "" or #name > 60 then
    error("service: expected a name of 1 to 60 bytes, got " .. err.shown(name), 2)
  end
  local what = ('service "%s"'):format(name)
  local script, position, place = registry.declare(what, 3)
  registry.check_options(what, options, OPTIONS, 2)
  if type(fn) ~= "function" then error(what .. ": expected a function, got " .. type(fn), 2) end
  local at_once, waiting = options.at_once or AT_ONCE, options.waiting or WAITING
  check_bound(what, "at_once", at_once, 1)
  check_bound(what, "waiting", waiting, 0)
  local other = registry.recording.services[name]
  if other then error(("%s: the name is taken at %s"):format(what, other.place), 2) end
  local service = {
    kind = "service", title = name, name = script.name .. "/" .. name, what = what, script = script,
    position = position, place = place, options = {}, fn = fn, at_once = at_once, waiting = waiting, running = 0,
    line = {},
  }
  registry.recording.services[name] = service
  table.insert(registry.recording.service_list, service)
end

-- ---- one call -------------------------------------------------------------------------------

---@class stator.Call
---@field service stator.Service
---@field arguments string
---@field by string the caller's name
---@field place string where it was made, "" when unknown
---@field future userdata settled with true and the answer as bytes, or the error
---@field task table? that runs it

--- The error as the caller gets it: its own value, with the service's trace.
local function crossed(call, e)
  local service = call.service
  local out = err.new(e.code, e.message)
  out.task = service.name
  out.trace = ("%s\nin %s, called by %s%s"):format(tostring(e.trace or e.message), service.what, call.by,
    call.place ~= "" and " at " .. call.place or "")
  return out
end

local start_next

local function is_full(service) return service.halted or service.running >= service.at_once end

local function ended(call, ok, ...)
  local service = call.service
  service.running = service.running - 1
  core.settle(call.future, ok, ok and (...) or crossed(call, err.of((...))))
  start_next(service)
end

local function run(call)
  local service = call.service
  service.running = service.running + 1
  call.task = task.spawn({
    name = service.name, order = registry.order(registry.PHASES.update, service.script.index, service.position),
    owner = service.script.entity, script = service.script, quiet = true,
    on_end = function(_, ok, ...) ended(call, ok, ...) end,
  }, function()
    return by_value.pack(service.what, "result", CROSS, service.fn(by_value.unpack(call.arguments)))
  end)
  call.task.call = call
end

function start_next(service)
  while not is_full(service) and #service.line > 0 do
    run(table.remove(service.line, 1))
  end
end

local function refused(service)
  if service.faulted then
    return err.new("faulted", ("%s does not run: %s"):format(service.what, service.faulted))
  end
  local why = M.stopping()
  if why then return err.new("closed", ("%s takes no calls: %s"):format(service.what, why)) end
  if is_full(service) and #service.line >= service.waiting then
    return err.new("busy", ("%s: %d calls run and %d wait"):format(service.what, service.running, #service.line))
  end
end

--- Takes a call back: out of the line, or its task is cancelled and has cleaned up.
local function take_back(call)
  for i, waiting in ipairs(call.service.line) do
    if waiting == call then return table.remove(call.service.line, i) end
  end
  local t = call.task
  if not t or t.done then return end
  task.cancel(t, "its caller does not wait any more")
  local ok = task.shielded(task.current("call"), task.CLEANUP_WITHIN_S, function() park(task.ended(t)) end)
  if not ok or not t.done then task.abandon(t, task.CLEANUP_WITHIN_S, call.service.what) end
end

local function finish(call, ok, e)
  if ok then return by_value.unpack(e) end
  if call.future:state() == "pending" then
    take_back(call)
  elseif not err.is_cancelled(e) and e.trace then
    e.trace = e.trace .. "\n" .. debug.traceback("", 2):gsub("^%s+", "")
  end
  error(e, 0)
end

--- Runs in the awaiting task.
local function call_now(service, arguments, place)
  local e = refused(service)
  if e then error(e, 0) end
  local call = {
    service = service, arguments = arguments, by = task.current("call").name, place = place, future = core.future(),
  }
  if is_full(service) then table.insert(service.line, call) else run(call) end
  return finish(call, park(call.future))
end

--- Calls a service. An operation: answers what its function returns, or raises its error, with the trace of
--- both sides. Cancelling it cancels the call.
---@param name string
---@param ... any plain data
---@return stator.Operation
function M.call(name, ...)
  local service = registry.live.services[name]
  if not service then
    local names = {}
    for i, known in ipairs(registry.live.service_list) do names[i] = known.title end
    err.raise(("call: there is no service %s%s"):format(err.shown(name), err.nearest(tostring(name), names)))
  end
  local arguments = by_value.pack("call: " .. service.what, "argument", CROSS, ...)
  local ok, where = pcall(err.raise, "")
  return task.operation(call_now, service, arguments, not ok and where:match "^(.-:%d+):" or "")
end

--- After the live set has taken the place of another: calls that wait go to the services of now.
---@param before stator.Set
function M.hand_over(before)
  for _, old in ipairs(before.service_list) do
    local now = registry.live.services[old.title]
    if now ~= old then
      local line = old.line
      old.line = {}
      for _, call in ipairs(line) do
        if now then
          call.service = now
          table.insert(now.line, call)
        else
          core.settle(call.future, false, err.new("closed", old.what .. " is not declared any more"))
        end
      end
    end
  end
  for _, service in ipairs(registry.live.service_list) do start_next(service) end
end

--- A reload that was to replace services of scripts has come to nothing: calls in line go on.
---@param scripts table<stator.Script, any>
function M.go_on(scripts)
  for _, service in ipairs(registry.live.service_list) do
    if scripts[service.script] then start_next(service) end
  end
end

--- Notes for each future that somebody waits for here what that is, in words; for whoever looks on.
---@param map table<userdata, string>
function M.index(map)
  for _, t in pairs(task.by_handle) do -- each has its own: the order does not show
    if t.call then map[t.call.future] = t.call.service.what end
  end
  for _, service in ipairs(registry.live.service_list) do
    for i, call in ipairs(service.line) do map[call.future] = ("%s, %d in line"):format(service.what, i) end
  end
end

return M
