--- Components and enums: declared in a script's body, laid out by the core when the registry is
--- frozen, then given FFI types.
---
--- A component has three C types of the same layout: `read`, const at every level, what scripts
--- see; `write`, for writers; `payload`, for the command stream. A fixed array is a struct of its
--- own whose metatype checks the index (1 to n); text is read as a Lua string.
local ffi = require "ffi"
local abi = require "stator.abi"
local core = require "stator.core.world"
local entity = require "stator.entity"
local err = require "stator.err"
local registry = require "stator.registry"

local C, type = abi.C, type -- no look-up of a global in what rows call
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

local M = { Component = Component }

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
---@param options { sparse: boolean, age: boolean }? sparse: what comes and goes often; age: it keeps when each
--- entity's was last written
---@return stator.Component
function M.component(name, fields, options)
  check_name("component", name)
  if fields then check_declarations("component", name, fields) end
  local aged = false
  if options then
    if not fields then error(('component "%s": options belong where its fields are declared'):format(name), 2) end
    registry.check_options(('component "%s"'):format(name), options, { "sparse", "age" }, 2)
    aged = options.age == true
  end
  local _, _, place = registry.declare('component "' .. name .. '"', 3)
  local known = registry.components[name]
  if not known then
    known = setmetatable({ name = name, places = {} }, Component)
    registry.components[name] = known
    table.insert(registry.component_list, known)
  end
  known.mentioned, known.aged = known.mentioned or place, known.aged or aged
  if fields then
    known.places[#known.places + 1] = { place = place, fields = fields, sparse = (options or {}).sparse == true }
  end
  return known
end

--- Declares a struct, which fields of components and of other structs may have as their type.
---@param name string
---@param fields string[] such as { "double x [m]", "double y [m]" }
function M.struct(name, fields)
  check_name("struct", name)
  local _, _, place = registry.declare('struct "' .. name .. '"', 3)
  check_declarations("struct", name, fields)
  table.insert(registry.struct_list, { name = name, fields = fields, place = place })
end

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

--- The ordinal of a member's name or ordinal; raises for anything else.
local function enum_ordinal(e, value, what)
  if type(value) == "string" then
    local ordinal = e._ordinals[value]
    if ordinal then return ordinal end
    err.raise(('%s: "%s" is no member of %s%s'):format(what, value, e._name, err.nearest(value, e._members)))
  end
  if type(value) == "number" and e._members[value + 1] then return value end
  err.raise(("%s: expected a member of %s, got %s"):format(what, e._name, tostring(value)))
end

--- Declares an enum: `Mode.auto` is an ordinal, an unknown member raises.
---@param name string
---@param members string[]
function M.enum(name, members)
  local _, _, place = registry.declare('enum "' .. tostring(name) .. '"', 3)
  if type(members) ~= "table" or #members == 0 or #members > MEMBERS_MAX then
    error(('enum "%s": expected a list of 1 to %d member names'):format(tostring(name), MEMBERS_MAX), 2)
  end
  local e = { _name = name, _members = members, _ordinals = {}, _place = place }
  for i, member in ipairs(members) do
    e._ordinals[member] = i - 1
    e[member] = i - 1
  end
  local known = registry.enums[name]
  if known then
    if table.concat(known._members, ",") ~= table.concat(members, ",") then
      error(('enum "%s" was declared with other members at %s'):format(name, known._place), 2)
    end
    return known
  end
  setmetatable(e, Enum)
  registry.enums[name] = e
  table.insert(registry.enum_list, e)
  return e
end

-- ---- FFI types ------------------------------------------------------------------------------

local C_TYPE = { enum = "int32_t", entity = "double" }

local function bad_index(what, i, n)
  error(("%s: index %s is outside 1 to %d"):format(what, tostring(i), n), 3)
end

--- What a writer stores in a field that holds an entity.
local function need_entity(what, value)
  local id = entity.stored(value)
  if not id then err.raise(("%s: expected an entity, got %s"):format(what, err.shown(value))) end
  return id
end

--- The struct that stands for T[n]. Cached: a metatype is set once.
local array_types = {}
local function array_type(c_type, n, writable, is_entity, what)
  local key = what .. " " .. c_type .. n .. (writable and "w" or "r") .. (is_entity and "e" or "")
  if array_types[key] then return array_types[key] end
  local t = ffi.typeof(("struct { %s%s v[%d]; }"):format(writable and "" or "const ", c_type, n))
  local mt = { __len = function() return n end }
  function mt.__index(a, i)
    if not (type(i) == "number" and i >= 1 and i <= n) then bad_index(what, i, n) end
    local value = a.v[i - 1]
    if is_entity and value == 0 then return nil end
    return value
  end
  function mt.__newindex(a, i, value)
    if not writable then error("attempt to write to constant location", 2) end
    if not (type(i) == "number" and i >= 1 and i <= n) then bad_index(what, i, n) end
    a.v[i - 1] = is_entity and need_entity(what, value or 0) or value
  end
  ffi.metatype(t, mt)
  array_types[key] = t
  return t
end

--- The struct that stands for an array of structs, whose type is `element`.
local function struct_array_type(element, n, what)
  local t = ffi.typeof(("struct { $ v[%d]; }"):format(n), element)
  ffi.metatype(t, {
    __len = function() return n end,
    __index = function(a, i)
      if not (type(i) == "number" and i >= 1 and i <= n) then bad_index(what, i, n) end
      return a.v[i - 1]
    end,
    __newindex = function() error(what .. ": set the fields of an element", 2) end,
  })
  return t
end

--- A byte that no field's name has, and a letter to FFI.
local HIDDEN = "\255"

--- Whether FFI takes the name for a member's: not when it is a word of C.
local is_member_name = setmetatable({}, { __index = function(known, name)
  local ok, t = pcall(ffi.typeof, ("struct { double %s; }"):format(name))
  known[name] = ok and ffi.offsetof(t, name) ~= nil
  return known[name]
end })

--- A field's name in the FFI types. Text and entities are read through functions, so their members are
--- hidden from scripts, like those whose name C has taken.
local function member_of(f)
  local hidden = TYPE[f.type] == "char" or (TYPE[f.type] == "entity" and not f.is_array)
  return (hidden or not is_member_name[f.name]) and HIDDEN .. f.name or f.name
end

local function struct_of(fields, mode)
  local parts, types = {}, {}
  local const = mode == "read" and "const " or ""
  for _, f in ipairs(fields) do
    local c_type = C_TYPE[TYPE[f.type]] or TYPE[f.type]
    local wrapped = f.is_array and mode ~= "payload"
    if f.layout then
      local element = f.layout[mode .. "_type"]
      types[#types + 1] = wrapped and struct_array_type(element, f.count, f.name) or element
    elseif wrapped then
      types[#types + 1] = array_type(c_type, f.count, mode == "write", TYPE[f.type] == "entity", f.name)
    end
    local plain = (f.is_array and not wrapped) or TYPE[f.type] == "char"
    parts[#parts + 1] = ("%s%s %s%s;"):format(const, (f.layout or wrapped) and "$" or c_type, f.member,
      plain and ("[%d]"):format(f.count) or "")
  end
  return ffi.typeof("struct { " .. table.concat(parts, " ") .. " }", unpack(types))
end

local function read_text(p, n)
  local length = 0
  while length < n and p[length] ~= 0 do length = length + 1 end
  return ffi.string(p, length)
end

local function getters_of(fields)
  local get = {}
  for _, f in ipairs(fields) do
    local raw = f.member
    if TYPE[f.type] == "char" then
      local n = f.count
      get[f.name] = function(ref) return read_text(ref[raw], n) end
    elseif TYPE[f.type] == "entity" and not f.is_array then
      get[f.name] = function(ref)
        local id = ref[raw]
        if id == 0 then return nil end
        return id
      end
    elseif raw ~= f.name then
      get[f.name] = function(ref) return ref[raw] end
    end
  end
  return get
end

local function write_text(component, field, ref, value)
  if type(value) ~= "string" then
    error(("%s.%s: expected text, got %s"):format(component, field.name, type(value)), 3)
  end
  if #value > field.count then
    error(('%s.%s: "%s" is longer than %d bytes'):format(component, field.name, value:sub(1, 40), field.count), 3)
  end
  local p = ref[field.member]
  ffi.fill(p, field.count)
  ffi.copy(p, value, #value)
end

local function metatype(component, t, writable)
  local get, by_name, name = getters_of(component.fields), component.by_name, component.name
  ffi.metatype(t, {
    __index = function(ref, key)
      local getter = get[key]
      if getter then return getter(ref) end
      error(('%s has no field "%s"%s'):format(name, tostring(key),
        err.nearest(tostring(key), component.field_names)), 2)
    end,
    __newindex = function(ref, key, value)
      local field = by_name[key]
      if not field then
        error(('%s has no field "%s"%s'):format(name, tostring(key),
          err.nearest(tostring(key), component.field_names)), 2)
      end
      if not writable then error("attempt to write to constant location", 2) end
      if TYPE[field.type] == "char" then
        write_text(name, field, ref, value)
      elseif TYPE[field.type] == "entity" then
        ref[field.member] = need_entity(name .. "." .. key, value or 0)
      else
        ref[field.member] = value
      end
    end,
  })
end

-- ---- boxes ----------------------------------------------------------------------------------

local shared = abi.shared

local function box_error(name, box, i)
  if box.epoch ~= shared.epoch then
    error(("%s: this view was taken before an await: take it again"):format(name), 3)
  end
  if box.p == nil then error(name .. ": this chunk has no such column", 3) end
  error(("%s: row %s is outside 0 to %d"):format(name, tostring(i), box.count - 1), 3)
end

local function box_type(component, row)
  local t = ffi.typeof([[struct { const $ *const p; const int32_t count; const int32_t epoch;
    ecs_stamp_t *const stamp; const ecs_stamp_t before; }]], row)
  local name = component.name
  local methods = {
    --- Withdraws the mark that this chunk's column was changed.
    skip = function(box)
      if box.stamp ~= nil and box.epoch == shared.epoch then box.stamp[0] = box.before end
    end,
  }
  ffi.metatype(t, {
    __index = function(box, i)
      if type(i) == "number" then
        if i >= 0 and i < box.count and box.epoch == shared.epoch then return box.p[i] end
        box_error(name, box, i)
      end
      return methods[i]
    end,
    __len = function(box) return box.count end,
  })
  return t
end

local function writer_box_type(component, row)
  local t = ffi.typeof([[struct { $ *const p; const int32_t count; const int32_t epoch;
    ecs_stamp_t *const stamp; const ecs_stamp_t before; }]], row)
  local name = component.name
  local function skip(box)
    if box.stamp ~= nil and box.epoch == shared.epoch then box.stamp[0] = box.before end
  end
  ffi.metatype(t, {
    __index = function(box, i)
      if type(i) == "number" then
        if i >= 0 and i < box.count and box.epoch == shared.epoch then return box.p[i] end
        box_error(name, box, i)
      end
      return i == "skip" and skip or nil
    end,
    __newindex = function() error(name .. ": bind the row and set its fields", 2) end,
    __len = function(box) return box.count end,
  })
  return t
end

-- ---- plain values ---------------------------------------------------------------------------

local plain_field

local function plain_value(f, value)
  if not f.layout then return value end
  local out = {}
  for _, inner in ipairs(f.layout.fields) do out[inner.name] = plain_field(inner, value) end
  return out
end

function plain_field(f, ref)
  local value = ref[f.name]
  if not f.is_array then return plain_value(f, value) end
  local list = {}
  for i = 1, f.count do list[i] = plain_value(f, value[i]) end
  return list
end

--- A Lua table with the fields of a view; outlives awaits.
function Component:to_table(ref)
  local out = {}
  for _, f in ipairs(self.fields) do out[f.name] = plain_field(f, ref) end
  return out
end

-- ---- recording ------------------------------------------------------------------------------

local RANGE = {
  int8_t = { -128, 127 }, uint8_t = { 0, 255 }, int16_t = { -32768, 32767 }, uint16_t = { 0, 65535 },
  int32_t = { -2147483648, 2147483647 }, uint32_t = { 0, 4294967295 },
}

local function wants(f)
  local t = TYPE[f.type]
  if t == "char" then return ("text of at most %d bytes"):format(f.count) end
  if t == "entity" then return "an entity" end
  if RANGE[t] then return ("a whole number from %.0f to %.0f"):format(RANGE[t][1], RANGE[t][2]) end
  return t == "bool" and "true or false" or "a number"
end

local unknown_field

--- Checks a table of fields, or a view, for a struct; answers the values by the fields' index.
local function struct_value(layout, value)
  local is_view = type(value) == "cdata"
  if not is_view and type(value) ~= "table" then
    err.raise(("%s: expected a table of fields, got %s"):format(layout.name, err.shown(value)))
  end
  local out, n = {}, 0
  for i, f in ipairs(layout.fields) do
    local v = value[f.name]
    if v ~= nil then
      out[i] = M.checked(layout, f, v)
      n = n + 1
    end
  end
  if is_view then return out end
  for _ in pairs(value) do n = n - 1 end
  if n ~= 0 then unknown_field(layout, value) end
  return out
end

--- Checks one scalar; returns what is stored. Raises without a position.
local function scalar(component, f, value)
  local t = TYPE[f.type]
  local ok
  if f.layout then return struct_value(f.layout, value) end
  if t == "enum" then
    return enum_ordinal(component.enums[f.enum], value, component.name .. "." .. f.name)
  elseif t == "bool" then
    ok = type(value) == "boolean"
  elseif t == "char" then
    ok = type(value) == "string" and #value <= f.count
  elseif t == "entity" then
    local id = entity.stored(value)
    if id then return id end
  elseif RANGE[t] then
    ok = type(value) == "number" and value >= RANGE[t][1] and value <= RANGE[t][2] and value % 1 == 0
  else
    ok = type(value) == "number"
  end
  if ok then return value end
  err.raise(("%s.%s: expected %s, got %s"):format(component.name, f.name, wants(f), err.shown(value)))
end

local function array(component, f, value)
  local n = (type(value) == "table" or type(value) == "cdata") and #value
  if n ~= f.count then
    err.raise(("%s.%s: expected %d values, got %s"):format(component.name, f.name, f.count,
      n and n or type(value)))
  end
  local out = {}
  for i = 1, n do out[i] = scalar(component, f, value[i]) end
  return out
end

--- Checks a field's value and answers what store_field takes.
function M.checked(component, f, value)
  if f.is_array then return array(component, f, value) end
  return scalar(component, f, value)
end

local function store_array(p, values)
  for i = 1, #values do p[i - 1] = values[i] end
end

local function store_text(p, n, text)
  ffi.fill(p, n)
  ffi.copy(p, text, #text)
end

local store_struct

local function store_field(p, f, value)
  if f.layout and f.is_array then
    for k = 1, f.count do store_struct(p[f.member][k - 1], f.layout, value[k]) end
  elseif f.layout then
    store_struct(p[f.member], f.layout, value)
  elseif f.is_array then
    store_array(p[f.member], value)
  elseif TYPE[f.type] == "char" then
    store_text(p[f.member], f.count, value)
  else
    p[f.member] = value
  end
end

--- Stores what struct_value answered; fields that were not named have their default.
function store_struct(p, layout, values)
  ffi.copy(p, layout.default, layout.size)
  for i, f in ipairs(layout.fields) do
    if values[i] ~= nil then store_field(p, f, values[i]) end
  end
end

function unknown_field(component, values)
  local names = {}
  for key in pairs(values) do
    if not component.by_name[key] then names[#names + 1] = tostring(key) end
  end
  if #names == 0 then return end -- the counts differ, the names do not: see docs/decisions.md
  table.sort(names)
  err.raise(('%s has no field "%s"%s'):format(component.name, names[1],
    err.nearest(names[1], component.field_names)))
end

local CHECKED_CALLS, CHECK_EVERY = 200, 1000
local COMMAND = ffi.typeof "ecs_command_t *"

--- Whether a table has more keys than the n known ones that were found. Counting them costs many
--- times what recording does, so past its first calls a component checks one call in CHECK_EVERY; names
--- written in a script's text were checked when it was loaded (stator.fieldcheck). Answers after how
--- many calls to check again.
local function verify(component, values, n)
  local keys = 0
  for _ in pairs(values) do keys = keys + 1 end
  if keys ~= n then unknown_field(component, values) end
  component.recorded = (component.recorded or 0) + 1
  return component.recorded < CHECKED_CALLS and 1 or CHECK_EVERY
end

local function not_recorded()
  err.raise(abi.last_error())
end

--- Where the command lies that the core has recorded, since the batch had no room for it.
local function by_core(slot)
  if slot == nil then not_recorded() end
  return ffi.cast("char *", slot) - ffi.sizeof "ecs_command_t"
end

--- Source of one branch of the recorder: `local v3 = values.speed` and its check.
local function check_source(i, f)
  local t = TYPE[f.type]
  local simple = not f.is_array and (t == "double" or t == "float" or t == "bool")
  local test = simple and ('if type(v%d) ~= "%s" then v%d = checked(component, fields[%d], v%d) end')
    :format(i, t == "bool" and "boolean" or "number", i, i, i)
    or ("v%d = checked(component, fields[%d], v%d)"):format(i, i, i)
  return ("local v%d = values[%q] if v%d ~= nil then n = n + 1 mask = mask + %.0f %s end\n")
    :format(i, f.name, i, 2 ^ (i - 1), test)
end

local function store_source(i, f)
  local store
  if f.layout then
    store = ("store_field(p, fields[%d], v%d)"):format(i, i)
  elseif f.is_array then
    store = ("store_array(p[%q], v%d)"):format(f.member, i)
  elseif TYPE[f.type] == "char" then
    store = ("store_text(p[%q], %d, v%d)"):format(f.member, f.count, i)
  else
    store = ("p[%q] = v%d"):format(f.member, i)
  end
  return ("if v%d ~= nil then %s end\n"):format(i, store)
end

--- Source that makes `slot`, the place of the value. SET and ADD of at most 32 fields are written straight
--- into the open batch when it has room, others by the core.
local function slot_source(component, op)
  local call = ("C.ecs_record_at(world, place, %d, id, %d, mask)"):format(op, component.id)
  if op == C.ECS_OP_INSERT or #component.fields > 32 then
    return ("local slot = %s if slot == nil then not_recorded() end\n"):format(call)
  end
  local head = ffi.sizeof "ecs_command_t"
  local bytes = head + component.payload_bytes
  return ([[
local at = recorder.at
local after = at + %d
if after > recorder.stop then
  at = full(%s)
else
  recorder.at = after
  local head = cast(command, at)
  head.kind, head.id = bor(recorder.flags, %d), id
  head.fields[0], head.fields[1] = mask, place * 65536
end
local slot = at + %d
]]):format(bytes, call, op + component.id * 65536, head)
end

--- A function (place, id, values) that records one command; generated, so that it becomes a trace of its
--- own however many components there are. `op` is ECS_OP_INSERT, SET or ADD.
local function recorder(component, op)
  local source = {
    "local component, fields, C, world, cast, pointer, checked, store_array, store_text, ",
    "store_field, verify, not_recorded, type, recorder, command, full, bor = ...\n",
    "local left = 1\nreturn function(place, id, values)\nlocal n, mask = 0, 0\n",
  }
  for i, f in ipairs(component.fields) do source[#source + 1] = check_source(i, f) end
  source[#source + 1] = "left = left - 1 if left <= 0 then left = verify(component, values, n) end\n"
  source[#source + 1] = slot_source(component, op)
  source[#source + 1] = "local p = cast(pointer, slot)\n"
  for i, f in ipairs(component.fields) do source[#source + 1] = store_source(i, f) end
  source[#source + 1] = "end"
  local chunk = assert(loadstring(table.concat(source), "=record " .. component.name))
  return chunk(component, component.fields, C, abi.world, ffi.cast, component.payload_pointer, M.checked,
    store_array, store_text, store_field, verify, not_recorded, type, C.ecs_recorder(abi.world), COMMAND,
    by_core, bit.bor)
end

local NO_SUM = { bool = true, char = true, entity = true, enum = true, struct = true }

local function refuse_add(component)
  for _, f in ipairs(component.fields) do
    if NO_SUM[TYPE[f.type]] then return f end
  end
end

local function adder(component)
  local add = recorder(component, C.ECS_OP_ADD)
  if not refuse_add(component) then return add end
  return function(place, id, values)
    for _, f in ipairs(component.fields) do
      local t = TYPE[f.type]
      if values[f.name] ~= nil and NO_SUM[t] then
        err.raise(("%s.%s: %s cannot be added to"):format(component.name, f.name, t))
      end
    end
    add(place, id, values)
  end
end

-- ---- freeze ---------------------------------------------------------------------------------

--- A problem with a field that could not be written as `x.end`, or nil.
local function lua_word(fields)
  for _, f in ipairs(fields) do
    if not loadstring("return x." .. f.name) then
      return ('field "%s": this is a word of Lua, x.%s cannot be written: give it another name'):format(f.name, f.name)
    end
  end
end

local function register(component, problems)
  local first = component.places[1]
  if not first then
    local names = {}
    for _, c in ipairs(registry.component_list) do if c.places[1] then names[#names + 1] = c.name end end
    problems[#problems + 1] = ('%s: component "%s" is declared nowhere%s'):format(
      component.mentioned, component.name, err.nearest(component.name, names))
    return
  end
  for _, declared in ipairs(component.places) do
    local id, message, code = core.component(component.name, declared.fields, declared.sparse)
    if code == "ECS_E_CONFLICT" then
      message = ("declared with other fields at %s"):format(first.place)
    elseif id and declared.sparse ~= first.sparse then
      id, message = nil, ("declared %s at %s"):format(first.sparse and "as sparse" or "as not sparse", first.place)
    elseif id then
      message = lua_word(core.fields(id))
      id = not message and id
    end
    if not id then
      problems[#problems + 1] = ('%s: component "%s": %s'):format(declared.place, component.name, message)
      return
    end
    component.id = id
  end
  if component.aged then
    local ok, message = core.aged(component.id)
    if not ok then problems[#problems + 1] = ('%s: component "%s": %s'):format(first.place, component.name, message) end
  end
end

local layout_of

--- Notes what a component or struct `c` consists of.
local function describe_fields(c, fields, enums)
  c.fields, c.by_name, c.field_names, c.enums = fields, {}, {}, enums
  for i, f in ipairs(fields) do
    f.index, f.member = i - 1, member_of(f)
    c.by_name[f.name] = f
    c.field_names[i] = f.name
    if TYPE[f.type] == "struct" then f.layout = layout_of(f.struct, enums) end
  end
end

local function make_types(c)
  local read, write = struct_of(c.fields, "read"), struct_of(c.fields, "write")
  metatype(c, read, false)
  metatype(c, write, true)
  c.read_type, c.write_type, c.payload_type = read, write, struct_of(c.fields, "payload")
end

--- Fields and types of a struct, by its id: what a component has of those.
local layouts = {}
function layout_of(id, enums)
  if layouts[id] then return layouts[id] end
  local fields, size, name, default = core.struct_fields(id)
  local layout = { name = name, size = size, default = ffi.cast("const char *", default) }
  describe_fields(layout, fields, enums)
  make_types(layout)
  layouts[id] = layout
  return layout
end

local function build(component, enums)
  local fields, size = core.fields(component.id)
  component.size, component.is_tag = size, size == 0
  describe_fields(component, fields, enums)
  if component.is_tag then return end
  make_types(component)
  component.read_pointer = ffi.typeof("const $ *", component.read_type)
  component.payload_pointer = ffi.typeof("$ *", component.payload_type)
  component.payload_bytes = math.ceil(component.size / 8) * 8
  component.box = ffi.typeof("$ *", box_type(component, component.read_type))
  component.writer_box = ffi.typeof("$ *", writer_box_type(component, component.write_type))
  component.insert = recorder(component, C.ECS_OP_INSERT)
  component.set = recorder(component, C.ECS_OP_SET)
  component.add = adder(component)
end

--- A struct's layout with its FFI types, by its id. After freeze.
function M.layout(id) return layout_of(id, M.known_enums) end

M.struct_value, M.store_field, M.unknown_field = struct_value, store_field, unknown_field
--- Stores what struct_value answered at p, a pointer to the layout's payload_type.
function M.store_struct(p, layout, values) store_struct(p, layout, values) end

--- Registers structs in an order in which each knows those that it holds.
local function register_structs(problems)
  local left, moved = registry.struct_list, true
  while #left > 0 and moved do
    local again = {}
    for _, s in ipairs(left) do
      local id, message, code = core.struct(s.name, s.fields)
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

--- Registers everything with the core and makes the FFI types. Answers a list of problems.
---@return string[]
function M.freeze()
  local problems, enums = {}, {}
  M.known_enums = enums
  for _, e in ipairs(registry.enum_list) do
    local id, message = core.enum(e._name, e._members)
    if id then
      enums[id] = e
    else
      problems[#problems + 1] = ('%s: enum "%s": %s'):format(e._place, e._name, message)
    end
  end
  register_structs(problems)
  for _, component in ipairs(registry.component_list) do register(component, problems) end
  if #problems > 0 then return problems end
  for _, component in ipairs(registry.component_list) do build(component, enums) end
  M.by_id = {}
  for _, component in ipairs(registry.component_list) do M.by_id[component.id] = component end
  return problems
end

return M
