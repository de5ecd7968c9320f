--- Links of a scene file: their settings, and the points that bind fields to addresses.
local err = require "stator.err"
local join = require("stator.scene_reader").join
local link = require "stator.link"
local member = require("stator.scene_reader").member
local world = require "stator.core.world"

local M = {}

local function setting_of(list, name)
  for _, s in ipairs(list) do
    if s.name == name then return s end
  end
end

local function link_setting(scene, node, path, s)
  if s.type == "points" then return node end
  if not scene:expect(node, path, s.type) then return end
  if s.type == "number" and (node.value < (s.min or -math.huge) or node.value > (s.max or math.huge)) then
    scene:problem(node, path, ("expected %g to %g, got %g"):format(s.min, s.max, node.value))
    return
  end
  if s.whole and node.value % 1 ~= 0 then
    scene:problem(node, path, ("expected a whole number, got %g"):format(node.value))
    return
  end
  return node.value
end

--- Reads a link: its driver and its settings. Points come when components and entities are known.
function M.read(scene, node, path)
  table.insert(scene.link_names, node.key)
  if not scene:expect(node, path, "object") then return end
  local driver_node = member(node, "driver")
  if not driver_node then
    scene:problem(node, path, ('a link needs a "driver": %s'):format(table.concat(link.drivers, ", ")))
    return
  end
  local driver_name = scene:choice(driver_node, path .. ".driver", link.drivers)
  if not driver_name then return end
  local driver = require("stator.driver." .. driver_name)
  local settings, names = {}, {}
  local all = {}
  for _, list in ipairs { link.settings, driver.settings } do
    for _, s in ipairs(list) do
      all[#all + 1], names[#names + 1] = s, s.name
      settings[s.name] = s.default
    end
  end
  for _, child in ipairs(node) do
    local s = setting_of(all, child.key)
    if s then
      settings[s.name] = link_setting(scene, child, join(path, child.key), s)
    else
      scene:problem(child, join(path, child.key),
        ("unknown setting of a %s link%s"):format(driver_name, err.nearest(child.key, names)), true)
    end
  end
  for _, s in ipairs(all) do
    if s.required and not member(node, s.name) and not settings.simulate then
      scene:problem(node, path, ('setting "%s" is missing'):format(s.name))
    end
  end
  table.insert(scene.links, { name = node.key, node = node, path = path, settings = settings, driver = driver })
end

--- "belt1/eye1.PhotoEye.blocked" -> entity, component, field.
local function resolve_point(scene, l, node, path)
  local entity_path, component_name, field_name = node.key:match("^(.-)%.([%w_]+)%.([%w_]+)$")
  if not entity_path then
    scene:problem(node, path, 'expected "entity.Component.field"', true)
    return
  end
  local names = {}
  for _, e in ipairs(scene.entities) do names[#names + 1] = e.path end
  local id = scene.by_path[entity_path]
  if not id and scene.restoring then return end
  if not id then
    scene:problem(node, path, ('there is no entity "%s"%s'):format(entity_path, err.nearest(entity_path, names)), true)
    return
  end
  local c = scene.lookup.find(component_name)
  if not c then
    scene:problem(node, path,
      ('no script declares a component "%s"%s'):format(component_name,
        err.nearest(component_name, scene.lookup.names())), true)
    return
  end
  local f = c.by_name[field_name]
  if not f then
    scene:problem(node, path,
      ('%s has no field "%s"%s'):format(c.name, field_name, err.nearest(field_name, c.field_names)), true)
    return
  end
  for _, e in ipairs(scene.entities) do
    local has = false
    for _, pair in ipairs(e.components or {}) do has = has or pair[1] == c end
    if scene.restoring then has = true end
    if e.path == entity_path and not has then
      scene:problem(node, path, ("%s has no %s in this scene"):format(entity_path, c.name), true)
      return
    end
  end
  if not scene:expect(node, path, "string") then return end
  local point, wrong = l.driver.points.parse(node.value)
  wrong = wrong or l.driver.points.check(point, f)
  if wrong then
    scene:problem(node, path, wrong)
    return
  end
  point.entity, point.component, point.field, point.path = id, c, f, node.key
  return point
end

--- Two inputs on one field would overwrite each other for ever.
local function input_is_free(scene, point, node, l)
  local taken = scene.input_points[node.key]
  if point.input and taken then
    local path = l.path .. ".points[\"" .. node.key .. "\"]"
    scene:problem(node, path, "link " .. taken .. " fills this field already", true)
    return false
  end
  if point.input then scene.input_points[node.key] = l.name end
  return true
end

--- Reads the points of all links. Those whose entity is gone are left out when a VM was lost.
function M.read_points(scene)
  scene.input_points = {}
  for _, l in ipairs(scene.links) do
    local node = member(l.node, "points")
    l.points = {}
    if node and scene:expect(node, l.path .. ".points", "object") then
      for _, child in ipairs(node) do
        local point = resolve_point(scene, l, child, l.path .. ".points[\"" .. child.key .. "\"]")
        if point and input_is_free(scene, point, child, l) then table.insert(l.points, point) end
      end
    end
  end
end

--- Has the components that input points fill keep their age.
function M.age_inputs(scene)
  for _, l in ipairs(scene.links) do
    for _, point in ipairs(l.points) do
      if point.input then world.aged(point.component.id) end
    end
  end
end

return M
