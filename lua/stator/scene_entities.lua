--- Entities of a scene file: their tree, and the components that each has.
local command = require "stator.command"
local join = require("stator.scene_reader").join
local member = require("stator.scene_reader").member
local values = require "stator.scene_values"
local err = require "stator.err"

local M = {}

local ENTITY_KEYS = { "name", "link", "components", "children" }
local RESERVED = { world = true, scripts = true, links = true }

--- First pass: names, tree. Values come when every entity is known.
---@param node table
---@param path string of the node
---@param parent table? entity
function M.read(scene, node, path, parent)
  if not scene:expect_object(node, path, ENTITY_KEYS) then return end
  local name_node = member(node, "name")
  local name
  if name_node and scene:expect(name_node, path .. ".name", "string") then
    name = name_node.value
    if name == "" or #name > 63 or name:find("[/%.]") then
      scene:problem(name_node, path .. ".name", ('"%s" is no name: 1 to 63 bytes, without "/" and "."'):format(name))
      name = nil
    elseif not parent and RESERVED[name] then
      scene:problem(name_node, path .. ".name", ('"%s" is a name of the host'):format(name))
      name = nil
    end
  elseif not name_node then
    scene:problem(node, path, 'an entity needs a "name"')
  end
  local full = name and (parent and parent.path .. "/" .. name or name)
  if full and scene.by_path[full] then
    scene:problem(name_node, path .. ".name", ('an entity "%s" is there already'):format(full))
  end
  local e = { node = node, json_path = path, name = name, path = full or "?", parent = parent }
  table.insert(scene.entities, e)
  if full then scene.by_path[full] = 0 end
  local children = member(node, "children")
  if children and scene:expect(children, path .. ".children", "array") then
    for i, child in ipairs(children) do M.read(scene, child, join(path .. ".children", i - 1), e) end
  end
end

--- Records the spawn of every entity; values of components follow when all have ids.
function M.spawn(scene)
  for _, e in ipairs(scene.entities) do
    local parent = e.parent and e.parent.id
    e.id = command:spawn({}, { name = e.name, parent = parent })
    scene.by_path[e.path] = e.id
  end
end

--- An entity may name the link that it belongs to.
local function check_link_name(scene, node, path)
  for _, name in ipairs(scene.link_names) do
    if name == node.value then return end
  end
  scene:problem(node, path, ('there is no link "%s"%s'):format(node.value, err.nearest(node.value, scene.link_names)))
end

--- Second pass: the components of every entity, and those of the world.
---@param world_node table?
function M.read_components(scene, world_node)
  for _, e in ipairs(scene.entities) do
    local node = member(e.node, "components")
    e.components = node and values.components(scene, node, e.json_path .. ".components") or {}
    local link_node = member(e.node, "link")
    if link_node and scene:expect(link_node, e.json_path .. ".link", "string") then
      check_link_name(scene, link_node, e.json_path .. ".link")
    end
  end
  scene.world_components = world_node and values.components(scene, world_node, "world") or {}
end

--- Records the components of all entities into the open batch.
function M.record_components(scene)
  for _, pair in ipairs(scene.world_components) do command:insert(scene.world_id, pair[1], pair[2]) end
  for _, e in ipairs(scene.entities) do
    for _, pair in ipairs(e.components) do command:insert(e.id, pair[1], pair[2]) end
  end
end

return M
