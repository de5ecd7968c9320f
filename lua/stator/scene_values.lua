--- Values of components in a scene file: checked against the fields, ready for commands.
local ffi = require "ffi"
local abi = require "stator.abi"
local err = require "stator.err"
local join = require("stator.scene_reader").join
local found = require("stator.scene_reader").found
local registry = require "stator.registry"

local TYPE = abi.TYPE

local M = {}

-- ---- which components there are ---------------------------------------------------------------

--- How a scene finds components by name: `find(name)` and `names()`, for what is misspelt.
---@param components table|fun(name: string): table?|nil by name; nil: those that the scripts have declared
---@return { find: fun(name: string): table?, names: fun(): string[] }
function M.lookup(components)
  local function find(name)
    if type(components) == "function" then return components(name) end
    return (components or registry.recording.components)[name]
  end
  local function names()
    local list = {}
    if type(components) == "table" then
      for name in pairs(components) do list[#list + 1] = name end
      table.sort(list)
    else
      for _, c in ipairs(registry.recording.component_list) do
        if find(c.name) then list[#list + 1] = c.name end
      end
    end
    return list
  end
  return { find = find, names = names }
end

-- ---- fields ---------------------------------------------------------------------------------

local function is_whole(value, low, high) return value >= low and value <= high and value % 1 == 0 end

local INTEGERS = { int8_t = true, uint8_t = true, int16_t = true, uint16_t = true, int32_t = true, uint32_t = true }
local narrow = ffi.new("float[1]")

--- Whether a number, as the field stores it, is in the field's range.
local function in_range(value, f)
  if TYPE[f.type] == "float" then
    narrow[0] = value
    value = narrow[0]
  end
  return not f.has_range or (value >= f.min and value <= f.max)
end

local function wanted_number(f)
  if f.max == math.huge then return ("a number of at least %g"):format(f.min) end
  if f.min == -math.huge then return ("a number of at most %g"):format(f.max) end
  return ("a number from %g to %g"):format(f.min, f.max)
end

--- The node remembers that it names an entity.
local function entity_ref(scene, node, path)
  local id = scene.by_path[node.value]
  node.entity = node.value
  if id then return id end
  local names = {}
  for _, e in ipairs(scene.entities) do names[#names + 1] = e.path end
  scene:problem(node, path, ('there is no entity "%s"%s'):format(node.value, err.nearest(node.value, names)))
end

--- One value of a field. Entities are looked up by path once all are there.
local function single_value(scene, node, path, c, f)
  local t = TYPE[f.type]
  if INTEGERS[t] then
    local low, high = f.min, f.max
    if node.type == "number" and is_whole(node.value, low, high) then return node.value end
    scene:problem(node, path, ("expected a whole number from %.0f to %.0f, got %s"):format(low, high, found(node)))
  elseif t == "double" or t == "float" then
    if not scene:expect(node, path, "number") then return end
    if in_range(node.value, f) then return node.value end
    scene:problem(node, path, ("expected %s, got %s"):format(wanted_number(f), found(node)))
  elseif t == "bool" then
    if scene:expect(node, path, "bool") then return node.value end
  elseif t == "char" then
    if scene:expect(node, path, "string") then
      if #node.value <= f.count then return node.value end
      scene:problem(node, path, ("text of %d bytes; %s holds %d"):format(#node.value, f.name, f.count))
    end
  elseif t == "struct" then
    return M.field_values(scene, node, path, f.layout)
  elseif t == "enum" then
    return scene:choice(node, path, c.enums[f.enum]._members)
  elseif node.type == "null" then
    return 0
  elseif scene:expect(node, path, "string") then
    return entity_ref(scene, node, path)
  end
end

local function array_value(scene, node, path, c, f)
  if not scene:expect(node, path, "array") then return end
  if #node ~= f.count then
    scene:problem(node, path, ("expected %d values, got %d"):format(f.count, #node))
    return
  end
  local out = {}
  for i, child in ipairs(node) do out[i] = single_value(scene, child, join(path, i - 1), c, f) end
  return #out == f.count and out or nil
end

--- The value of a field, as commands take it; nil when it does not fit, which is a problem of the scene.
---@param c table component or struct: name, by_name, field_names, enums
---@param f table one of its fields
function M.field_value(scene, node, path, c, f)
  if f.is_array then return array_value(scene, node, path, c, f) end
  return single_value(scene, node, path, c, f)
end

--- The values of a component, by field.
function M.field_values(scene, node, path, c)
  local out = {}
  if not scene:expect(node, path, "object") then return out end
  for _, child in ipairs(node) do
    local f, at = c.by_name[child.key], join(path, child.key)
    if f then
      out[child.key] = M.field_value(scene, child, at, c, f)
    else
      scene:problem(child, at, ("%s has no such field%s"):format(c.name, err.nearest(child.key, c.field_names)), true)
    end
  end
  return out
end

--- Components of an entity, or of the world: a list of { component, values }.
function M.components(scene, node, path)
  local out = {}
  if not scene:expect(node, path, "object") then return out end
  for _, child in ipairs(node) do
    local c = scene.lookup.find(child.key)
    if c then
      out[#out + 1] = { c, M.field_values(scene, child, join(path, child.key), c) }
    else
      scene:problem(child, join(path, child.key),
        ("no script declares this component%s"):format(err.nearest(child.key, scene.lookup.names())), true)
    end
  end
  return out
end

return M
