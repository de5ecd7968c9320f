--- Events: values that a batch sends, `E = stator.event(name, fields)` and `cmd:send(E, values, to)`, and who
--- gets them after the apply that has accepted the batch: observers, then inboxes (stator.inbox).
---
--- An event is a struct of the core; what is sent lies in the stream until the next apply, so everybody
--- gets a table of its own.
local ffi = require "ffi"
local abi = require "stator.abi"
local component = require "stator.component"
local core = require "stator.core.world"
local entity = require "stator.entity"
local err = require "stator.err"
local record = require "stator.record"
local registry = require "stator.registry"
local views = require "stator.views"

local C, world, cast = abi.C, abi.world, ffi.cast
local id_of = entity.id_of
local NO_FIELDS = { "bool none" } -- a struct has a field

---@class stator.Event
---@field name string
---@field id integer? of its struct, once it is laid out
---@field layout table? see component.layout
---@field is_plain boolean it has no fields
local Event = {}
Event.__index = Event
Event.__tostring = function(e) return "event " .. e.name end

local M = {
  Event = Event,
  by_name = {}, ---@type table<string, stator.Event> of all revisions
  by_id = {}, ---@type table<integer, stator.Event>
}

--- Declares an event, or refers to one that is declared elsewhere. Names are the whole cell's, and
--- those of structs as well.
---@param name string
---@param fields string[]? as of components; {}: none; nil: declared elsewhere
---@return stator.Event
function M.event(name, fields)
  if type(name) ~= "string" or name == "" or name:find "%z" then
    error(("event: expected a name, got %s"):format(err.shown(name)), 2)
  end
  if fields ~= nil and type(fields) ~= "table" then
    error(('event "%s": expected a list of fields, got %s'):format(name, type(fields)), 2)
  end
  for i, field in ipairs(fields or {}) do
    if type(field) ~= "string" or field:find "%z" then
      error(('event "%s": field %d is no text such as "double speed_rpm"'):format(name, i), 2)
    end
  end
  local script, _, place = registry.declare('event "' .. name .. '"', 3)
  local t = registry.mention("event", name, place)
  if fields then table.insert(t.places, { script = script, place = place, fields = fields }) end
  t.object = M.by_name[name] or setmetatable({ name = name }, Event)
  M.by_name[name] = t.object
  return t.object
end

--- Raises for what is no event, or none that can be sent yet.
function M.need(what, e)
  if getmetatable(e) ~= Event then
    local names = {}
    for i, t in ipairs(type(e) == "string" and registry.types_of(registry.live, "event") or {}) do names[i] = t.name end
    err.raise(("%s: expected an event, got %s%s"):format(what, err.shown(e), err.nearest(tostring(e), names)))
  end
  return e
end

--- The fields of its struct.
function M.fields_of(fields) return #fields == 0 and NO_FIELDS or fields end

--- Registers one with the core; answers its id, or nil and a problem.
local function register(set, t, restoring)
  local first, known = t.places[1], nil
  if not first then return nil, registry.declared_nowhere(set, t) end
  for _, declared in ipairs(t.places) do
    local id, message, code = component.declare("struct", t.name, M.fields_of(declared.fields), restoring)
    if code == "ECS_E_CONFLICT" then message = "declared with other fields at " .. first.place end
    if not id then return nil, ('%s: event "%s": %s'):format(declared.place, t.name, message) end
    known = id
  end
  return known
end

--- Gives an event what it consists of: the struct `id` of the core.
---@param t stator.Type
function M.lay_out(t, id, enums)
  local e = t.object
  e.id, e.is_plain, e.layout = id, #t.places[1].fields == 0, component.layout(id, enums)
  e.read_pointer, e.payload_pointer = e.layout.read_pointer, e.layout.payload_pointer
  M.by_id[id] = e
end

--- Lays all events of a set out. After the structs, in the setup phase. Answers a list of problems.
---@param set stator.Set
---@param restoring boolean? in the place of a lost VM
---@return string[]
function M.freeze(set, restoring)
  local problems, ids = {}, {}
  local events = registry.types_of(set, "event")
  for i, t in ipairs(events) do
    ids[i], problems[#problems + 1] = register(set, t, restoring)
  end
  if #problems > 0 then return problems end
  for i, t in ipairs(events) do M.lay_out(t, ids[i], set.enums) end
  return problems
end

--- Records an event into the open batch. Values are checked before anything is recorded.
---@param place integer see stator.places
---@param values table? what is not named has its default
---@param to number|table|nil an entity; nil: nobody in particular
function M.send(place, e, values, to)
  M.need("send", e)
  if not e.id then err.raise(e.name .. " is not laid out yet: scripts' bodies only declare") end
  if values ~= nil and type(values) ~= "table" then
    err.raise(("send: expected a table of fields of %s, got %s"):format(e.name, err.shown(values)))
  end
  if e.is_plain and values and next(values) ~= nil then err.raise(("send: %s has no fields"):format(e.name)) end
  local stored = not e.is_plain and record.struct_value(e.layout, values or {})
  local id = to ~= nil and id_of(to) or 0
  C.ecs_batch_place(world, place)
  local slot = C.ecs_record_send(world, e.id, id)
  if slot == nil then err.raise(abi.last_error()) end
  if stored then record.store_struct(cast(e.payload_pointer, slot), e.layout, stored) end
end

---@class stator.Sent one event of the last apply
---@field event stator.Event
---@field to number? entity
---@field by_observer boolean
---@field value any see M.value

--- The events of the last apply in the order of recording. In its react phase.
---@return stator.Sent[]
function M.sent()
  local flat, list = core.sent(), {}
  for i = 1, #flat, 4 do
    local to = flat[i + 1]
    list[#list + 1] = { event = M.by_id[flat[i]], to = to ~= 0 and to or nil, by_observer = flat[i + 2],
      value = flat[i + 3] }
  end
  return list
end

--- A fresh table with the values of an event of sent().
function M.value(sent)
  local e = sent.event
  if e.is_plain then return {} end
  return views.to_table(e.layout, cast(e.read_pointer, sent.value))
end

return M
