--- What scripts register to be run: systems, tasks, per-entity tasks, observers. Uniform form:
--- name, options, function(cmd, subject, tick).
local command = require "stator.command"
local component = require "stator.component"
local core = require "stator.core.task"
local entity = require "stator.entity"
local event = require "stator.event"
local err = require "stator.err"
local fault = require "stator.fault"
local inbox = require "stator.inbox"
local keep = require "stator.core.keep"
local log = require "stator.log"
local places = require "stator.places"
local query = require "stator.query"
local registry = require "stator.registry"
local service = require "stator.service"
local task = require "stator.task"
local world = require "stator.core.world"

local OWNER_OBSERVER = 3
local NAME_MAX = 60
local OBSERVER_CHAIN_MAX = 8
local EVENT = { added = 0, changed = 1, removed = 2, despawned = 3 }
local QUERY_KEYS = query.KEYS

local M = {}

-- ---- declaring ------------------------------------------------------------------------------

local function with_keys(extra)
  local keys = {}
  for _, key in ipairs(QUERY_KEYS) do keys[#keys + 1] = key end
  for _, key in ipairs(extra) do keys[#keys + 1] = key end
  return keys
end

local SYSTEM_KEYS = with_keys { "phase", "every" }
local ASYNC_KEYS = with_keys { "phase", "every", "overrun" }
local TASK_KEYS = { "restart" }
local PER_ENTITY_KEYS = { "with", "without", "restart" }
local OBSERVER_KEYS = { "added", "changed", "removed", "despawned", "event" }

local function declare(kind, name, options, fn, keys)
  if type(name) ~= "string" or name == "" or #name > NAME_MAX then
    error(("%s: expected a name of 1 to %d bytes"):format(kind, NAME_MAX), 3)
  end
  local script, position, place = registry.declare(('%s "%s"'):format(kind, name), 4)
  local what = ('%s "%s"'):format(kind, name)
  registry.check_options(what, options, keys, 3)
  if type(fn) ~= "function" then error(what .. ": expected a function, got " .. type(fn), 3) end
  local set = registry.recording
  for _, list in ipairs { set.systems, set.tasks, set.per_entity, set.observers } do
    for _, other in ipairs(list) do
      if other.name == script.name .. "/" .. name then
        error(("%s: the name is taken at %s"):format(what, other.place), 3)
      end
    end
  end
  return {
    kind = kind, name = script.name .. "/" .. name, what = what, script = script, position = position,
    place = place, options = options, fn = fn, ended = {},
  }
end

--- For declarations made elsewhere: stator.machine.
M.declare = declare

local function check_phase(d)
  local phase = d.options.phase or "update"
  if not registry.PHASES[phase] then
    error(('%s: unknown phase "%s"%s'):format(d.what, tostring(phase),
      err.nearest(tostring(phase), registry.PHASE_NAMES)), 3)
  end
  d.phase = phase
  local every = d.options.every
  if every ~= nil and (type(every) ~= "number" or not (every > 0)) then
    error(("%s: every is a period in seconds above 0, not %s"):format(d.what, tostring(every)), 3)
  end
end

--- Declares a system: fn(cmd, q, tick) runs each tick or each `every` seconds and never waits. With
--- `write` it runs in the apply phase and gets mutable views.
function M.system(name, options, fn)
  local d = declare("system", name, options, fn, SYSTEM_KEYS)
  check_phase(d)
  d.mode = options.write and "write" or "read"
  d.query = query.declare(d.what, options, d.place, 2)
  table.insert(registry.recording.systems, d)
end

--- Declares a system that may wait: one task a period; a period whose task before still runs is
--- skipped and counted (`overrun = "fault"` makes that a fault).
function M.async_system(name, options, fn)
  local d = declare("async_system", name, options, fn, ASYNC_KEYS)
  check_phase(d)
  if options.write then error(d.what .. ": only a system can write; record with cmd", 2) end
  if options.overrun ~= nil and options.overrun ~= "skip" and options.overrun ~= "fault" then
    error(('%s: overrun is "skip" or "fault"'):format(d.what), 2)
  end
  d.mode = "async"
  d.query = query.declare(d.what, options, d.place, 2)
  table.insert(registry.recording.systems, d)
end

local function check_restart(d)
  local restart = d.options.restart
  d.never_again = restart == "never"
  if restart == nil or restart == "never" then return end
  if type(restart) ~= "table" then
    error(('%s: restart is "never" or { min = seconds, max = seconds }'):format(d.what), 3)
  end
  registry.check_options(d.what .. ": restart", restart, { "min", "max" }, 3)
  d.restart = { min = restart.min or 0.5, max = restart.max or 30 }
  if type(d.restart.min) ~= "number" or type(d.restart.max) ~= "number" or d.restart.min <= 0 then
    error(d.what .. ": restart.min and restart.max are seconds above 0", 3)
  end
end

M.check_restart = check_restart

--- Declares a task that runs once.
function M.task(name, options, fn)
  local d = declare("task", name, options, fn, TASK_KEYS)
  check_restart(d)
  table.insert(registry.recording.tasks, d)
end

--- Declares a task for every entity that matches, as long as it does: fn(cmd, me).
function M.per_entity(name, options, fn)
  local d = declare("per_entity", name, options, fn, PER_ENTITY_KEYS)
  if not options.with or #options.with == 0 then error(d.what .. ": with names at least one component", 2) end
  check_restart(d)
  d.query = query.declare(d.what, { with = options.with, without = options.without }, d.place, 2)
  table.insert(registry.recording.per_entity, d)
end

--- Declares an observer: fn(cmd, entity) runs after the apply in which a component was added,
--- changed or removed, or an entity despawned; fn(cmd, values, to) after one that sent the event. It never
--- waits.
---@param options table exactly one of added, changed, removed (a component), despawned (true) and event
function M.observer(name, options, fn)
  local d = declare("observer", name, options, fn, OBSERVER_KEYS)
  local count = 0
  for _, key in ipairs(OBSERVER_KEYS) do
    local value = options[key]
    if value ~= nil then
      count = count + 1
      d.event, d.component = key, value
      local ok, wants = getmetatable(value) == component.Component, "a component"
      if key == "despawned" then ok, wants = value == true, "true" end
      if key == "event" then ok, wants = getmetatable(value) == event.Event, "an event" end
      if not ok then error(("%s: %s expects %s"):format(d.what, key, wants), 2) end
    end
  end
  if count ~= 1 then error(d.what .. ": name one of added, changed, removed, despawned, event", 2) end
  table.insert(registry.recording.observers, d)
end

-- ---- freezing -------------------------------------------------------------------------------

local function order_of(d, phase)
  return registry.order(registry.PHASES[phase or "update"], d.script.index, d.position)
end

local function freeze_systems()
  for _, d in ipairs(registry.live.systems) do
    core.system(d.name, d.mode, d.phase == "startup" and 3 or registry.PHASES[d.phase] - 1, order_of(d, d.phase),
      d.options.every or 0, d.fn, d.query, { n = 0, now_s = 0, dt_s = 0 })
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

--- Registers everything with the runtime. After the components are frozen and entities exist.
function M.freeze()
  freeze_systems()
  table.sort(registry.live.observers, by_order)
  table.sort(registry.live.per_entity, by_order)
  for _, d in ipairs(registry.live.observers) do
    if d.event ~= "event" then world.observe(EVENT[d.event], d.event ~= "despawned" and d.component.id or 0) end
  end
  inbox.freeze()
  for _, d in ipairs(registry.live.per_entity) do
    d.tasks = {}
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

--- `d.subject` answers the entity that the task is for, nil when that is gone.
local function start_task(d, run)
  local subject = d.subject and d.subject()
  if d.subject and not subject then return end
  task.spawn({
    name = d.name, order = order_of(d), owner = subject or d.script.entity, script = d.script,
    on_end = function() note_ended(d) end,
  }, function() return (run or supervised)(d, d.fn, command, subject) end)
end

local function start_for(d, e, run)
  d.tasks[e] = task.spawn({
    name = ("%s[%s]"):format(d.name, entity.path(e) or "?"), order = order_of(d), owner = e, script = d.script,
    on_end = function(t)
      if d.tasks[e] ~= t then return end
      d.tasks[e] = nil
      note_ended(d, e)
    end,
  }, function() return (run or supervised)(d, d.fn, command, e) end)
end

--- Starts the tasks of the scripts, and those of the entities that are there already.
function M.start()
  for _, d in ipairs(registry.live.tasks) do start_task(d) end
  for _, d in ipairs(registry.live.per_entity) do
    for _, e in ipairs(d.query:ids()) do start_for(d, e) end
  end
end

--- Names what ran when a VM was lost; answers a function that says whether a declaration (and entity) is
--- it, and the entity that shows the fault.
local function culprit_of(lost)
  local function is(d, e)
    return lost.kind == "task" and order_of(d, d.phase) == lost.order and (e == nil or e == lost.owner)
  end
  if lost.kind == "system" then
    for _, d in ipairs(registry.live.systems) do
      if d.name == lost.name then return is, d.name, d.script.entity end
    end
  elseif lost.kind == "observer" then
    local d = registry.live.observers[lost.order]
    if d then return is, d.name, d.script.entity end
  elseif lost.kind == "task" then
    local set = registry.live
    for _, list in ipairs { set.tasks, set.per_entity, set.systems, set.service_list } do
      for _, d in ipairs(list) do
        if is(d) then return is, d.name, lost.owner ~= 0 and lost.owner or d.script.entity end
      end
    end
  end
  return is, "host", nil
end

--- Systems and observers that were running stay away until the cell is started again, in this VM and the
--- ones after it. The core keeps it of systems.
local function mark_faulted(lost)
  for i = 0, #registry.live.systems - 1 do
    local d = M.by_index[i]
    local is_async = lost.kind == "task" and d.mode == "async" and order_of(d, d.phase) == lost.order
    if is_async or (lost.kind == "system" and d.name == lost.name) then core.fault_system(i) end
  end
  local culprit = lost.kind == "observer" and registry.live.observers[lost.order]
  for _, d in ipairs(registry.live.service_list) do
    if lost.kind == "task" and order_of(d) == lost.order then culprit = d end
  end
  if culprit then keep.put("faulted:" .. culprit.name, "") end
  for _, d in ipairs(registry.live.service_list) do
    if keep.get("faulted:" .. d.name) then d.faulted = "its task was running when a VM was lost" end
  end
  for _, d in ipairs(registry.live.observers) do d.faulted = keep.get("faulted:" .. d.name) ~= nil end
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

--- Answers whether it runs: not while the run before goes on.
local function run_async(index, n, dt_s)
  local d = M.by_index[index]
  if d.running then
    core.system_skipped(index)
    if d.options.overrun == "fault" then
      fault.raise(d.name, err.new("overrun", "the run before has not ended"), d.script.entity)
    end
    return false
  end
  d.running = task.spawn({
    name = d.name, order = order_of(d, d.phase), owner = d.script.entity, script = d.script,
    on_end = function() d.running = nil end,
  }, d.fn, command, d.query, { n = n, now_s = core.now(), dt_s = dt_s })
  return true
end

-- ---- reacting -------------------------------------------------------------------------------

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

local function update_per_entity(events)
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

--- Runs one observer on one event. Answers whether it recorded anything.
---@param subject any entity or values
---@param to number? of an event that was sent
local function run_observer(d, index, subject, to)
  world.begin(OWNER_OBSERVER, index)
  task.observer_name = d.name
  local ok, raised = xpcall(d.fn, err.handler, command, subject, to)
  task.observer_name = nil
  if ok then return world.seal() end
  world.drop()
  fault.raise(d.name, raised, d.script.entity)
  return false
end

--- One observer that has recorded something: noted when an observer had set it off.
local function recorded(d, by_observer, names)
  core.want_react() -- so that the chain ends when this round's commands set nobody off
  if by_observer and names[#names] ~= d.name then names[#names + 1] = d.name end
end

local function observe_sent(d, index, sent, names)
  for _, s in ipairs(sent) do
    local wanted = not d.faulted and s.event == d.component and not (s.by_observer and M.muted)
    if wanted and run_observer(d, index, event.value(s), s.to) then recorded(d, s.by_observer, names) end
  end
end

local function observe_changes(d, index, events, names)
  local kind, id = EVENT[d.event], d.component ~= true and d.component.id or -1
  for i = 1, #events, 4 do
    local by_observer = events[i + 3]
    local wanted = not d.faulted and events[i] == kind and events[i + 2] == id and not (by_observer and M.muted)
    if wanted and run_observer(d, index, events[i + 1]) then recorded(d, by_observer, names) end
  end
end

--- Runs the observers. Answers the names of those that recorded something because of an observer.
local function run_observers(events, sent)
  local names = {}
  for index, d in ipairs(M.quarantined and {} or registry.live.observers) do
    if d.event == "event" then observe_sent(d, index, sent, names) else observe_changes(d, index, events, names) end
  end
  return names
end

--- Observers that set each other off without end are an error that names them.
local function check_chain(names)
  M.chain = #names > 0 and (M.chain or 0) + 1 or 0
  if M.chain < OBSERVER_CHAIN_MAX then return false end
  M.chain = 0
  local e = err.new("observer_cycle",
    ("observers set each other off %d times in a row: %s"):format(OBSERVER_CHAIN_MAX, table.concat(names, ", ")))
  fault.raise(names[1], e)
  return true
end

local function react(has_events, has_sent)
  if has_events or has_sent then
    local events, sent = has_events and world.events() or {}, has_sent and event.sent() or {}
    update_per_entity(events)
    local names = run_observers(events, sent)
    inbox.deliver(sent)
    inbox.bury(events)
    M.muted = check_chain(names) -- what they recorded last is applied, but sets no observer off
  else
    M.chain, M.muted = 0, false
  end
  fault.flush()
end

local function owner_name(kind, owner)
  if kind == 1 then
    local t = task.find(owner)
    return t and t.name or "a task that has ended", t and t.owner
  elseif kind == 2 then
    return (core.system_info(owner)), nil
  elseif kind == 3 then
    local d = registry.live.observers[owner]
    return d.name, d.script.entity
  end
  return "host", nil
end

--- Who wrote the component of the entity last, or of one that lies in the same chunk: the name of the
--- task or system, "file:line" or nil, and the change tick.
---@return string who, string? place, integer tick
function entity.Entity.provenance(id, c)
  entity.need_component(c)
  local kind, owner, place, tick = world.provenance(id, c.id)
  if not kind then err.raise("provenance: " .. owner) end
  return owner_name(kind, owner), places.text(place), tick
end

local OP = require("stator.abi").OP

local function shown(id) return entity.path(id) or ("entity %.0f"):format(id) end

--- What a command was to do. The target of a spawn is new: its parent can be gone, its name be taken.
local function describe(op, id, component_id, parent, name)
  if OP[op] == "send" then
    local e = event.by_id[component_id]
    return ("send of %s%s"):format(e and e.name or "an event", id ~= 0 and " to " .. shown(id) or "")
  end
  if OP[op] == "spawn" then
    local what = name and name ~= "" and ('"%s"'):format(name) or ("entity %.0f"):format(id)
    return ("spawn of %s%s"):format(what, parent ~= 0 and " below " .. shown(parent) or "")
  end
  local c = component.by_id[component_id]
  local text = OP[op] .. " on " .. shown(id)
  return (op >= 2 and op <= 6 or OP[op] == "confirm") and c and text .. " of " .. c.name or text
end

--- Who changed the component last: another task or system, its line.
local function by_whom(kind, owner, place)
  if not kind then return "" end
  local at = places.text(place)
  return (" by %s%s"):format((owner_name(kind, owner)), at and " at " .. at or "")
end

local GONE = "entity does not exist" -- the core's texts
local FULL = { ["limit reached"] = true, ["the world's memory is full"] = true }

local function rejected(kind, owner, reason, op, id, component_id, place, parent, name_wanted, ...)
  local name, entity_id = owner_name(kind, owner)
  local at = places.text(place)
  if OP[op] == "spawn" and reason == GONE then reason = "its parent does not exist" end
  local e = err.new(FULL[reason] and "limit" or "batch_rejected", ("%sthe batch was rejected whole: %s: %s%s"):format(
    at and at .. ": " or "", describe(op, id, component_id, parent, name_wanted), reason,
    by_whom(...)))
  local t = kind == 1 and task.by_handle[owner]
  if not t then fault.raise(name, e, entity_id) end
  return e
end

local function skipped(kind, owner, count, op, id, component_id, place, parent)
  local name = owner_name(kind, owner)
  local at = places.text(place)
  log.event("warn", name, ("%d command%s without effect: %s, which does not exist any more%s"):format(count,
    count == 1 and "" or "s", describe(op, id, component_id, parent),
    at and (" (%s)"):format(at) or ""))
end

--- Gives the runtime its hooks.
function M.install()
  service.stopping = function()
    return M.quarantined and "its script stays stopped" or nil
  end
  task.on_fault = fault.raise
  core.hook("fault", function(name, e) fault.raise(name, e) end)
  core.hook("react", react)
  core.hook("async", run_async)
  core.hook("rejected", rejected)
  core.hook("skipped", skipped)
  core.hook("gone", function() return err.new("gone", "the entity it waited for is gone") end)
  core.message_handler(err.handler)
end

return M
