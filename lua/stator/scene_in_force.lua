--- What a scene says, item by item, so that it can be compared: settings, scripts and their parameters, links,
--- entities, components and their fields. The items in force are those of the start with what reloads have
--- applied since; they outlive the VM.
---
---   item: key, unique; group; owner, the key of the item that it belongs to; name; text, its value
---         and, while its scene is at hand: path, line, col, node
local buffer = require "string.buffer"
local join = require("stator.scene_reader").join
local keep = require "stator.core.keep"
local link = require "stator.link"
local member = require("stator.scene_reader").member
local settings = require "stator.scene_settings"

---@class stator.SceneInForce
---@field file string
---@field sets string[]
---@field items table[]
---@field waiting table<string, string> key -> value that waits for a restart

local M = {}

-- ---- values as text -------------------------------------------------------------------------

local function number_text(value)
  local text = ("%.14g"):format(value)
  return tonumber(text) == value and text or ("%.17g"):format(value)
end

local function scalar_text(value)
  if type(value) == "string" then return ('"%s"'):format(value) end
  if type(value) == "number" then return number_text(value) end
  return value == nil and "none" or tostring(value)
end

--- The same text for the same value: members sorted, numbers exact.
local function node_text(node)
  local parts = {}
  for i, child in ipairs(node) do
    parts[i] = node.type == "object" and ("%s: %s"):format(child.key, node_text(child)) or node_text(child)
  end
  if node.type == "object" then
    table.sort(parts)
    return #parts == 0 and "{}" or "{ " .. table.concat(parts, ", ") .. " }"
  end
  if node.type == "array" then return "[" .. table.concat(parts, ", ") .. "]" end
  return node.type == "null" and "null" or scalar_text(node.value)
end

-- ---- items ----------------------------------------------------------------------------------

--- Adds an item to the list; its place is that of `node`.
local function add(list, group, owner, name, text, path, node)
  local item = {
    -- unique: what belongs to something has its owner's key in its own
    key = table.concat({ group, group ~= "entity" and owner or "", name }, "\0"), group = group,
    owner = owner, name = name, text = text, path = path,
    line = node.key_line or node.line, col = node.key_col or node.col, node = node,
  }
  list[#list + 1] = item
  return item
end

local SETTINGS = { "tick_hz", "react", "late", "guard_us", "stop_within_s" }

local function add_settings(list, scene)
  local root = scene.root
  for _, name in ipairs { "name", "control" } do
    local node = member(root, name)
    add(list, "setting", nil, name, node and node_text(node) or "none", name, node or root)
  end
  for _, name in ipairs(SETTINGS) do
    add(list, "setting", nil, name, scalar_text(scene.settings[name]), name, member(root, name) or root)
  end
  local limits, reload = member(root, "limits"), member(root, "reload")
  for _, limit in ipairs(settings.LIMITS) do
    local name = limit[1]
    local path = join("limits", name)
    add(list, "setting", nil, path, scalar_text(scene.settings[name]), path,
      limits and member(limits, name) or limits or root)
  end
  for _, name in ipairs(settings.RELOAD) do
    local item = add(list, "reload", nil, name, scalar_text(scene.settings.reload[name]), join("reload", name),
      reload and member(reload, name) or reload or root)
    item.value = scene.settings.reload[name]
  end
end

--- Adds what the order of some named things is; `names` are compared as far as both scenes have them.
local function add_order(list, owner, name, names, path, node)
  if not node then return end
  add(list, "order", owner, name, "", path, node).names = names
end

local function add_scripts(list, scene)
  local names = {}
  for i, s in ipairs(scene.scripts) do
    names[i] = s.name
    local script = add(list, "script", nil, s.name, scalar_text(s.file), s.json_path, s.node)
    for _, child in ipairs(s.node.type == "object" and member(s.node, "params") or {}) do
      local item = add(list, "param", script.key, child.key, node_text(child),
        join(s.json_path .. ".params", child.key), child)
      item.script, item.value = s.name, child.value
    end
  end
  add_order(list, nil, "the scripts", names, "scripts", member(scene.root, "scripts"))
end

local function add_links(list, scene)
  for _, l in ipairs(scene.links) do
    local owner = add(list, "link", nil, l.name, scalar_text(l.settings.driver), l.path, l.node).key
    for _, known in ipairs { link.settings, l.driver.settings } do
      for _, s in ipairs(known) do
        if s.type ~= "points" and s.name ~= "driver" then
          add(list, "link_setting", owner, s.name, scalar_text(l.settings[s.name]), join(l.path, s.name),
            member(l.node, s.name) or l.node).link = l.name
        end
      end
    end
    for _, child in ipairs(member(l.node, "points") or {}) do
      add(list, "point", owner, child.key, node_text(child), ('%s.points["%s"]'):format(l.path, child.key),
        child).link = l.name
    end
  end
end

--- Adds the components of an entity, or of the world, and their fields.
local function add_components(list, owner, entity, node, path)
  for _, child in ipairs(node or {}) do
    local at = join(path, child.key)
    local c = add(list, "component", owner, child.key, node_text(child), at, child)
    c.entity = entity
    for _, field in ipairs(child) do
      local item = add(list, "field", c.key, field.key, node_text(field), join(at, field.key), field)
      item.entity, item.component = entity, child.key
    end
  end
end

local function names_of(node)
  local names = {}
  for i, child in ipairs(node or {}) do names[i] = member(child, "name").value end
  return names
end

local function add_entities(list, scene)
  add_components(list, nil, "world", member(scene.root, "world"), "world")
  local nodes = member(scene.root, "entities")
  add_order(list, nil, "the entities", names_of(nodes), "entities", nodes)
  for _, e in ipairs(scene.entities) do
    local parent = e.parent and e.parent.item.key
    e.item = add(list, "entity", parent, e.path, "there", e.json_path, e.node)
    local owner, link_node, children = e.item.key, member(e.node, "link"), member(e.node, "children")
    add(list, "entity_link", owner, e.path, link_node and node_text(link_node) or "none", join(e.json_path, "link"),
      link_node or e.node)
    add_components(list, owner, e.path, member(e.node, "components"), join(e.json_path, "components"))
    add_order(list, owner, ('the children of "%s"'):format(e.path), names_of(children), e.json_path .. ".children",
      children)
  end
end

--- The items of a scene that has no problems.
---@param scene stator.Scene
---@return table[] in the order: settings, scripts, links, entities
function M.items(scene)
  local list = {}
  add_settings(list, scene)
  add_scripts(list, scene)
  add_links(list, scene)
  add_entities(list, scene)
  return list
end

-- ---- what is in force -----------------------------------------------------------------------

local function name_in_keep(file) return "in_force:" .. file end

--- An item without what belongs to its text.
local function stripped(item)
  return {
    key = item.key, group = item.group, owner = item.owner, name = item.name, text = item.text, names = item.names,
    value = item.value, entity = item.entity, component = item.component, script = item.script, link = item.link,
  }
end

--- Items in force, of a scene or of several.
---@param items table[]
---@param waiting table<string, string>? key -> value
---@return stator.SceneInForce
function M.new(file, sets, items, waiting)
  local state = { file = file, sets = sets, items = {}, waiting = waiting or {} }
  for i, item in ipairs(items) do state.items[i] = stripped(item) end
  return state
end

--- What reloads have left in force, also of a VM that was lost; nil before the first.
---@return stator.SceneInForce?
function M.get(file)
  local bytes = keep.get(name_in_keep(file))
  return bytes and buffer.decode(bytes)
end

--- Keeps it for a VM that takes this one's place. Answers false when there is no room.
---@param state stator.SceneInForce
function M.put(state) return keep.put(name_in_keep(state.file), buffer.encode(state)) end

--- The parameters that a script is given.
---@return table<string, number|string|boolean>
function M.params(state, script)
  local out = {}
  for _, item in ipairs(state.items) do
    if item.group == "param" and item.script == script then out[item.name] = item.value end
  end
  return out
end

--- The settings of "reload".
function M.reload(state)
  local out = {}
  for _, item in ipairs(state.items) do
    if item.group == "reload" then out[item.name] = item.value end
  end
  return out
end

return M
