--- Components, structs and enums: declared in a script's body, laid out by the core when the registry is
--- frozen, then given views (stator.views) and recorders (stator.record).
---
--- A component's name stands for one object as long as the VM lives. A reload may lay it out anew: then
--- what it consists of is replaced, also for code of before that still runs.
local ffi = require "ffi"
local abi = require "stator.abi"
local core = require "stator.core.world"
local err = require "stator.err"
local record = require "stator.record"
local registry = require "stator.registry"
local schema = require "stator.core.schema"
local views = require "stator.views"

local TYPE = abi.TYPE
local MEMBERS_MAX, FIELDS_MAX = 64, 48

---@class stator.Component
---@field name string
---@field id integer
---@field fields table[] name, type, count, offset, size, enum, struct, is_array, unit, min, max, has_range, layout
---@field by_name table<string, table>
---@field size integer bytes
local Component = {}
Component.__index = Component
Component.__tostring = function(c) return "component " .. c.name end
--- `Report { hot = 3 }`: a value for cmd:spawn and cmd:insert.
Component.__call = function(c, values)
  if values ~= nil and type(values) ~= "table" then
    err.raise(("%s: expected a table of fields, got %s"):format(c.name, type(values)))
  end
  return { component = c, values = values or {} }
end

local M = {
  Component = Component,
  by_name = {}, ---@type table<string, stator.Component> of all revisions
  by_id = {}, ---@type table<integer, stator.Component>
}

--- Raises, two levels up, when `name` is no text; the core reads it up to a zero byte.
local function check_name(what, name)
  if type(name) ~= "string" or name:find "%z" then
    error(("%s: expected a name, got %s"):format(what, err.shown(name)), 3)
  end
end

--- Raises, two levels up, when `fields` is no list of field declarations.
local function check_declarations(what, name, fields)
  if type(fields) ~= "table" then
    error(('%s "%s": expected a list of fields, got %s'):format(what, name, type(fields)), 3)
  end
  if #fields > FIELDS_MAX then
    error(('%s "%s": %d fields; at most %d'):format(what, name, #fields, FIELDS_MAX), 3)
  end
  for i, field in ipairs(fields) do
    if type(field) ~= "string" or field:find "%z" then
      error(('%s "%s": field %d is no text such as "double speed_rpm"'):format(what, name, i), 3)
    end
  end
end

--- Declares a component, or refers to one that is declared elsewhere.
---@param name string
---@param fields string[]? such as { "double speed_rpm", "char label[24]" }; nil: declared elsewhere
---@param options { sparse: boolean, age: boolean, migrate: function }? sparse: what comes and goes often; age: it keeps
--- when each entity's was last written; migrate: fn(old) -> fields, what a reload makes of a value of before
---@return stator.Component
function M.component(name, fields, options)
  check_name("component", name)
  if fields then check_declarations("component", name, fields) end
  options = options or {}
  if next(options) ~= nil then
    if not fields then error(('component "%s": options belong where its fields are declared'):format(name), 2) end
    registry.check_options(('component "%s"'):format(name), options, { "sparse", "age", "migrate" }, 2)
    if options.migrate ~= nil and type(options.migrate) ~= "function" then
      error(('component "%s": migrate is a function(old), not %s'):format(name, type(options.migrate)), 2)
    end
  end
  local script, _, place = registry.declare('component "' .. name .. '"', 3)
  local t = registry.mention("component", name, place)
  if fields then
    table.insert(t.places, {
      script = script, place = place, fields = fields, sparse = options.sparse == true, aged = options.age == true,
      migrate = options.migrate,
    })
  end
  t.object = M.by_name[name] or setmetatable({ name = name }, Component)
  M.by_name[name] = t.object
  return t.object
end

--- Declares a struct, which fields of components and of other structs may have as their type.
---@param name string
---@param fields string[] such as { "double x [m]", "double y [m]" }
function M.struct(name, fields)
  check_name("struct", name)
  local script, _, place = registry.declare('struct "' .. name .. '"', 3)
  check_declarations("struct", name, fields)
  local t = registry.mention("struct", name, place)
  table.insert(t.places, { script = script, place = place, fields = fields })
end

-- ---- enums ----------------------------------------------------------------------------------

---@class stator.Enum
local Enum = {}
Enum.__index = function(e, key)
  local method = rawget(Enum, key)
  if method then return method end
  error(('enum %s has no member "%s"%s'):format(rawget(e, "_name"), tostring(key),
    err.nearest(tostring(key), rawget(e, "_members"))), 2)
end
Enum.__newindex = function(e) error("enum " .. rawget(e, "_name") .. " cannot be changed", 2) end

--- The member of an ordinal, or nil.
function Enum:name_of(value) return self._members[value + 1] end

--- Gives an enum its members.
local function set_members(e, members)
  for member in pairs(rawget(e, "_ordinals") or {}) do rawset(e, member, nil) end
  local ordinals = {}
  for i, member in ipairs(members) do
    ordinals[member] = i - 1
    rawset(e, member, i - 1)
  end
  rawset(e, "_members", members)
  rawset(e, "_ordinals", ordinals)
end

local function same_members(a, b) return table.concat(a, ",") == table.concat(b, ",") end

--- Declares an enum: `Mode.auto` is an ordinal, an unknown member raises.
---@param name string
---@param members string[]
function M.enum(name, members)
  local script, _, place = registry.declare('enum "' .. tostring(name) .. '"', 3)
  if type(members) ~= "table" or #members == 0 or #members > MEMBERS_MAX then
    error(('enum "%s": expected a list of 1 to %d member names'):format(tostring(name), MEMBERS_MAX), 2)
  end
  local t = registry.mention("enum", name, place)
  local first = t.places[1]
  if first and not same_members(first.members, members) then
    error(('enum "%s" was declared with other members at %s'):format(name, first.place), 2)
  end
  table.insert(t.places, { script = script, place = place, members = members })
  if not first and not (t.object and same_members(t.object._members, members)) then
    t.object = { _name = name }
    set_members(t.object, members)
    setmetatable(t.object, Enum)
  end
  return t.object
end

--- Lets code that holds one enum see the members of another in it: those that its values have now.
function M.redirect(enum, to) set_members(enum, rawget(to, "_members")) end

-- ---- layouts --------------------------------------------------------------------------------

--- A problem with a field that could not be written as `x.end`, or nil.
local function lua_word(fields)
  for _, f in ipairs(fields) do
    if not loadstring("return x." .. f.name) then
      return ('field "%s": this is a word of Lua, x.%s cannot be written: give it another name'):format(f.name, f.name)
    end
  end
end
M.lua_word = lua_word

local layout_of

--- Notes what a component or struct `c` consists of.
local function describe_fields(c, fields, enums)
  c.fields, c.by_name, c.field_names, c.enums = fields, {}, {}, enums
  for i, f in ipairs(fields) do
    f.index, f.member = i - 1, views.member_of(f)
    c.by_name[f.name] = f
    c.field_names[i] = f.name
    if TYPE[f.type] == "struct" then f.layout = layout_of(f.struct, enums) end
  end
end

--- A struct's layout with its FFI types, by its id.
function layout_of(id, enums)
  local fields, size, name, default = core.struct_fields(id)
  local layout = { name = name, size = size, default = ffi.cast("const char *", default) }
  describe_fields(layout, fields, enums)
  views.add_types(layout)
  return layout
end
M.layout = layout_of

--- A layout that no component has yet, of a plan's fields, to write values of it.
function M.layout_of_plan(name, fields, enums)
  local layout = { name = name }
  describe_fields(layout, fields, enums)
  views.add_types(layout)
  return layout
end

local MADE = { "id", "fields", "by_name", "field_names", "enums", "size", "is_tag", "payload_bytes", "key", "read_type",
  "write_type", "payload_type", "read_pointer", "payload_pointer", "box", "writer_box", "insert", "set", "add" }

--- What a component consists of, as the core has it laid out.
---@param enums table<integer, stator.Enum> by their ids in the core
local function made_of(name, id, enums)
  local fields, size = core.fields(id)
  local made = { name = name, id = id, size = size, is_tag = size == 0 }
  describe_fields(made, fields, enums)
  if made.is_tag then return made end
  views.add_types(made)
  made.payload_bytes = math.ceil(size / 8) * 8
  record.add_recorders(made)
  return made
end

--- Gives a component what it consists of. Code that holds it sees that from now on.
---@param t stator.Type
---@param id integer of the core
function M.lay_out(t, id, enums)
  local made, object = made_of(t.name, id, enums), t.object
  for _, key in ipairs(MADE) do object[key] = made[key] end
  M.by_id[id] = object
end

-- ---- freeze ---------------------------------------------------------------------------------

local function register(set, t, problems)
  local first = t.places[1]
  if not first then
    problems[#problems + 1] = registry.declared_nowhere(set, t)
    return
  end
  local aged, known = false, nil
  for _, declared in ipairs(t.places) do
    local id, message, code = core.component(t.name, declared.fields, declared.sparse)
    aged = aged or declared.aged
    if code == "ECS_E_CONFLICT" then
      message = ("declared with other fields at %s"):format(first.place)
    elseif id and declared.sparse ~= first.sparse then
      id, message = nil, ("declared %s at %s"):format(first.sparse and "as sparse" or "as not sparse", first.place)
    elseif id then
      message = lua_word(core.fields(id))
      id = not message and id
    end
    if not id then
      problems[#problems + 1] = ('%s: component "%s": %s'):format(declared.place, t.name, message)
      return
    end
    known = id
  end
  if aged then
    local ok, message = core.aged(known)
    if not ok then problems[#problems + 1] = ('%s: component "%s": %s'):format(first.place, t.name, message) end
  end
  return known
end

--- Registers a struct or enum with the core. A reload may have begun when a VM was lost: then the name may
--- mean another version, and means this one again.
---@param kind "struct"|"enum"
---@return integer? id
---@return string? problem
---@return string? code
function M.declare(kind, name, list, restoring)
  if not restoring then return core[kind](name, list) end
  local id, message, code = schema[kind](name, list)
  if id then return id end
  return nil, message, code
end

--- Registers structs in an order in which each knows those that it holds.
local function register_structs(set, problems, restoring)
  local left, moved = {}, true
  for _, t in ipairs(registry.types_of(set, "struct")) do
    for _, s in ipairs(t.places) do left[#left + 1] = { name = t.name, fields = s.fields, place = s.place } end
  end
  while #left > 0 and moved do
    local again = {}
    for _, s in ipairs(left) do
      local id, message, code = M.declare("struct", s.name, s.fields, restoring)
      if id then message = lua_word((core.struct_fields(id))) end
      if code == "ECS_E_UNKNOWN" then
        again[#again + 1], s.message = s, message
      elseif message then
        problems[#problems + 1] = ('%s: struct "%s": %s'):format(s.place, s.name, message)
      end
    end
    left, moved = again, #again < #left
  end
  for _, s in ipairs(left) do
    problems[#problems + 1] = ('%s: struct "%s": %s'):format(s.place, s.name, s.message)
  end
end

--- Notes the components of a set, by name and in order.
function M.list(set)
  set.components, set.component_list = {}, {}
  for _, t in ipairs(registry.types_of(set, "component")) do
    set.components[t.name] = t.object
    table.insert(set.component_list, t.object)
  end
end

--- Registers the types of a set with the core and lays them out. Answers a list of problems.
---@param set stator.Set
---@param restoring boolean? in the place of a lost VM
---@return string[]
function M.freeze(set, restoring)
  local problems, enums, ids = {}, {}, {}
  for _, t in ipairs(registry.types_of(set, "enum")) do
    local id, message = M.declare("enum", t.name, t.places[1].members, restoring)
    if id then
      enums[id] = t.object
    else
      problems[#problems + 1] = ('%s: enum "%s": %s'):format(t.places[1].place, t.name, message)
    end
  end
  register_structs(set, problems, restoring)
  local components = registry.types_of(set, "component")
  for i, t in ipairs(components) do ids[i] = register(set, t, problems) or false end
  M.list(set)
  set.enums = enums
  if #problems > 0 then return problems end
  for i, t in ipairs(components) do M.lay_out(t, ids[i], enums) end
  return problems
end

return M
