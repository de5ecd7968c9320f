--- Recording values: checks what scripts give for the fields of a component or struct, and generates the functions
--- that write it into the command stream.
local ffi = require "ffi"
local abi = require "stator.abi"
local entity = require "stator.entity"
local err = require "stator.err"

local C, type = abi.C, type -- no look-up of a global in what rows call
local TYPE = abi.TYPE

local M = {}

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

--- Gives a component of fields its recorders: insert, set and add, functions (place, id, values).
function M.add_recorders(c)
  c.insert, c.set, c.add = recorder(c, C.ECS_OP_INSERT), recorder(c, C.ECS_OP_SET), adder(c)
end

M.struct_value, M.store_field, M.unknown_field = struct_value, store_field, unknown_field
--- Stores what struct_value answered at p, a pointer to the layout's payload_type.
function M.store_struct(p, layout, values) store_struct(p, layout, values) end

return M
