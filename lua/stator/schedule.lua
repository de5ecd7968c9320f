--- What runs of the live set: systems, tasks, and tasks of entities. How it is registered with the runtime,
--- starts, goes on in the next VM when one is lost, and makes room for what a reload brings.
local command = require "stator.command"
local core = require "stator.core.task"
local entity = require "stator.entity"
local err = require "stator.err"
local fault = require "stator.fault"
local inbox = require "stator.inbox"
local keep = require "stator.core.keep"
local log = require "stator.log"
local registry = require "stator.registry"
local service = require "stator.service"
local task = require "stator.task"
local world = require "stator.core.world"

local EVENT = { added = 0, changed = 1, removed = 2, despawned = 3 }

local M = {
  EVENT = EVENT,
  draining = {}, ---@type table<string, stator.Task> tasks of the revision before that may finish, by what they are for
  stopping = false, -- the cell is
  quarantined = false, -- no script runs any more
}

-- ---- freezing -------------------------------------------------------------------------------

local function order_of(d)
  return registry.order(registry.PHASES[d.phase or "update"], d.script.index, d.position)
end

--- Registers the systems of the live set in the place of all that were there.
---@param mended table<stator.Script, boolean>? whose systems leave their faults behind
local function freeze_systems(mended)
  core.clear_systems()
  fault.owner_of = {}
  for _, d in ipairs(registry.live.systems) do
    core.system(d.name, d.mode, d.phase == "startup" and 3 or registry.PHASES[d.phase] - 1, order_of(d),
      d.options.every or 0, mended and mended[d.script] or false, d.fn, d.query, { n = 0, now_s = 0, dt_s = 0 })
    fault.owner_of[d.name] = d.script.entity
  end
  core.freeze_systems()
  local by_name = {}
  for _, d in ipairs(registry.live.systems) do by_name[d.name] = d end
  M.by_index = {}
  local i = 0
  while core.system_info(i) do
    M.by_index[i] = by_name[core.system_info(i)]
    i = i + 1
  end
end

local function by_order(a, b)
  if a.script.index ~= b.script.index then return a.script.index < b.script.index end
  return a.position < b.position
end

--- Registers the live set with the runtime. After its types are laid out and entities exist, outside of steps.
---@param mended table<stator.Script, boolean>? scripts that a reload starts again
function M.freeze(mended)
  local set = registry.live
  freeze_systems(mended)
  table.sort(set.observers, by_order)
  table.sort(set.per_entity, by_order)
  for _, d in ipairs(set.observers) do
    d.number = core.owner_number(d.name)
    if d.event ~= "event" then world.observe(EVENT[d.event], d.event ~= "despawned" and d.component.id or 0) end
  end
  inbox.freeze()
  for _, d in ipairs(set.per_entity) do
    d.tasks = d.tasks or {}
    for _, list in ipairs { d.options.with, d.options.without or {} } do
      for _, c in ipairs(list) do
        world.observe(EVENT.added, c.id)
        world.observe(EVENT.removed, c.id)
      end
    end
    world.observe(EVENT.despawned)
  end
end

-- ---- tasks ----------------------------------------------------------------------------------

--- Runs fn again after a failure, with growing pauses; only a cancellation ends it.
local function supervised(d, fn, ...)
  if not d.restart then return fn(...) end
  local pause = d.restart.min
  while true do
    local started = core.now()
    local future = task.future(task.child(fn, { quiet = true }, ...))
    local ok, e = core.park(future)
    if ok then return end
    if err.is_cancelled(e) then error(e, 0) end
    fault.raise(d.name, e, task.current("restart").owner)
    if core.now() - started > d.restart.max then pause = d.restart.min end
    log.event("warn", d.name, ("starts again in %g s"):format(pause))
    task.await(core.sleep(pause))
    pause = math.min(pause * 2, d.restart.max)
  end
end

--- A task that was running when its VM was lost waits as after a failure.
local function pause_first(d, fn, ...)
  log.event("warn", d.name, ("starts again in %g s"):format(d.restart.min))
  task.await(core.sleep(d.restart.min))
  return supervised(d, fn, ...)
end

--- What has ended is remembered beyond the life of its VM: it does not start again in the next.
local function ended_key(d, e) return ("ended:%s:%.0f"):format(d.name, e or 0) end

local function note_ended(d, e)
  d.ended[e or 0] = true
  keep.put(ended_key(d, e), "")
end

local function has_ended(d, e)
  if keep.get(ended_key(d, e)) then d.ended[e or 0] = true end
  return d.ended[e or 0] == true
end

local function forget_ended(d, e)
  if not d.ended[e] then return end
  d.ended[e] = nil
  keep.remove(ended_key(d, e))
end

--- What a task is for: its declaration's name, and its entity.
local function key_of(d, e) return e and ("%s:%.0f"):format(d.name, e) or d.name end

local start_anew

--- Answers whether it was let finish for a reload: then what is in its place now may start.
local function has_drained(t, d, e)
  local key = key_of(d, e)
  if M.draining[key] ~= t then return false end
  M.draining[key] = nil
  if not M.stopping then start_anew(d.name, e) end
  return true
end

local function note(t, d, e)
  t.declared, t.subject = d, e
  return t
end

--- `d.subject` answers the entity that the task is for, nil when that is gone.
local function start_task(d, run)
  local subject = d.subject and d.subject()
  if (d.subject and not subject) or d.halted or M.draining[d.name] then return end
  note(task.spawn({
    name = d.name, order = order_of(d), owner = subject or d.script.entity, script = d.script,
    on_end = function(t)
      if not has_drained(t, d) and not d.halted then note_ended(d) end
    end,
  }, function() return (run or supervised)(d, d.fn, command, subject) end), d)
end

local function start_for(d, e, run)
  if d.halted or M.draining[key_of(d, e)] then return end
  d.tasks[e] = note(task.spawn({
    name = ("%s[%s]"):format(d.name, entity.path(e) or "?"), order = order_of(d), owner = e, script = d.script,
    on_end = function(t)
      local drained = has_drained(t, d, e)
      if d.tasks[e] ~= t then return end
      d.tasks[e] = nil
      if not drained and not d.halted then note_ended(d, e) end
    end,
  }, function() return (run or supervised)(d, d.fn, command, e) end), d, e)
end

--- Starts the tasks of scripts, and those of the entities that are there already.
---@param scripts table<stator.Script, boolean>? nil: of all
function M.start(scripts)
  for _, d in ipairs(registry.live.tasks) do
    if not scripts or scripts[d.script] then start_task(d) end
  end
  for _, d in ipairs(registry.live.per_entity) do
    if not scripts or scripts[d.script] then
      for _, e in ipairs(d.query:ids()) do start_for(d, e) end
    end
  end
end

local function matches(d, e)
  if not entity.Entity.alive(e) then return false end
  for _, c in ipairs(d.options.with) do
    if not entity.Entity.has(e, c) then return false end
  end
  for _, c in ipairs(d.options.without or {}) do
    if entity.Entity.has(e, c) then return false end
  end
  return true
end

--- Starts and cancels tasks of entities after changes.
---@param events table see core.world.events
function M.update_per_entity(events)
  if M.quarantined then return end
  for _, d in ipairs(registry.live.per_entity) do
    for i = 1, #events, 4 do
      local e = events[i + 1]
      local running, match = d.tasks[e], matches(d, e)
      if running and not match then
        d.tasks[e] = nil
        task.cancel(running, entity.Entity.alive(e) and "no longer matches" or "despawned")
      elseif match and not running and not d.ended[e] then
        start_for(d, e)
      elseif not match then
        forget_ended(d, e)
      end
    end
  end
end

--- Answers whether it runs: not while the run before goes on.
local function run_async(index, n, dt_s)
  local d = M.by_index[index]
  if d.halted then return false end
  if d.running or M.draining[d.name] then
    core.system_skipped(index)
    if d.options.overrun == "fault" then
      fault.raise(d.name, err.new("overrun", "the run before has not ended"), d.script.entity)
    end
    return false
  end
  d.running = note(task.spawn({
    name = d.name, order = order_of(d), owner = d.script.entity, script = d.script,
    on_end = function(t)
      d.running = nil
      has_drained(t, d)
    end,
  }, d.fn, command, d.query, { n = n, now_s = core.now(), dt_s = dt_s }), d)
  return true
end

-- ---- reload ---------------------------------------------------------------------------------

local function each_of(set, scripts, fn)
  for _, list in ipairs { set.tasks, set.per_entity, set.systems, set.service_list } do
    for _, d in ipairs(list) do
      if scripts[d.script] then fn(d) end
    end
  end
end

--- Nothing of the scripts starts any more, or does again.
---@param set stator.Set
---@param scripts table<stator.Script, boolean>
function M.halt(set, scripts, halted)
  each_of(set, scripts, function(d) d.halted = halted end)
end

--- Tasks that were let finish have nothing to make room for: they are those of the live set, as before. Answers
--- the declarations that they are of.
local function stay(scripts)
  local is_live, runs = {}, {}
  each_of(registry.live, scripts, function(d) is_live[d] = true end)
  for key, t in pairs(M.draining) do -- each for itself
    if is_live[t.declared] then
      M.draining[key] = nil
      runs[t.declared] = true
    end
  end
  return runs
end

--- Starts again what a reload has cancelled and could not replace.
---@param scripts table<stator.Script, any>
function M.start_again(scripts)
  local runs = stay(scripts)
  for _, d in ipairs(registry.live.tasks) do
    if scripts[d.script] and not d.ended[0] and not runs[d] then start_task(d) end
  end
  for _, d in ipairs(registry.live.per_entity) do
    for _, e in ipairs(scripts[d.script] and d.query:ids() or {}) do
      if not d.ended[e] and not d.tasks[e] then start_for(d, e) end
    end
  end
  service.go_on(scripts)
end

--- Whether a task was let finish by a reload.
function M.is_draining(t)
  return t.declared ~= nil and M.draining[key_of(t.declared, t.subject)] == t
end

--- What has ended of the scripts may start again.
function M.forget_ended(set, scripts)
  for _, list in ipairs { set.tasks, set.per_entity } do
    for _, d in ipairs(list) do
      if scripts[d.script] then
        for e in pairs(d.ended) do keep.remove(ended_key(d, e)) end -- the order does not show
        d.ended = {}
      end
    end
  end
  if #keep.names "faulted:" == 0 then return end
  for _, list in ipairs { set.systems, set.observers, set.service_list } do
    for _, d in ipairs(list) do
      if scripts[d.script] then keep.remove("faulted:" .. d.name) end
    end
  end
end

--- Lets a task of the live set finish while its script is replaced.
---@param t stator.Task
function M.drain(t)
  M.draining[key_of(t.declared, t.subject)] = t
  t.revision = t.script.revision
end

--- Starts what is declared in the place of a task that was let finish.
function start_anew(name, e)
  for _, d in ipairs(registry.live.tasks) do
    if d.name == name and not e then return start_task(d) end
  end
  for _, d in ipairs(registry.live.per_entity) do
    if d.name == name and e and not d.tasks[e] and matches(d, e) then return start_for(d, e) end
  end
end

-- ---- the next VM ----------------------------------------------------------------------------

local function named(list, name)
  for _, d in ipairs(list) do
    if d.name == name then return d end
  end
end

--- Names what ran when a VM was lost; answers a function that says whether a declaration (and entity) is
--- it, and the entity that shows the fault.
local function culprit_of(lost)
  local function is(d, e)
    return lost.kind == "task" and order_of(d) == lost.order and (e == nil or e == lost.owner)
  end
  local set = registry.live
  local d
  if lost.kind == "system" or lost.kind == "observer" then
    d = named(lost.kind == "system" and set.systems or set.observers, lost.name)
    if d then return is, d.name, d.script.entity end
  elseif lost.kind == "task" then
    for _, list in ipairs { set.tasks, set.per_entity, set.systems, set.service_list } do
      for _, of_list in ipairs(list) do
        if is(of_list) then return is, of_list.name, lost.owner ~= 0 and lost.owner or of_list.script.entity end
      end
    end
  end
  return is, "host", nil
end

--- Systems and observers that were running stay away until the cell is started again, in this VM and the
--- ones after it. The core keeps it of systems.
local function mark_faulted(lost)
  local set = registry.live
  for i = 0, #set.systems - 1 do
    local d = M.by_index[i]
    local is_async = lost.kind == "task" and d.mode == "async" and order_of(d) == lost.order
    if is_async or (lost.kind == "system" and d.name == lost.name) then core.fault_system(i) end
  end
  local culprit = lost.kind == "observer" and named(set.observers, lost.name)
  for _, d in ipairs(set.service_list) do
    if lost.kind == "task" and order_of(d) == lost.order then culprit = d end
  end
  if culprit then keep.put("faulted:" .. culprit.name, "") end
  for _, d in ipairs(set.service_list) do
    if keep.get("faulted:" .. d.name) then d.faulted = "its task was running when a VM was lost" end
  end
  for _, d in ipairs(set.observers) do d.faulted = keep.get("faulted:" .. d.name) ~= nil end
end

--- How a declared task (for an entity) goes on in the next VM: "start", "pause" or "stay".
local function how_to_resume(d, is_culprit, e)
  if has_ended(d, e) or d.never_again then return "stay" end
  if not is_culprit then return "start" end
  if d.restart then return "pause" end
  note_ended(d, e) -- for the VMs after this one, too
  return "stay"
end

--- Starts what start() starts, in a VM that takes the place of a lost one. What ran when that was lost
--- starts again after its pause, or not at all when it has no restart policy.
---@param lost table see boot.restore
---@param quarantine boolean start nothing
function M.resume(lost, quarantine)
  local is, name, owner = culprit_of(lost)
  fault.raise(name, err.new("lost", ("%s; its VM was given up%s"):format(lost.why,
    lost.place ~= "" and ", last seen at " .. lost.place or "")), owner)
  if quarantine then
    core.stop_systems()
    M.quarantined = true
    return
  end
  mark_faulted(lost)
  for _, d in ipairs(registry.live.tasks) do
    local how = how_to_resume(d, is(d))
    if how ~= "stay" then start_task(d, how == "pause" and pause_first or nil) end
  end
  for _, d in ipairs(registry.live.per_entity) do
    for _, e in ipairs(d.query:ids()) do
      local how = how_to_resume(d, is(d, e), e)
      if how ~= "stay" then start_for(d, e, how == "pause" and pause_first or nil) end
    end
  end
end

--- Gives the runtime its hooks.
function M.install()
  service.stopping = function()
    return M.quarantined and "its script stays stopped" or nil
  end
  core.hook("async", run_async)
end

return M
