--- The scene file: what a cell consists of. Reads it with the position of every node, finds all
--- problems at once, and builds the world from it.
local ffi = require "ffi"
local builtin = require "stator.core.builtin"
local command = require "stator.command"
local component = require "stator.component"
local err = require "stator.err"
local event = require "stator.event"
local fieldcheck = require "stator.fieldcheck"
local json = require "stator.core.json"
local keep = require "stator.core.keep"
local link = require "stator.link"
local machine_checks = require "stator.machine_checks"
local registry = require "stator.registry"
local script = require "stator.script"
local world = require "stator.core.world"

local abi = require "stator.abi"
local TYPE = abi.TYPE
local OWNER_HOST = 0

---@class stator.Scene
local Scene = {}
Scene.__index = Scene

local M = {}

-- ---- problems -------------------------------------------------------------------------------

--- Notes a problem at a node. `at_key`: the member's name is what is wrong.
function Scene:problem(node, path, text, at_key)
  if node.broken then return end -- told already
  local line, col = node.line, node.col
  if at_key and node.key_line then line, col = node.key_line, node.key_col end
  table.insert(self.problems, { line = line, col = col, text = ("%s:%d:%d: %s: %s"):format(
    self.shown, line, col, path == "" and "scene" or path, text), order = #self.problems })
end

--- For a problem that has its own place.
function Scene:problem_text(text)
  table.insert(self.problems, { line = math.huge, col = 0, text = text, order = #self.problems })
end

--- All problems as lines, in the order of the file.
function Scene:report()
  table.sort(self.problems, function(a, b)
    if a.line ~= b.line then return a.line < b.line end
    if a.col ~= b.col then return a.col < b.col end
    return a.order < b.order
  end)
  local lines = {}
  for _, p in ipairs(self.problems) do lines[#lines + 1] = p.text end
  return lines
end

-- ---- reading nodes --------------------------------------------------------------------------

local ARTICLE = {
  object = "an object", array = "a list", string = "text", number = "a number", bool = "true or false", null = "null",
}

local function found(node)
  if node.type == "string" then return ('"%s"'):format(node.value) end
  if node.type == "number" then return ("%.14g"):format(node.value) end
  if node.type == "bool" then return tostring(node.value) end
  return ARTICLE[node.type]
end

local function join(path, key)
  if type(key) == "number" then return ("%s[%d]"):format(path, key) end
  return path == "" and key or path .. "." .. key
end

--- The member of an object, or nil.
local function member(node, key)
  for _, child in ipairs(node) do
    if child.key == key then return child end
  end
end

--- Checks the type; notes a problem and answers false when it is another.
function Scene:expect(node, path, type_name)
  if node.type == type_name then return true end
  self:problem(node, path, ("expected %s, got %s"):format(ARTICLE[type_name], found(node)))
  return false
end

--- Checks an object and that it has only known members.
function Scene:expect_object(node, path, known)
  if not self:expect(node, path, "object") then return false end
  for _, child in ipairs(node) do
    local ok = false
    for _, key in ipairs(known) do ok = ok or key == child.key end
    if not ok then
      self:problem(child, join(path, child.key), ("unknown member%s"):format(err.nearest(child.key, known)), true)
    end
  end
  return true
end

function Scene:number(node, path, low, high, otherwise)
  if not node then return otherwise end
  if not self:expect(node, path, "number") then return otherwise end
  if node.value < low or node.value > high then
    self:problem(node, path, ("expected %g to %g, got %g"):format(low, high, node.value))
    return otherwise
  end
  return node.value
end

function Scene:choice(node, path, choices, otherwise)
  if not node then return otherwise end
  if not self:expect(node, path, "string") then return otherwise end
  for _, choice in ipairs(choices) do
    if node.value == choice then return choice end
  end
  self:problem(node, path, ('expected one of "%s", got "%s"%s'):format(table.concat(choices, '", "'), node.value,
    err.nearest(node.value, choices)))
  return otherwise
end

-- ---- parameters of the scene ------------------------------------------------------------------

--- A value given on the command line: a number, true, false, or text.
local function parse_set(text)
  if text == "true" or text == "false" then return text == "true" end
  return tonumber(text) or text
end

local function read_params(scene, node)
  scene.params = {}
  if node and scene:expect(node, "params", "object") then
    for _, child in ipairs(node) do
      if child.type == "number" or child.type == "string" or child.type == "bool" then
        scene.params[child.key] = child.value
      else
        scene:problem(child, "params." .. child.key, "expected a number, text, true or false, got " .. found(child))
      end
    end
  end
  local names = {}
  for name in pairs(scene.params) do names[#names + 1] = name end
  table.sort(names)
  for _, set in ipairs(scene.sets) do
    local name, value = set:match("^([^=]*)=(.*)$")
    if scene.params[name] == nil then
      scene:problem_text(("--set %s: the scene has no parameter \"%s\"%s"):format(set, name, err.nearest(name, names)))
    else
      value = parse_set(value)
      if type(scene.params[name]) == "string" then value = tostring(value) end
      if type(value) ~= type(scene.params[name]) then
        scene:problem_text(("--set %s: expected a %s"):format(set, type(scene.params[name])))
      else
        scene.params[name] = value
      end
    end
  end
  scene.param_names = names
end

--- Puts parameters in: "$name" alone keeps the parameter's type, "${name}" stands inside text.
local function substitute(scene, node, path)
  if node.type == "string" then
    local whole = node.value:match("^%$([%w_]+)$")
    local function value_of(name)
      local value = scene.params[name]
      if value == nil then
        scene:problem(node, path, ('there is no parameter "%s"%s'):format(name, err.nearest(name, scene.param_names)))
        node.broken = true
        return ""
      end
      return value
    end
    if whole then
      local value = value_of(whole)
      node.value = value
      node.type = type(value) == "boolean" and "bool" or type(value)
    else
      node.value = node.value:gsub("%${([%w_]+)}", function(name) return tostring(value_of(name)) end)
    end
  end
  for i, child in ipairs(node) do
    if not (path == "" and child.key == "params") then substitute(scene, child, join(path, child.key or i - 1)) end
  end
end

-- ---- scripts --------------------------------------------------------------------------------

local SCRIPT_KEYS = { "file", "as", "params" }

local function script_params(scene, node, path)
  local out = {}
  if node and scene:expect(node, path, "object") then
    for _, child in ipairs(node) do
      if child.type == "number" or child.type == "string" or child.type == "bool" then
        out[child.key] = child.value
      else
        scene:problem(child, join(path, child.key), "expected a number, text, true or false, got " .. found(child))
      end
    end
  end
  return out
end

--- Where a script lies: beside the scene, else among those that ship with stator.
local function find_script(scene, file)
  local beside = scene.folder .. "/" .. file
  if scene.restoring or script.read_file(beside) then return beside end
  local shipped = builtin("scripts." .. file:gsub("%.lua$", ""):gsub("/", "."))
  return beside, shipped
end

local function read_script(scene, node, path, index)
  scene.scripts_named = scene.scripts_named + 1
  local file_node, as_node = node, nil
  if node.type == "object" then
    scene:expect_object(node, path, SCRIPT_KEYS)
    file_node, as_node = member(node, "file"), member(node, "as")
    if not file_node then
      scene:problem(node, path, 'a script needs a "file"')
      return
    end
  end
  if not scene:expect(file_node, file_node == node and path or path .. ".file", "string") then return end
  local file = file_node.value
  local name = file:gsub("%.lua$", ""):match("[^/]*$")
  if as_node and scene:expect(as_node, path .. ".as", "string") then name = as_node.value end
  for _, other in ipairs(scene.scripts) do
    if other.name == name then
      scene:problem(as_node or file_node, path, ('the name "%s" is taken by another script: give it "as"'):format(name))
      return
    end
  end
  local full, shipped = find_script(scene, file)
  table.insert(scene.scripts, {
    name = name, index = index, file = file, path = full, text = shipped, folder = full:match("^(.*)/[^/]*$") or ".",
    params = node.type == "object" and script_params(scene, member(node, "params"), path .. ".params") or {},
    node = node, json_path = path,
  })
end

local function load_script(scene, s)
  local problem, missing = script.load(s)
  if problem then
    if missing then
      scene:problem(s.node, s.json_path, problem)
    else
      scene:problem_text(problem)
    end
    return
  end
  local params_node = s.node.type == "object" and member(s.node, "params")
  local declared = {}
  for name in pairs(s.params_declared or {}) do declared[#declared + 1] = name end
  table.sort(declared)
  for _, child in ipairs(params_node or {}) do
    if not (s.params_declared or {})[child.key] then
      scene:problem(child, s.json_path .. ".params." .. child.key,
        ("%s declares no such parameter%s"):format(s.file, err.nearest(child.key, declared)), true)
    end
  end
end

-- ---- component values -------------------------------------------------------------------------

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

--- One value of a field. Entities are looked up by path once all are there.
function Scene:field_value(node, path, c, f)
  local t = TYPE[f.type]
  if INTEGERS[t] then
    local low, high = f.min, f.max
    if node.type == "number" and is_whole(node.value, low, high) then return node.value end
    self:problem(node, path, ("expected a whole number from %.0f to %.0f, got %s"):format(low, high, found(node)))
  elseif t == "double" or t == "float" then
    if not self:expect(node, path, "number") then return end
    if in_range(node.value, f) then return node.value end
    self:problem(node, path, ("expected %s, got %s"):format(wanted_number(f), found(node)))
  elseif t == "bool" then
    if self:expect(node, path, "bool") then return node.value end
  elseif t == "char" then
    if self:expect(node, path, "string") then
      if #node.value <= f.count then return node.value end
      self:problem(node, path, ("text of %d bytes; %s holds %d"):format(#node.value, f.name, f.count))
    end
  elseif t == "struct" then
    return self:component_values(node, path, f.layout)
  elseif t == "enum" then
    return self:choice(node, path, c.enums[f.enum]._members)
  elseif node.type == "null" then
    return 0
  elseif self:expect(node, path, "string") then
    return self:entity_ref(node, path)
  end
end

function Scene:entity_ref(node, path)
  local id = self.by_path[node.value]
  if id then return id end
  local names = {}
  for _, e in ipairs(self.entities) do names[#names + 1] = e.path end
  self:problem(node, path, ('there is no entity "%s"%s'):format(node.value, err.nearest(node.value, names)))
end

function Scene:array_value(node, path, c, f)
  if not self:expect(node, path, "array") then return end
  if #node ~= f.count then
    self:problem(node, path, ("expected %d values, got %d"):format(f.count, #node))
    return
  end
  local out = {}
  for i, child in ipairs(node) do out[i] = self:field_value(child, join(path, i - 1), c, f) end
  return #out == f.count and out or nil
end

--- The values of a component, by field.
function Scene:component_values(node, path, c)
  local out = {}
  if not self:expect(node, path, "object") then return out end
  for _, child in ipairs(node) do
    local f, at = c.by_name[child.key], join(path, child.key)
    if not f then
      self:problem(child, at, ("%s has no such field%s"):format(c.name, err.nearest(child.key, c.field_names)), true)
    elseif f.is_array then
      out[child.key] = self:array_value(child, at, c, f)
    else
      out[child.key] = self:field_value(child, at, c, f)
    end
  end
  return out
end

--- Components of an entity: a list of { component, values }.
function Scene:components(node, path)
  local out, names = {}, {}
  if not self:expect(node, path, "object") then return out end
  for _, c in ipairs(registry.recording.component_list) do names[#names + 1] = c.name end
  for _, child in ipairs(node) do
    local c = registry.recording.components[child.key]
    if c then
      out[#out + 1] = { c, self:component_values(child, join(path, child.key), c) }
    else
      self:problem(child, join(path, child.key),
        ("no script declares this component%s"):format(err.nearest(child.key, names)), true)
    end
  end
  return out
end

-- ---- entities -------------------------------------------------------------------------------

local ENTITY_KEYS = { "name", "link", "components", "children" }
local RESERVED = { world = true, scripts = true, links = true }

--- First pass: names, tree. Values come when every entity is known.
function Scene:read_entity(node, path, parent)
  if not self:expect_object(node, path, ENTITY_KEYS) then return end
  local name_node = member(node, "name")
  local name
  if name_node and self:expect(name_node, path .. ".name", "string") then
    name = name_node.value
    if name == "" or #name > 63 or name:find("[/%.]") then
      self:problem(name_node, path .. ".name", ('"%s" is no name: 1 to 63 bytes, without "/" and "."'):format(name))
      name = nil
    elseif not parent and RESERVED[name] then
      self:problem(name_node, path .. ".name", ('"%s" is a name of the host'):format(name))
      name = nil
    end
  elseif not name_node then
    self:problem(node, path, 'an entity needs a "name"')
  end
  local full = name and (parent and parent.path .. "/" .. name or name)
  if full and self.by_path[full] then
    self:problem(name_node, path .. ".name", ('an entity "%s" is there already'):format(full))
  end
  local e = { node = node, json_path = path, name = name, path = full or "?", parent = parent }
  table.insert(self.entities, e)
  if full then self.by_path[full] = 0 end
  local children = member(node, "children")
  if children and self:expect(children, path .. ".children", "array") then
    for i, child in ipairs(children) do self:read_entity(child, join(path .. ".children", i - 1), e) end
  end
end

--- Records the spawn of every entity; values of components follow when all have ids.
function Scene:spawn_entities()
  for _, e in ipairs(self.entities) do
    local parent = e.parent and e.parent.id
    e.id = command:spawn({}, { name = e.name, parent = parent })
    self.by_path[e.path] = e.id
  end
end

--- An entity may name the link that it belongs to.
function Scene:check_link_name(node, path)
  for _, name in ipairs(self.link_names) do
    if name == node.value then return end
  end
  self:problem(node, path, ('there is no link "%s"%s'):format(node.value, err.nearest(node.value, self.link_names)))
end

function Scene:read_components()
  for _, e in ipairs(self.entities) do
    local node = member(e.node, "components")
    e.components = node and self:components(node, e.json_path .. ".components") or {}
    local link_node = member(e.node, "link")
    if link_node and self:expect(link_node, e.json_path .. ".link", "string") then
      self:check_link_name(link_node, e.json_path .. ".link")
    end
  end
end

-- ---- links ----------------------------------------------------------------------------------

local function setting_of(list, name)
  for _, s in ipairs(list) do
    if s.name == name then return s end
  end
end

function Scene:link_setting(node, path, s)
  if s.type == "points" then return node end
  if not self:expect(node, path, s.type) then return end
  if s.type == "number" and (node.value < (s.min or -math.huge) or node.value > (s.max or math.huge)) then
    self:problem(node, path, ("expected %g to %g, got %g"):format(s.min, s.max, node.value))
    return
  end
  if s.whole and node.value % 1 ~= 0 then
    self:problem(node, path, ("expected a whole number, got %g"):format(node.value))
    return
  end
  return node.value
end

function Scene:read_link(node, path)
  table.insert(self.link_names, node.key)
  if not self:expect(node, path, "object") then return end
  local driver_node = member(node, "driver")
  if not driver_node then
    self:problem(node, path, ('a link needs a "driver": %s'):format(table.concat(link.drivers, ", ")))
    return
  end
  local driver_name = self:choice(driver_node, path .. ".driver", link.drivers)
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
      settings[s.name] = self:link_setting(child, join(path, child.key), s)
    else
      self:problem(child, join(path, child.key),
        ("unknown setting of a %s link%s"):format(driver_name, err.nearest(child.key, names)), true)
    end
  end
  for _, s in ipairs(all) do
    if s.required and not member(node, s.name) and not settings.simulate then
      self:problem(node, path, ('setting "%s" is missing'):format(s.name))
    end
  end
  table.insert(self.links, { name = node.key, node = node, path = path, settings = settings, driver = driver })
end

--- "belt1/eye1.PhotoEye.blocked" -> entity, component, field.
function Scene:resolve_point(l, node, path)
  local entity_path, component_name, field_name = node.key:match("^(.-)%.([%w_]+)%.([%w_]+)$")
  if not entity_path then
    self:problem(node, path, 'expected "entity.Component.field"', true)
    return
  end
  local names = {}
  for _, e in ipairs(self.entities) do names[#names + 1] = e.path end
  local id = self.by_path[entity_path]
  if not id and self.restoring then return end
  if not id then
    self:problem(node, path, ('there is no entity "%s"%s'):format(entity_path, err.nearest(entity_path, names)), true)
    return
  end
  local c = registry.recording.components[component_name]
  if not c then
    local list = {}
    for _, known in ipairs(registry.recording.component_list) do list[#list + 1] = known.name end
    self:problem(node, path,
      ('no script declares a component "%s"%s'):format(component_name, err.nearest(component_name, list)), true)
    return
  end
  local f = c.by_name[field_name]
  if not f then
    self:problem(node, path,
      ('%s has no field "%s"%s'):format(c.name, field_name, err.nearest(field_name, c.field_names)), true)
    return
  end
  for _, e in ipairs(self.entities) do
    local has = false
    for _, pair in ipairs(e.components or {}) do has = has or pair[1] == c end
    if self.restoring then has = true end
    if e.path == entity_path and not has then
      self:problem(node, path, ("%s has no %s in this scene"):format(entity_path, c.name), true)
      return
    end
  end
  if not self:expect(node, path, "string") then return end
  local point, wrong = l.driver.points.parse(node.value)
  wrong = wrong or l.driver.points.check(point, f)
  if wrong then
    self:problem(node, path, wrong)
    return
  end
  point.entity, point.component, point.field, point.path = id, c, f, node.key
  return point
end

--- Two inputs on one field would overwrite each other for ever.
function Scene:input_is_free(point, node, l)
  local taken = self.input_points[node.key]
  if point.input and taken then
    local path = l.path .. ".points[\"" .. node.key .. "\"]"
    self:problem(node, path, "link " .. taken .. " fills this field already", true)
    return false
  end
  if point.input then
    self.input_points[node.key] = l.name
    world.aged(point.component.id)
  end
  return true
end

function Scene:read_points()
  self.input_points = {}
  for _, l in ipairs(self.links) do
    local node = member(l.node, "points")
    l.points = {}
    if node and self:expect(node, l.path .. ".points", "object") then
      for _, child in ipairs(node) do
        local point = self:resolve_point(l, child, l.path .. ".points[\"" .. child.key .. "\"]")
        if point and self:input_is_free(point, child, l) then table.insert(l.points, point) end
      end
    end
  end
end

-- ---- loading --------------------------------------------------------------------------------

local TOP_KEYS = {
  "name", "control", "tick_hz", "react", "late", "guard_us", "stop_within_s", "limits", "scripts", "links", "world",
  "entities", "params",
}

--- What scripts may use: { name, lowest, highest, default }.
local LIMITS = {
  { "slice_soft_ms", 0.1, 60000, 2 }, { "slice_ms", 1, 60000, 20 }, { "heap_mb", 8, 1536, 256 },
  { "tasks", 16, 1048576, 1048576 }, { "lost_vms", 1, 1000000, 3 }, { "tick_lua_ms", 0, 60000, 0 },
  { "tick_slices", 0, 1048576, 0 },
}

local function read_file(scene)
  local text, message
  if scene.restoring then
    text = keep.get("scene:" .. scene.file)
  else
    text, message = script.read_file(scene.file)
  end
  if not text then
    scene:problem_text(message)
    return
  end
  keep.put("scene:" .. scene.file, text)
  local root, problem, line, col = json.parse(text)
  if not root then
    scene:problem({ line = line, col = col }, "", problem)
    return
  end
  return root
end

local function read_limits(scene, node)
  local names, s = {}, scene.settings
  for i, limit in ipairs(LIMITS) do names[i] = limit[1] end
  if node and not scene:expect_object(node, "limits", names) then node = nil end
  for _, limit in ipairs(LIMITS) do
    local name = limit[1]
    s[name] = scene:number(node and member(node, name), "limits." .. name, limit[2], limit[3], limit[4])
  end
  script.text_max_mb = s.heap_mb
  if s.slice_soft_ms > s.slice_ms then
    scene:problem(member(node, "slice_soft_ms") or node, "limits.slice_soft_ms",
      ("expected at most slice_ms (%g), got %g"):format(s.slice_ms, s.slice_soft_ms))
  end
end

local function read_settings(scene, root)
  scene.settings = {
    name = scene.shown,
    tick_hz = scene:number(member(root, "tick_hz"), "tick_hz", 0.1, 10000, 100),
    react = scene:choice(member(root, "react"), "react", { "immediate", "tick" }, "immediate"),
    late = scene:choice(member(root, "late"), "late", { "skip", "burst", "fault" }, "skip"),
    guard_us = scene:number(member(root, "guard_us"), "guard_us", 0, 1e6, 0),
    stop_within_s = scene:number(member(root, "stop_within_s"), "stop_within_s", 0.1, 600, 2),
  }
  local name = member(root, "name")
  if name and scene:expect(name, "name", "string") then scene.settings.name = name.value end
  local control = member(root, "control")
  if control and scene:expect(control, "control", "string") then
    local path = control.value
    if path == "" then scene:problem(control, "control", "expected the path of a socket, got an empty text") end
    scene.settings.control = path:sub(1, 1) == "/" and path or scene.folder .. "/" .. path
  end
  read_limits(scene, member(root, "limits"))
end

local function for_each(scene, root, key, type_name, fn)
  local node = member(root, key)
  if not node or not scene:expect(node, key, type_name) then return end
  for i, child in ipairs(node) do fn(child, join(key, child.key or i - 1), i) end
end

--- The names of the entities that the host makes.
local function host_name(name) return (name:gsub("[/%.]", "_")) end
local function script_path(name) return "scripts/" .. host_name(name) end
local function link_path(name) return "links/" .. host_name(name) end

--- Names that scripts use and the scene has to have.
local function check_references(scene)
  local paths, host = {}, { world = true, scripts = true, links = true }
  for _, s in ipairs(scene.scripts) do host[script_path(s.name)] = true end
  for _, l in ipairs(scene.links) do host[link_path(l.name)] = true end
  for _, e in ipairs(scene.entities) do paths[#paths + 1] = e.path end
  for _, s in ipairs(scene.scripts) do paths[#paths + 1] = script_path(s.name) end
  for _, l in ipairs(scene.links) do paths[#paths + 1] = link_path(l.name) end
  for _, used in ipairs(registry.recording.entities) do
    if not scene.by_path[used.path] and not host[used.path] then
      scene:problem_text(('%s: the scene has no entity "%s"%s'):format(used.place, used.path,
        err.nearest(used.path, paths)))
    end
  end
  for _, used in ipairs(registry.recording.links) do
    local names, ok = scene.link_names, false
    for _, name in ipairs(names) do ok = ok or name == used.name end
    if not ok then
      scene:problem_text(('%s: the scene has no link "%s"%s'):format(used.place, used.name,
        err.nearest(used.name, names)))
    end
  end
end

--- Spawns what the host itself shows: the world entity, one entity a script and a link.
local function spawn_host_entities(scene, host)
  scene.world_id = command:spawn({}, { name = "world" })
  local scripts = command:spawn({}, { name = "scripts" })
  for _, s in ipairs(scene.scripts) do
    s.entity = command:spawn({}, { name = host_name(s.name), parent = scripts })
  end
  local links = command:spawn({}, { name = "links" })
  for _, l in ipairs(scene.links) do
    l.entity = command:spawn({ host.Link {} }, { name = host_name(l.name), parent = links })
  end
end

local function record_components(scene)
  for _, pair in ipairs(scene.world_components) do command:insert(scene.world_id, pair[1], pair[2]) end
  for _, e in ipairs(scene.entities) do
    for _, pair in ipairs(e.components) do command:insert(e.id, pair[1], pair[2]) end
  end
end

--- The entities of a world that is there already; those that are gone have no id.
local function find_entities(scene)
  local function find(path)
    local id = abi.C.ecs_lookup(abi.world, path)
    return id ~= 0 and id or nil
  end
  scene.world_id = find("world")
  for _, s in ipairs(scene.scripts) do s.entity = find(script_path(s.name)) end
  for _, l in ipairs(scene.links) do l.entity = find(link_path(l.name)) end
  for _, e in ipairs(scene.entities) do
    e.id = find(e.path)
    scene.by_path[e.path] = e.id
  end
end

--- What is wrong with the texts of the scripts, once the types are laid out.
local function check_texts(scene)
  local files, set = {}, registry.recording
  for _, s in ipairs(scene.scripts) do
    for _, file in ipairs(s.files) do files[#files + 1] = file end
  end
  local sources = script.sources(files)
  local problems = fieldcheck.check(sources, function(name)
    local c = set.components[name]
    return c and c.field_names
  end)
  local returned = machine_checks.check(set.machines, sources, function() return true end)
  for _, problem in ipairs(returned) do problems[#problems + 1] = problem end
  return problems
end

--- Reads the scene and runs the bodies of its scripts. Answers the scene; its problems may be empty.
---@param file string path of the scene
---@param sets string[] "key=value"
---@param declare_host fun(): table declares the host's own components
---@param restoring boolean? a VM was lost: the world is there, files are taken as they were read
---@return stator.Scene
function M.load(file, sets, declare_host, restoring)
  script.restoring = restoring == true
  local scene = setmetatable({
    file = file, restoring = restoring, shown = file, folder = file:match("^(.*)/[^/]*$") or ".", sets = sets,
    problems = {}, scripts = {}, links = {}, link_names = {}, scripts_named = 0,
    entities = {}, by_path = {}, world_components = {},
  }, Scene)
  local root = read_file(scene)
  if not root or not scene:expect_object(root, "", TOP_KEYS) then return scene end
  read_params(scene, member(root, "params"))
  substitute(scene, root, "")
  read_settings(scene, root)
  for_each(scene, root, "scripts", "array", function(node, path, i) read_script(scene, node, path, i) end)
  local host = declare_host()
  local before = #scene.problems
  for _, s in ipairs(scene.scripts) do load_script(scene, s) end
  for _, problem in ipairs(component.freeze(registry.recording)) do scene:problem_text(problem) end
  for _, problem in ipairs(event.freeze(registry.recording)) do scene:problem_text(problem) end
  local laid_out = #scene.problems == before and #scene.scripts == scene.scripts_named
  if laid_out then
    for _, problem in ipairs(check_texts(scene)) do scene:problem_text(problem) end
  end
  for_each(scene, root, "links", "object", function(node, path) scene:read_link(node, path) end)
  for_each(scene, root, "entities", "array", function(node, path) scene:read_entity(node, path, nil) end)
  if restoring then find_entities(scene) end
  if laid_out then -- without its scripts a scene's components mean nothing
    scene:build_queries()
    if restoring then scene:rebuild() else scene:build(root, host) end
  end
  return scene
end

function Scene:build_queries()
  for _, q in ipairs(registry.recording.queries) do
    local problem = require("stator.query").build(q)
    if problem then self:problem_text(problem) end
  end
end

--- In place of build when the world is there. Points whose entity is gone are left out.
function Scene:rebuild()
  self:read_points()
  self:load_simulators()
end

function Scene:load_simulators()
  for _, l in ipairs(self.links) do
    local node = member(l.node, "simulate")
    if node and node.type == "string" then
      local problem
      l.run_simulator, problem = script.load_simulator(self.folder .. "/" .. node.value, node.value)
      if problem then self:problem(node, l.path .. ".simulate", problem) end
    end
  end
end

--- Second half: everything that needs the components' layout.
function Scene:build(root, host)
  check_references(self)
  world.phase "run"
  world.begin(OWNER_HOST, 0)
  spawn_host_entities(self, host)
  self:spawn_entities()
  self:read_components()
  local world_node = member(root, "world")
  self.world_components = world_node and self:components(world_node, "world") or {}
  self:read_points()
  self:load_simulators()
  if #self.problems > 0 then
    world.drop()
    return
  end
  record_components(self)
  world.seal()
end

--- Applies what was recorded and makes the links. Answers nil or a problem.
function Scene:apply()
  if not self.restoring then
    local ok, message = world.apply_scene()
    if not ok then return message end
  end
  for _, l in ipairs(self.links) do
    local made = link.create(l.name, l.settings, l.points)
    made.entity, made.run_simulator = l.entity, l.run_simulator
  end
end

return M
