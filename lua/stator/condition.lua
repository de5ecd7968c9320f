--- Conditions on entities, as operations: e:when, e:rising, e:falling, e:changed, e:added,
--- e:removed, e:despawned; and on queries: q:when_count.
---
--- `cond` is the name of a bool field, a table of field values, or a function of the component's
--- view. The first two are tested in C after each apply, only where something changed. What begins and ends
--- within one apply is not seen.
local abi = require "stator.abi"
local component = require "stator.component"
local core = require "stator.core.task"
local entity = require "stator.entity"
local err = require "stator.err"
local query = require "stator.query"
local record = require "stator.record"
local registry = require "stator.registry"
local task = require "stator.task"

local TYPE = abi.TYPE
local Entity = entity.Entity
local OPTIONS = { "hold_s", "within" }
local SECONDS_MAX = 6.3e7 -- two years

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
  return record.checked(c, field, value)
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

-- ---- predicates of Lua ----------------------------------------------------------------------

--- Waits until the predicate holds, or does not; with `edge`, until it becomes so. Tests after every change
--- of the component.
local function until_predicate(e, c, predicate, want, edge)
  local before = holds_now(e, c, predicate)
  if not edge and before == want then return end
  while true do
    task.await(core.watch("changed", e, c.id, {}))
    local now = holds_now(e, c, predicate)
    if now == want and (not edge or now ~= before) then return end
    before = now
  end
end

--- Whether it stays so for hold_s.
local function stays(e, c, predicate, want, hold_s)
  local until_s = core.now() + hold_s
  while holds_now(e, c, predicate) == want do
    local who = task.await(require("stator.combine").race {
      held = core.sleep_until(until_s), changed = core.watch("changed", e, c.id, {}),
    })
    if who == "held" then return true end
  end
  return false
end

local PREDICATE = { start = function() end } -- a child task awaits it

function PREDICATE.await(kind, e, c, predicate, hold_s)
  local want = kind ~= "falling"
  until_predicate(e, c, predicate, want, kind ~= "level")
  while hold_s and not stays(e, c, predicate, want, hold_s) do
    until_predicate(e, c, predicate, want, false)
  end
end

-- ---- options --------------------------------------------------------------------------------

--- hold_s and within of the options, or nothing.
local function options_of(what, options)
  if options == nil then return nil, nil end
  registry.check_options(what, options, OPTIONS)
  for _, name in ipairs(OPTIONS) do
    local value = options[name]
    if value ~= nil and (type(value) ~= "number" or not (value >= 0 and value <= SECONDS_MAX)) then
      err.raise(("%s: %s is seconds from 0 on, not %s"):format(what, name, err.shown(value)))
    end
  end
  local hold_s = options.hold_s
  return hold_s and hold_s > 0 and hold_s or nil, options.within
end

local function in_time(within, op) return require("stator.combine").within(within, task.await, op) end

--- The operation, with a deadline when there is one.
local function limited(op, within)
  if not within then return op end
  op:claim()
  return task.operation(in_time, within, op)
end

local function with_options(kind, e, c, cond, options)
  need(c)
  e = entity.id_of(e)
  local hold_s, within = options_of(kind == "level" and "when" or kind, options)
  local op
  if type(cond) == "function" then
    op = task.paired(PREDICATE, kind, e, c, cond, hold_s)
  else
    op = core.watch(kind, e, c.id, compile(c, cond), hold_s)
  end
  return limited(op, within)
end

--- Waits until `cond` holds; at once when it does already. An operation.
---@param options { hold_s: number?, within: number? }? hold_s: it has to stay so for so long without a break;
--- within: give up with code "timeout"
function Entity.when(e, c, cond, options) return with_options("level", e, c, cond, options) end

--- Waits until `cond` becomes true. An operation.
function Entity.rising(e, c, cond, options) return with_options("rising", e, c, cond, options) end

--- Waits until `cond` becomes false; so it does when the component goes, but not when the entity does. An
--- operation.
function Entity.falling(e, c, cond, options) return with_options("falling", e, c, cond, options) end

local function bound(value, default)
  if value == nil then return default end
  if type(value) == "number" and value >= 0 then return value end
  err.raise(("when_count: expected a count or { min = n, max = n }, got %s"):format(err.shown(value)))
end

--- Waits until as many entities match as `n` says; at once when they do already. Counted only after an apply or
--- a writer that has touched what the query names. An operation.
---@param n integer|{ min: integer?, max: integer? }
---@param options { hold_s: number?, within: number? }? as of e:when
function query.Query:when_count(n, options)
  if not self.handle then err.raise "when_count: the query is not laid out yet: scripts' bodies only declare" end
  if self.options.changed or self.options.added then
    err.raise "when_count: a query with changed or added has no count of its own"
  end
  local least, most = n, n
  if type(n) == "table" then
    registry.check_options("when_count", n, { "min", "max" })
    if n.min == nil and n.max == nil then bound(n) end
    least, most = n.min, n.max
  elseif n == nil then
    bound(false)
  end
  least, most = bound(least, 0), bound(most, math.huge)
  if least > most then err.raise(("when_count: min %g is more than max %g"):format(least, most)) end
  local hold_s, within = options_of("when_count", options)
  return limited(core.watch_count(self.handle, least, most, hold_s), within)
end

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
