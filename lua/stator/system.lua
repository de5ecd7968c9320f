--- What scripts declare to be run: systems, tasks, per-entity tasks, observers. Uniform form:
--- name, options, function(cmd, subject, tick). stator.schedule and stator.react run it.
local component = require "stator.component"
local event = require "stator.event"
local err = require "stator.err"
local query = require "stator.query"
local registry = require "stator.registry"

local NAME_MAX = 60
local FINISH_S, FINISH_MAX_S = 30, 3600
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
local ASYNC_KEYS = with_keys { "phase", "every", "overrun", "on_reload", "finish_s" }
local TASK_KEYS = { "restart", "on_reload", "finish_s" }
local PER_ENTITY_KEYS = { "with", "without", "restart", "on_reload", "finish_s" }
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

--- Reads what a reload of its script does to a task: cancels it, or lets it finish on the code that it has.
local function check_reload(d)
  local on_reload, finish_s = d.options.on_reload or "cancel", d.options.finish_s
  if on_reload ~= "cancel" and on_reload ~= "finish" then
    error(('%s: on_reload is "cancel" or "finish", not %s'):format(d.what, err.shown(on_reload)), 3)
  end
  if finish_s ~= nil and (on_reload ~= "finish"
    or type(finish_s) ~= "number" or not (finish_s > 0 and finish_s <= FINISH_MAX_S)) then
    error(('%s: finish_s is seconds above 0, at most %d, with on_reload = "finish"; not %s'):format(d.what,
      FINISH_MAX_S, err.shown(finish_s)), 3)
  end
  d.finish_s = on_reload == "finish" and (finish_s or FINISH_S) or nil
end

M.check_reload = check_reload

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
  check_reload(d)
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
  check_reload(d)
  table.insert(registry.recording.tasks, d)
end

--- Declares a task for every entity that matches, as long as it does: fn(cmd, me).
function M.per_entity(name, options, fn)
  local d = declare("per_entity", name, options, fn, PER_ENTITY_KEYS)
  if not options.with or #options.with == 0 then error(d.what .. ": with names at least one component", 2) end
  check_restart(d)
  check_reload(d)
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

return M
