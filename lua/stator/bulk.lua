--- Many entities in one command: `cmd:spawn_many` and `cmd:set_many`. A field is given as one value for all, or
--- as a column: a list of as many values as there are entities.
local ffi = require "ffi"
local abi = require "stator.abi"
local component = require "stator.component"
local entity = require "stator.entity"
local err = require "stator.err"
local record = require "stator.record"

local C, world, cast = abi.C, abi.world, ffi.cast
local COUNT_MAX = 1e6
local Component = component.Component

local M = {}

--- A field's value is a table of its own for arrays, structs and handles of entities.
local function is_column(f, value)
  return type(value) == "table" and not f.is_array and not f.layout and getmetatable(value) == nil
end

--- { field, value or nil, list or nil } of the fields that are named, all checked.
local function columns_of(what, c, values, count)
  local columns, mask, found = {}, 0, 0
  for i, f in ipairs(c.fields) do
    local value = values[f.name]
    if value ~= nil then
      found, mask = found + 1, mask + 2 ^ (i - 1)
      local column = { field = f }
      if is_column(f, value) then
        if #value ~= count then
          err.raise(("%s: %s.%s: expected %d values, got %d"):format(what, c.name, f.name, count, #value))
        end
        column.list = {}
        for k = 1, count do column.list[k] = record.checked(c, f, value[k]) end
      else
        column.value = record.checked(c, f, value)
      end
      columns[found] = column
    end
  end
  for _ in pairs(values) do found = found - 1 end
  if found ~= 0 then record.unknown_field(c, values) end
  return columns, mask
end

--- Writes the columns to `count` values at p.
local function write_all(p, columns, count)
  for _, column in ipairs(columns) do
    local f, value, list = column.field, column.value, column.list
    for k = 1, count do
      if list then value = list[k] end
      record.store_field(p[k - 1], f, value)
    end
  end
end

local function check_count(what, count)
  if type(count) ~= "number" or not (count >= 1 and count <= COUNT_MAX and count % 1 == 0) then
    err.raise(("%s: expected a count from 1 to %d, got %s"):format(what, COUNT_MAX, err.shown(count)))
  end
end

--- Records that `count` entities are spawned, each with all the components. Answers their ids.
---@param place integer see stator.places
---@param values table[] as of cmd:spawn, fields as values or columns
---@return number[]
function M.spawn_many(place, count, values, need)
  check_count("spawn_many", count)
  if type(values) ~= "table" or getmetatable(values) == Component or rawget(values, "component") then
    err.raise("spawn_many: expected a list of components: write { Pose { x_m = { 1, 2, 3 } } }")
  end
  local n = #values
  local ids, parts = ffi.new("uint32_t[?]", math.max(1, n)), {}
  for i, value in ipairs(values) do
    local c = getmetatable(value) == Component and value or type(value) == "table" and rawget(value, "component")
    need("spawn_many", c)
    local fields = c ~= value and value.values or {}
    if c.is_tag and next(fields) ~= nil then err.raise(("spawn_many: %s is a tag and has no fields"):format(c.name)) end
    parts[i] = { component = c, columns = not c.is_tag and columns_of("spawn_many", c, fields, count) }
    ids[i - 1] = c.id
  end
  local at = ffi.new("void *[?]", math.max(1, n))
  C.ecs_batch_place(world, place)
  local made = C.ecs_record_spawn_many(world, count, ids, n, at)
  if made == nil then err.raise(abi.last_error(), "limit") end
  local list = {}
  for k = 1, count do list[k] = made[k - 1] end
  for i, part in ipairs(parts) do
    if part.columns then write_all(cast(part.component.payload_pointer, at[i - 1]), part.columns, count) end
  end
  return list
end

--- Records a `set` of the same fields for many entities.
---@param place integer see stator.places
---@param list table[] entities
---@param values table fields as values or columns
function M.set_many(place, list, c, values)
  if type(list) ~= "table" then err.raise("set_many: expected a list of entities, got " .. err.shown(list)) end
  local count = #list
  if count == 0 then return end
  check_count("set_many", count)
  local columns, mask = columns_of("set_many", c, values, count)
  local ids = ffi.new("double[?]", count)
  for k = 1, count do ids[k - 1] = entity.id_of(list[k]) end
  local rows = ffi.new(ffi.typeof("$[?]", c.payload_type), count)
  write_all(cast(c.payload_pointer, rows), columns, count)
  C.ecs_batch_place(world, place)
  if C.ecs_record_many(world, C.ECS_OP_SET, c.id, mask, count, ids, rows) ~= 0 then err.raise(abi.last_error()) end
end

return M
