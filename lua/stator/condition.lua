--- Conditions on entities, as operations: e:when, e:rising, e:falling, e:changed, e:added,
--- e:removed, e:despawned.
---
--- `cond` is the name of a bool field, a table of field values, or a function of the component's
--- view. The first two are tested in C after each apply, only where something changed.
local abi = require "stator.abi"
local component = require "stator.component"
local core = require "stator.core.task"
local entity = require "stator.entity"
local err = require "stator.err"
local registry = require "stator.registry"
local task = require "stator.task"

local TYPE = abi.TYPE
local Entity = entity.Entity
local OPTIONS = { "hold_s", "within" }

local function field_of(c, name)
  local field = c.by_name[name]
  if not field then
    err.raise(('%s has no field "%s"%s'):format(c.name, tostring(name), err.nearest(tostring(name), c.field_names)))
  end
  if field.is_array or TYPE[field.type] == "char" or TYPE[field.type] == "struct" then
    err.raise(("%s.%s: a condition compares single numbers, bools, enums and entities; use a function")
      :format(c.name, name))
  end
  return field
end

local function number_of(c, field, value)
  if TYPE[field.type] == "bool" and type(value) == "boolean" then return value and 1 or 0 end
  return component.checked(c, field, value)
end

--- { field index, value, ... } for the core.
local function compile(c, cond)
  if cond == nil then return {} end
  if type(cond) == "string" then
    local field = field_of(c, cond)
    if TYPE[field.type] ~= "bool" then
      err.raise(("%s.%s is no bool: write { %s = value }"):format(c.name, cond, cond))
    end
    return { field.index, 1 }
  end
  if type(cond) ~= "table" then
    err.raise("expected a field name, a table of values or a function, got " .. type(cond))
  end
  local names, list = {}, {}
  for name in pairs(cond) do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(names) do
    local field = field_of(c, name)
    list[#list + 1] = field.index
    list[#list + 1] = number_of(c, field, cond[name])
  end
  return list
end

local function need(c)
  if getmetatable(c) ~= component.Component then err.raise("expected a component, got " .. type(c)) end
end

local function holds_now(e, c, predicate)
  local view = Entity.find(e, c)
  return view ~= nil and predicate(view) and true or false
end

--- Waits with a Lua predicate: tests after every change of the component.
local function run_predicate(e, c, predicate, want, edge)
  local before = holds_now(e, c, predicate)
  if not edge and before == want then return end
  while true do
    task.await(core.watch("changed", e, c.id, {}))
    local now = holds_now(e, c, predicate)
    if now == want and (not edge or now ~= before) then return end
    before = now
  end
end

local function watch(kind, e, c, cond)
  if type(cond) == "function" then
    local want = kind ~= "falling"
    return task.operation(run_predicate, e, c, cond, want, kind ~= "level")
  end
  return core.watch(kind, e, c.id, compile(c, cond))
end

--- True without a break for hold_s.
local function run_hold(kind, e, c, cond, hold_s)
  local combine = require "stator.combine"
  task.await(watch(kind, e, c, cond))
  while true do
    local holds, lost
    if type(cond) == "function" then
      holds = holds_now(e, c, cond)
      lost = holds and watch("falling", e, c, cond)
    else
      lost = core.watch("falling", e, c.id, compile(c, cond))
    end
    local who = task.await(combine.race { held = core.sleep(hold_s), lost = lost or core.sleep(0) })
    if who == "held" then return end
    task.await(watch("level", e, c, cond))
  end
end

local function with_options(kind, e, c, cond, options)
  need(c)
  e = entity.id_of(e)
  if not options then return watch(kind, e, c, cond) end
  registry.check_options(kind == "level" and "when" or kind, options, OPTIONS, 3)
  local hold_s, within = options.hold_s, options.within
  if hold_s and kind == "falling" then err.raise("falling: hold_s is for when and rising") end
  local function run()
    if hold_s then return run_hold(kind, e, c, cond, hold_s) end
    return task.await(watch(kind, e, c, cond))
  end
  if not within then return task.operation(run) end
  return task.operation(function() return require("stator.combine").within(within, run) end)
end

--- Waits until `cond` holds; at once when it does already. An operation.
---@param options { hold_s: number?, within: number? }? hold for so long; give up with code "timeout"
function Entity.when(e, c, cond, options) return with_options("level", e, c, cond, options) end

--- Waits until `cond` becomes true. An operation.
function Entity.rising(e, c, cond, options) return with_options("rising", e, c, cond, options) end

--- Waits until `cond` becomes false. An operation.
function Entity.falling(e, c, cond, options) return with_options("falling", e, c, cond, options) end

--- Waits until the bytes of a component, or of one of its fields, are others. An operation.
---@param field string?
function Entity.changed(e, c, field)
  need(c)
  local list = {}
  if field then
    local f = c.by_name[field]
    if not f then field_of(c, field) end
    list = { f.index, 0 }
  end
  return core.watch("changed", entity.id_of(e), c.id, list)
end

--- Waits until the entity gets the component. An operation.
function Entity.added(e, c)
  need(c)
  return core.watch("added", entity.id_of(e), c.id, {})
end

--- Waits until the entity loses the component. An operation.
function Entity.removed(e, c)
  need(c)
  return core.watch("removed", entity.id_of(e), c.id, {})
end

--- Waits until the entity is gone. An operation.
function Entity.despawned(e) return core.watch("despawned", entity.id_of(e), 0, {}) end

return { compile = compile }
