--- What has changed between the scene in force and its file as it is now, and the part of it that the
--- running cell can take: parameters of scripts, values of components, the settings of "reload".
---
---   state = scene_diff.in_force(file, sets)
---   diff = scene_diff.compare(state, { scripts = uses })     -- reads only; diff.problems, or diff.changes
---   told = scene_diff.record(diff.changes)                   -- into the open batch, in a step
---   state = scene_diff.accept(state, diff)                   -- what waits for a restart stays in later diffs
local ffi = require "ffi"
local abi = require "stator.abi"
local command = require "stator.command"
local in_force = require "stator.scene_in_force"
local keep = require "stator.core.keep"
local reader = require "stator.scene_reader"
local scene = require "stator.scene"
local script = require "stator.script"
local values = require "stator.scene_values"
local views = require "stator.views"
local world = require "stator.core.world"

---@class stator.SceneChange
---@field kind "param"|"value"|"component"|"setting"|"restart"
---@field path string of the file: "entities[0].components.Belt.speed_m_s"
---@field file string
---@field line integer
---@field col integer
---@field from string value as text; "default" when the file does not give it, "none" for what was not there
---@field to string
---@field text string all of it in one line
---@field restart boolean? the running cell cannot take it
---@field waiting boolean? it was accepted before, and still waits for a restart
---@field script string? of a parameter
---@field name string? of a parameter or setting
---@field value any of a parameter or setting; nil: the default
---@field from_value any the same, as it was
---@field entity string? path of a value's or component's entity
---@field component string?
---@field field string? of a value
---@field key string of the item, for accept
---@field node table? of the new value

---@class stator.SceneDiff
---@field problems string[] of the file, as `stator check` tells them; then there are no changes
---@field changes stator.SceneChange[] in the order of the file
---@field items table[] of the file

local M = {}

local function by_key(items)
  local map = {}
  for _, item in ipairs(items) do map[item.key] = item end
  return map
end

-- ---- what differs ---------------------------------------------------------------------------

--- Of the names that are in both lists, those of the first, in its order.
local function common(names, other)
  local has, out = {}, {}
  for _, name in ipairs(other) do has[name] = true end
  for _, name in ipairs(names) do
    if has[name] then out[#out + 1] = name end
  end
  return out
end

--- Both values as text; the same text when there is no change.
local function texts_of(old, new)
  if old and new and old.names then
    return table.concat(common(old.names, new.names), ", "), table.concat(common(new.names, old.names), ", ")
  end
  local missing = ((old or new).group == "field" or (old or new).group == "param") and "default" or "none"
  return old and old.text or missing, new and new.text or missing
end

--- The name of an entity in a value that the cell in force has none of, or nil.
local function missing_entity(node, old_by_key)
  if node.entity then
    return not old_by_key[node.entity] and node.entity or nil
  end
  for _, child in ipairs(node) do
    local name = missing_entity(child, old_by_key)
    if name then return name end
  end
end

local WHAT = {
  setting = function(item) return ('the setting "%s"'):format(item.name) end,
  reload = function(item) return ('the setting "reload.%s"'):format(item.name) end,
  script = function(item) return ('the script "%s"'):format(item.name) end,
  param = function(item) return ('the parameter "%s" of the script "%s"'):format(item.name, item.script) end,
  link = function(item) return ('the link "%s"'):format(item.name) end,
  link_setting = function(item) return ('the setting "%s" of the link "%s"'):format(item.name, item.link) end,
  point = function(item) return ('the point "%s" of the link "%s"'):format(item.name, item.link) end,
  order = function(item) return "the order of " .. item.name end,
  entity = function(item) return ('the entity "%s"'):format(item.name) end,
  entity_link = function(item) return ('the link of the entity "%s"'):format(item.name) end,
  component = function(item) return ('the component %s of "%s"'):format(item.name, item.entity) end,
  field = function(item) return ('%s.%s of "%s"'):format(item.component, item.name, item.entity) end,
}

--- Things that are there or not; of the others the values count.
local PRESENCE = { script = true, link = true, point = true, entity = true, component = true }

local function sentence(change, old, new, missing)
  local item = new or old
  local text = WHAT[item.group](item)
  if PRESENCE[item.group] and not (old and new) then
    text = text .. (new and " is new" or " is no longer there")
  else
    text = ("%s changes from %s to %s"):format(text, change.from, change.to)
  end
  if missing then text = ('%s, and there is no entity "%s" yet'):format(text, missing) end
  if not change.restart then return text end
  return text .. (change.waiting and "; it still waits for a restart" or "; it needs a restart")
end

local KIND = { param = "param", field = "value", component = "component", reload = "setting" }

--- Fills in what the kinds have of their own.
local function describe(change, old, new)
  local item = new or old
  if item.group == "param" or item.group == "reload" then
    change.script, change.name = item.script, item.name
    change.value, change.from_value = nil, nil
    if new then change.value = new.value end
    if old then change.from_value = old.value end
  elseif item.group == "component" then
    change.entity, change.component = item.entity, item.name
  elseif item.group == "field" then
    change.entity, change.component, change.field = item.entity, item.component, item.name
  end
end

local HOME = { script = "scripts", link = "links", entity = "entities", component = "world" }
local BELOW = { component = ".components.%s", param = ".params.%s", field = ".%s", point = '.points["%s"]' }

--- Where the file would have something that it no longer has.
---@param owner table? item of the file
local function place_of_removed(old, owner, root)
  local home = HOME[old.group]
  if owner then
    local path = owner.path .. (old.group == "entity" and ".children" or BELOW[old.group]:format(old.name))
    return { path = path, line = owner.line, col = owner.col }
  end
  local node = reader.member(root, home) or root
  local path = (old.group == "link" or old.group == "component") and reader.join(home, old.name) or home
  return { path = path, line = node.key_line or node.line, col = node.key_col or node.col }
end

--- A change of one item; `at` is where the file says it, or would.
local function change_of(state, entities, old, new, at, shown)
  local from, to = texts_of(old, new)
  local item = new or old
  if old and new and (from == to or item.group == "component") then return end
  local change = {
    kind = KIND[item.group] or "restart", path = at.path, file = shown,
    line = at.line, col = at.col, from = from, to = to, key = item.key, node = new and new.node,
  }
  local missing = new and (item.group == "field" or item.group == "component") and missing_entity(new.node, entities)
  if missing then change.kind = "restart" end
  change.restart = change.kind == "restart" or (item.group == "component" and not new) or nil
  change.waiting = change.restart and state.waiting[item.key] == to or nil
  describe(change, old, new)
  change.text = ("%s:%d:%d: %s: %s"):format(shown, change.line, change.col, change.path,
    sentence(change, old, new, missing))
  return change
end

--- The changes between what is in force and the items of the file.
local function changes_of(state, items, loaded)
  local old_by_key, new_by_key, entities, changes = by_key(state.items), by_key(items), { world = true }, {}
  for _, item in ipairs(state.items) do
    if item.group == "entity" then entities[item.name] = true end
  end
  --- Whether what an item belongs to is there before and after, and the same.
  local function owner_stays(item)
    if not item.owner then return true end
    local old, new = old_by_key[item.owner], new_by_key[item.owner]
    return old and new and (old.group == "component" or old.text == new.text)
  end
  local function note(old, new, at)
    local change = change_of(state, entities, old, new, at, loaded.shown)
    if not change then return end
    changes[#changes + 1] = change
    change.sequence = #changes
  end
  for _, new in ipairs(items) do
    local old = old_by_key[new.key]
    if (old or new.group ~= "order") and owner_stays(new) then note(old, new, new) end
  end
  for _, old in ipairs(state.items) do
    if not new_by_key[old.key] and old.group ~= "order" and owner_stays(old) then
      note(old, nil, place_of_removed(old, new_by_key[old.owner], loaded.root))
    end
  end
  table.sort(changes, function(a, b)
    if a.line ~= b.line then return a.line < b.line end
    if a.col ~= b.col then return a.col < b.col end
    return a.sequence < b.sequence
  end)
  return changes
end

-- ---- comparing ------------------------------------------------------------------------------

--- What is in force: the scene as it was started, with what was accepted since; also of a VM that was lost.
---@param file string path of the scene, as it was started
---@param sets string[] "key=value" of the command line
---@return stator.SceneInForce
function M.in_force(file, sets)
  local state = in_force.get(file)
  if state then return state end
  return in_force.new(file, sets, in_force.items(scene.read(file, keep.get("scene:" .. file), sets)))
end

--- Compares what is in force with the scene file. Changes nothing.
---@param state stator.SceneInForce
---@param options { text: string?, unchecked: boolean?, components: table|function|nil, scripts: table?, used: table? }?
---  text: of the file, which is read here without;
---  unchecked: what depends on the components and scripts is not looked at;
---  components: by name, or a function of the name, as they will be; those of the registry without;
---  scripts: name -> stator.Script whose body has run, so that parameters can be checked;
---  used: { entities, links }, lists as the registry has them of the names that scripts use; its own without
---@return stator.SceneDiff
function M.compare(state, options)
  options = options or {}
  local text, message = options.text, nil
  if not text then text, message = script.read_file(state.file) end
  if not text then return { problems = { message }, changes = {}, items = {} } end
  local loaded = scene.read(state.file, text, state.sets, options.components)
  if loaded.root and not options.unchecked then scene.check(loaded, options.scripts, options.used) end
  local problems = loaded:report()
  if #problems > 0 then return { problems = problems, changes = {}, items = {} } end
  local items = in_force.items(loaded)
  return { problems = {}, changes = changes_of(state, items, loaded), items = items }
end

-- ---- applying -------------------------------------------------------------------------------

--- The default of a field, as commands take it.
local function default_of(c, f)
  local kind = abi.TYPE[f.type]
  if f.layout or kind == "entity" then
    if not f.is_array then return f.layout and {} or 0 end
    local list = {}
    for i = 1, f.count do list[i] = f.layout and {} or 0 end
    return list
  end
  local _, _, bytes = world.fields(c.id)
  return views.to_table(c, ffi.cast(c.read_pointer, bytes)[0])[f.name]
end

--- The values that a change gives the component's fields, by name; nil after noting what does not fit.
local function values_of(reading, change, c)
  if change.kind == "component" then
    local out = values.field_values(reading, change.node, change.path, c)
    return #reading.problems == 0 and out or nil
  end
  local f = c.by_name[change.field]
  if not f then
    reading:problem(change, change.path, ("%s has no such field any more"):format(c.name))
    return
  end
  local value
  if change.node then
    value = values.field_value(reading, change.node, change.path, c, f)
  else
    value = default_of(c, f)
  end
  return #reading.problems == 0 and { [f.name] = value } or nil
end

--- A reader for values of the world as it is.
local function world_reader(shown)
  local by_path = setmetatable({}, { __index = function(_, path)
    local id = abi.C.ecs_lookup(abi.world, path)
    return id ~= 0 and id or nil
  end })
  return setmetatable({ shown = shown, problems = {}, entities = {}, by_path = by_path }, reader.Reader)
end

local function record_one(reading, change, lookup)
  local id, c = reading.by_path[change.entity], lookup.find(change.component)
  if not id then
    reading:problem(change, change.path, ('there is no entity "%s" any more'):format(change.entity))
  elseif not c or not c.id then
    reading:problem(change, change.path, ("there is no component %s any more"):format(change.component))
  elseif change.kind == "value" and not abi.C.ecs_has(abi.world, id, c.id) then
    reading:problem(change, change.path, ("%s has no %s any more"):format(change.entity, change.component))
  else
    local given = values_of(reading, change, c)
    if not given then return end
    if not abi.C.ecs_has(abi.world, id, c.id) then
      command:insert(id, c, given)
    elseif next(given) ~= nil then
      command:set(id, c, given)
    end
  end
end

--- Records changes of values, and components that were added, into the open batch; others are passed over.
--- Only fields that the file has changed are set. A component that a script has added by itself is kept.
---@param changes stator.SceneChange[]
---@param components table|fun(name: string): table?|nil by name; nil: those of the registry
---@return string[] what could not be recorded, as lines: entities, components that are gone
function M.record(changes, components)
  local told, lookup = {}, values.lookup(components)
  for _, change in ipairs(changes) do
    if (change.kind == "value" or change.kind == "component") and not change.restart then
      local reading = world_reader(change.file)
      record_one(reading, change, lookup)
      for _, line in ipairs(reading:report()) do told[#told + 1] = line end
    end
  end
  return told
end

--- What is in force once the changes of a diff are applied: later diffs are against it. What needs a restart is
--- not in force, so later diffs name it again. It is kept for a VM that takes this one's place.
---@param state stator.SceneInForce is left as it was, to go back to with scene_diff.go_back
---@param diff stator.SceneDiff without problems
---@return stator.SceneInForce
---@return boolean kept false: there was no room, a VM that takes this one's place would not know
function M.accept(state, diff)
  local taken, waiting, items, new = {}, {}, {}, by_key(diff.items)
  for _, change in ipairs(diff.changes) do
    if change.restart then waiting[change.key] = change.to else taken[change.key] = true end
  end
  for _, item in ipairs(state.items) do
    local now = item.group == "component" and new[item.key]
    if not taken[item.key] then items[#items + 1] = now or item end
  end
  for _, item in ipairs(diff.items) do
    if taken[item.key] or (item.group == "field" and taken[item.owner]) then items[#items + 1] = item end
  end
  local after = in_force.new(state.file, state.sets, items, waiting)
  return after, in_force.put(after)
end

--- Puts in force what was before an accept.
---@param state stator.SceneInForce
---@return boolean kept as of accept
function M.go_back(state) return in_force.put(state) end

return M
