--- Views: the FFI types through which scripts and writers see the values of a component or struct.
---
--- There are three of the same layout: `read`, const at every level, what scripts see; `write`, for
--- writers; `payload`, for the command stream. A fixed array is a struct of its own whose metatype checks
--- the index (1 to n); text is read as a Lua string. A VM has room for 65,536 types, and a metatype is set
--- once: each layout has its types for the life of the VM, however often it comes and goes.
local ffi = require "ffi"
local abi = require "stator.abi"
local entity = require "stator.entity"
local err = require "stator.err"

local type = type -- no look-up of a global in what rows call
local TYPE = abi.TYPE

local M = {}

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

-- ---- types of a layout -----------------------------------------------------------------------

local known = {} -- by key

local TYPES = { "read_type", "write_type", "payload_type", "read_pointer", "payload_pointer", "box", "writer_box" }

--- What the types depend on, as text.
local function key_of(c)
  local parts = { c.name }
  for i, f in ipairs(c.fields) do
    parts[i + 1] = ("%s %s %d%s"):format(f.name, f.layout and "{" .. f.layout.key .. "}" or TYPE[f.type], f.count,
      f.is_array and "[]" or "")
  end
  return table.concat(parts, ";")
end

local function make(c)
  local read, write = struct_of(c.fields, "read"), struct_of(c.fields, "write")
  metatype(c, read, false)
  metatype(c, write, true)
  return {
    read_type = read, write_type = write, payload_type = struct_of(c.fields, "payload"),
    box = ffi.typeof("$ *", box_type(c, read)), writer_box = ffi.typeof("$ *", writer_box_type(c, write)),
  }
end

--- Gives a layout its types: read_type, write_type, payload_type, pointers to the first and the last,
--- and its boxes; and a key that is equal for equal layouts.
---@param c { name: string, fields: table[], by_name: table, field_names: string[] }
function M.add_types(c)
  c.key = key_of(c)
  local types = known[c.key]
  if not types then
    types = make(c)
    types.read_pointer = ffi.typeof("const $ *", types.read_type)
    types.payload_pointer = ffi.typeof("$ *", types.payload_type)
    known[c.key] = types
  end
  for _, name in ipairs(TYPES) do c[name] = types[name] end
end

M.member_of = member_of

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
---@param c table a component or layout
function M.to_table(c, ref)
  local out = {}
  for _, f in ipairs(c.fields) do out[f.name] = plain_field(f, ref) end
  return out
end

--- A plain table with the component's fields; outlives awaits. Raises when it is absent.
---@param options { max_age_s: number }? as of get
function entity.Entity.copy(id, component, options)
  return M.to_table(component, entity.Entity.get(id, component, options))
end

return M
