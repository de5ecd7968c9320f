--- stator.supervise: tasks that are started in order, started again after failures, and stopped in reverse.
--- stator.detach: tasks that belong to the script.
---
---   stator.supervise({ strategy = "rest_for_one", intensity = 3, period = 60 }, {
---     { "drives", run_drives, ready_within = 5 },       -- says stator.ready() when they are up
---     { "feeder", run_feeder, "left", restart = "always" },
---   })
---
--- Children have shielded roots: a cancellation of the block reaches the supervising task, which ends
--- them one by one. What happens to a child comes as an event in the order of T2:
---
---   child ── up, end ──▶ events ──▶ the supervising task ── start, stop ──▶ children
local backoff = require "stator.backoff"
local core = require "stator.core.task"
local err = require "stator.err"
local fault = require "stator.fault"
local log = require "stator.log"
local names = require "stator.names"
local registry = require "stator.registry"
local schedule = require "stator.schedule"
local task = require "stator.task"

local M = { detached = {} }

local FAILURES_KEPT = 5
local INTENSITY_MAX = 10000
local SECONDS_MIN, SECONDS_MAX = 0.001, 6e7
local OPTIONS = { "strategy", "intensity", "period", "min", "max", "jitter", "ready_within", "stop_within" }
local CHILD_OPTIONS = { "restart", "min", "max", "jitter", "ready_within", "stop_within" }
local STRATEGIES = { "one_for_one", "one_for_all", "rest_for_one" }
local RESTARTS = { "always", "on_failure", "never" }

-- ---- checks ---------------------------------------------------------------------------------

local function one_of(what, value, known)
  for _, k in ipairs(known) do
    if k == value then return value end
  end
  err.raise(('%s: expected "%s", got %s%s'):format(what, table.concat(known, '", "'), err.shown(value),
    err.nearest(tostring(value), known)))
end

local function seconds_of(what, value, default, low)
  return names.number(what, value, default, low or SECONDS_MIN, SECONDS_MAX)
end

--- Seconds that a child has of its own, or its supervisor has for all.
local function times_of(what, options, defaults)
  local t = {
    min = seconds_of(what .. ": min", options.min, defaults.min),
    jitter = names.number(what .. ": jitter", options.jitter, defaults.jitter, 0, 1),
    ready_within = seconds_of(what .. ": ready_within", options.ready_within, defaults.ready_within),
    stop_within = seconds_of(what .. ": stop_within", options.stop_within, defaults.stop_within),
  }
  t.max = seconds_of(what .. ": max", options.max, math.max(defaults.max, t.min), t.min)
  return t
end

---@class stator.SupervisedChild
---@field index integer place in the list
---@field state "idle"|"running"|"done" idle: to be started
---@field instance table? the run that goes on: its task, whether it is up, how it ended
---@field failures integer in a row
---@field pause_s number before it starts

local function child_of(sup, i, entry)
  local what = ("supervise: child %d"):format(i)
  if type(entry) ~= "table" or type(entry[1]) ~= "string" or type(entry[2]) ~= "function" then
    err.raise(what .. ': expected { "name", fn, ... }')
  end
  what = ('supervise: child "%s"'):format(entry[1])
  local named, last = {}, 2
  for key, value in pairs(entry) do
    if type(key) ~= "number" then named[key] = value else last = math.max(last, key) end
  end
  registry.check_options(what, named, CHILD_OPTIONS)
  local child = times_of(what, named, sup)
  child.name, child.fn, child.args = entry[1], entry[2], { n = last - 2, unpack(entry, 3, last) }
  child.restart = one_of(what .. ": restart", named.restart or "on_failure", RESTARTS)
  child.index, child.state, child.failures, child.pause_s, child.starts = i, "idle", 0, 0, 0
  for _, other in ipairs(sup.children) do
    if other.name == child.name then err.raise(what .. ": the name is taken") end
  end
  return child
end

local DEFAULTS = { min = 0.5, max = 30, jitter = 0, stop_within = 1 }

local function supervisor_of(options, children)
  registry.check_options("supervise", options, OPTIONS)
  if type(children) ~= "table" or #children == 0 then
    err.raise('supervise: expected a list of children, { { "name", fn, ... }, ... }')
  end
  local sup = times_of("supervise", options, DEFAULTS)
  sup.strategy = one_of("supervise: strategy", options.strategy or "one_for_one", STRATEGIES)
  sup.intensity = options.intensity == nil and 3
    or names.whole("supervise: intensity", options.intensity, 0, INTENSITY_MAX)
  sup.period = seconds_of("supervise: period", options.period, 60)
  sup.children, sup.events, sup.restarts, sup.failures = {}, {}, {}, {}
  for i, entry in ipairs(children) do sup.children[i] = child_of(sup, i, entry) end
  return sup
end

-- ---- starting -------------------------------------------------------------------------------

--- Tells the supervising task. At most two events a run: up, and the end.
local function post(sup, instance)
  table.insert(sup.events, instance)
  if sup.wake and sup.wake:state() == "pending" then core.settle(sup.wake, true) end
end

local function be_up(instance)
  if instance.up then return end
  instance.up, instance.child.was_up = true, true
  if instance.deadline then task.stop(instance.deadline) end
  post(instance.sup, instance)
end

--- Fails the running child when it is not ready in time.
local function watch_ready(scope, within_s)
  task.await(core.sleep(within_s))
  scope:cancel("not_ready", ("not ready within %g s"):format(within_s))
end

local function run_child(instance, pause_s)
  local child = instance.child
  if pause_s > 0 then task.await(core.sleep(pause_s)) end
  instance.began_s = core.now()
  if child.ready_within then
    local scope = instance.task.scope
    instance.deadline = task.child(watch_ready, { quiet = true, daemon = true }, scope, child.ready_within)
  else
    be_up(instance)
  end
  return child.fn(unpack(child.args, 1, child.args.n))
end

local function start(sup, child)
  local instance, pause_s = { sup = sup, child = child }, child.pause_s
  child.instance, child.state, child.pause_s = instance, "running", 0
  child.starts = child.starts + 1
  if pause_s == 0 and not child.ready_within then instance.up, child.was_up = true, true end
  instance.task = task.spawn({
    name = sup.task.name .. "/" .. child.name, order = sup.task.order, parent = sup.scope, owner = sup.task.owner,
    script = sup.task.script, spawned_at = sup.place, quiet = true, shield = true,
    on_end = function(ended_task, ok, e)
      instance.ended, instance.ok, instance.error = true, ok, e
      instance.deadline, ended_task.supervised = nil, nil
      post(sup, instance)
    end,
  }, run_child, instance, pause_s)
  instance.task.supervised = instance
end

local function is_up(child)
  return child.state == "done" or (child.instance ~= nil and child.instance.up == true)
end

--- Starts what may start: all before it in the list are up. A child that was up once need not wait for
--- the others again where they are restarted one by one.
local function start_next(sup)
  local open = true
  for _, child in ipairs(sup.children) do
    local alone = sup.strategy == "one_for_one" and child.was_up
    if child.state == "idle" and (open or alone) then start(sup, child) end
    open = open and is_up(child)
  end
end

--- The running child is up: those that come after it may start.
function M.ready()
  local t = task.current("ready")
  while t and not t.supervised do t = t.parent and t.parent.task end
  if not t then err.raise("ready: only inside a child of supervise") end
  be_up(t.supervised)
end

-- ---- stopping -------------------------------------------------------------------------------

--- Ends a child and waits for its cleanup. Answers whether it did end in time.
local function stop(sup, child, why)
  local t = child.instance.task
  child.instance = nil
  if t.done then return true end
  task.cancel(t, why)
  local ended = task.shielded(sup.task, child.stop_within, function() task.await(task.ended(t)) end)
  if not ended and not t.done then
    task.abandon(t, child.stop_within)
    return false
  end
  return true
end

local function stop_all(sup, why)
  for i = #sup.children, 1, -1 do
    if sup.children[i].instance then stop(sup, sup.children[i], why) end
  end
end

-- ---- failures -------------------------------------------------------------------------------

local function note_failure(sup, child, e)
  table.insert(sup.failures, { name = child.name, code = e.code, message = e.message, at_s = core.now() })
  if #sup.failures > FAILURES_KEPT then table.remove(sup.failures, 1) end
end

local function raise_escalation(sup, cause)
  local texts = {}
  for _, f in ipairs(sup.failures) do texts[#texts + 1] = ("%s: %s"):format(f.name, tostring(f.message)) end
  local e = err.new("supervise", ("%d restarts within %g s, at most %g are allowed; last failures: %s"):format(
    #sup.restarts, sup.period, sup.intensity, table.concat(texts, "; ")), cause)
  e.failures = sup.failures
  error(e, 0)
end

--- Counts a restart; raises when there were more than `intensity` within `period`.
local function count_restart(sup, cause)
  local now = core.now()
  table.insert(sup.restarts, now)
  while sup.restarts[1] < now - sup.period do table.remove(sup.restarts, 1) end
  if #sup.restarts > sup.intensity then raise_escalation(sup, cause) end
end

--- Ends those that are restarted together with the child, last first, and marks them for their start.
local function restart_group(sup, child, pause_s)
  local first = sup.strategy == "one_for_all" and 1 or child.index
  local last = sup.strategy == "one_for_one" and child.index or #sup.children
  child.state, child.instance = "idle", nil
  for i = last, first, -1 do
    local other = sup.children[i]
    if other.instance and not stop(sup, other, child.name .. " failed") then
      error(err.new("abandoned", ("%s did not end within %g s, so it is not started a second time"):format(
        other.name, other.stop_within)), 0)
    end
    if other ~= child then
      other.pause_s = 0
      other.state = other.restart == "never" and other.starts > 0 and "done" or "idle"
    end
  end
  for i = first, last do -- the pause goes before the first of them
    if sup.children[i].state == "idle" then sup.children[i].pause_s = pause_s break end
  end
end

--- What becomes of a child that has ended.
local function ended(sup, child, instance)
  local e = not instance.ok and err.of(instance.error) or nil
  child.instance = nil
  if e and err.is_cancelled(e) then e = err.new("cancelled", e.message) end
  if not e and child.restart ~= "always" then
    child.state = "done"
    return
  end
  if e then note_failure(sup, child, e) end
  if e and child.restart == "never" then
    if not instance.up then error(e, 0) end -- those after it need it
    fault.raise(instance.task.name, e, sup.task.owner)
    child.state = "done"
    return
  end
  count_restart(sup, e)
  if core.now() - (instance.began_s or core.now()) > child.max then child.failures = 0 end
  child.failures = child.failures + 1
  local pause_s = backoff.pause(child.failures, child.min, child.max, child.jitter, instance.task.name)
  log.event("warn", instance.task.name, ("%s; starts again in %g s"):format(
    e and "failed: " .. tostring(e.message) or "has ended", pause_s), e and err.place(e))
  restart_group(sup, child, pause_s)
end

--- Waits for what happens next; nil when no child runs any more.
local function next_event(sup)
  while #sup.events == 0 do
    local running = false
    for _, child in ipairs(sup.children) do running = running or child.instance ~= nil end
    if not running then return nil end
    sup.wake = core.future()
    task.await(sup.wake)
  end
  return table.remove(sup.events, 1)
end

local function watch_children(sup)
  while true do
    start_next(sup)
    local instance = next_event(sup)
    if not instance then return end
    local child = instance.child
    if child.instance == instance and instance.ended then ended(sup, child, instance) end
  end
end

local function run(sup)
  sup.scope = sup.task.scope
  local ok, e = pcall(watch_children, sup)
  stop_all(sup, ok and "the supervisor has ended" or tostring(e.message))
  if not ok then error(e, 0) end
end

--- Runs children until all have ended for good; then it returns. They start in the order of the list, a
--- child with `ready_within` counts as up once it has called stator.ready(), the others at once. They are
--- stopped in reverse order when the block fails or is cancelled, each within `stop_within`, 1 s. Raises
--- code "supervise" with `failures` when there are more than `intensity` (3) restarts within `period` (60 s).
---@param options table strategy, intensity, period; and for all children min, max, jitter, ready_within, stop_within
---@param children table[] { "name", fn, arguments...; restart = "on_failure" | "always" | "never", min = ... }
---@async
function M.supervise(options, children)
  local sup = supervisor_of(options, children)
  sup.task = task.current("supervise")
  local at = debug.getinfo(2, "Sl")
  sup.place = at and at.currentline > 0 and at.short_src .. ":" .. at.currentline or nil
  return task.block(task.enter(sup.task), run, sup)
end

-- ---- detached tasks -------------------------------------------------------------------------

local function check_name(script, name)
  if type(name) ~= "string" or name == "" or #name > 60 then
    err.raise("detach: expected a name of 1 to 60 bytes, got " .. err.shown(name))
  end
  local full = script.name .. "/" .. name
  local live = M.detached[full]
  if live and not live.done then
    err.raise(('detach: "%s" runs already, since %s'):format(name, live.spawned_at or "before"), "busy")
  end
  local set = registry.live
  for _, list in ipairs { set.tasks, set.per_entity, set.systems } do
    for _, d in ipairs(list) do
      if d.name == full then err.raise(('detach: "%s" is the name of a %s at %s'):format(name, d.kind, d.place)) end
    end
  end
  return full
end

--- Starts a task that outlives the block and the task it was started in: it belongs to the script, and is
--- cancelled when that stops. Its failure is a fault. A second live one of the same name is an error.
---@param name string
---@return userdata future
function M.detach(name, fn, ...)
  local me = task.current("detach")
  if not me.script then err.raise("detach: only inside a task of a script") end
  if schedule.stopping then err.raise("detach: the cell is stopping", "closed") end -- nobody would cancel it
  local full = check_name(me.script, name)
  if type(fn) ~= "function" then err.raise("detach: expected a function, got " .. type(fn)) end
  local at = debug.getinfo(2, "Sl")
  local t = task.spawn({
    name = full, order = me.order, owner = me.script.entity, script = me.script,
    spawned_at = at and at.currentline > 0 and at.short_src .. ":" .. at.currentline or nil,
    on_end = function(ended_task) if M.detached[full] == ended_task then M.detached[full] = nil end end,
  }, fn, ...)
  M.detached[full] = t
  return task.future(t)
end

return M
