--- The registry: what scripts' bodies declare. Nothing runs until it is frozen.
---
--- A *set* holds the declarations of all scripts of one revision. Bodies declare into `recording`; the
--- runtime reads `live`. At the start both are one; a reload records into a fork of the live set, from
--- which the scripts that run again are left out, and puts it in the place of that (stator.reload).
local err = require "stator.err"

---@class stator.Script one use of a script file in the scene
---@field name string its instance name
---@field index integer order in the scene, from 1
---@field params table values from the scene
---@field params_declared table<string, string>? name -> place of stator.params
---@field params_read table<string, boolean>? those that its body has read
---@field position integer how many things its body has declared
---@field revision integer of the cell, in which its body ran last

---@class stator.Type a component, struct, enum or event that scripts name
---@field kind string
---@field name string
---@field places table[] where it is declared: script, place, and what the declaration says
---@field mentions { script: stator.Script, place: string }[] where it is named
---@field object table? what scripts hold

---@class stator.Set
---@field types table<string, table<string, stator.Type>> by kind and name
---@field type_list stator.Type[] in the order of their first mention

local M = {
  script = nil, ---@type stator.Script? whose body runs now
}

local KINDS = { "component", "struct", "enum", "event" }
--- Lists of declarations, each with its script.
local LISTS = { "systems", "tasks", "per_entity", "observers", "machines", "inboxes", "service_list", "queries",
  "entities", "links" }

---@return stator.Set
function M.new_set()
  local set = {
    types = {}, type_list = {}, services = {}, components = {}, component_list = {},
    versions = {}, -- with which names are persisted
    persisted = {}, -- what bodies have read under a name, as it was kept; false: nothing
  }
  for _, kind in ipairs(KINDS) do set.types[kind] = {} end
  for _, name in ipairs(LISTS) do set[name] = {} end
  return set
end

M.live = M.new_set()
M.recording = M.live

local function kept_of(list, leaves)
  local kept = {}
  for _, item in ipairs(list) do
    if not leaves[item.script] then kept[#kept + 1] = item end
  end
  return kept
end

--- A set with what another has, but for the declarations of some scripts.
---@param set stator.Set
---@param leaves table<stator.Script, boolean>
---@return stator.Set
function M.fork(set, leaves)
  local fork = M.new_set()
  for _, name in ipairs(LISTS) do fork[name] = kept_of(set[name], leaves) end
  for name, version in pairs(set.versions) do fork.versions[name] = version end -- each for itself
  for _, service in ipairs(fork.service_list) do fork.services[service.title] = service end
  for _, t in ipairs(set.type_list) do
    local mentions = kept_of(t.mentions, leaves)
    if #mentions > 0 then
      local copy = {
        kind = t.kind, name = t.name, places = kept_of(t.places, leaves), mentions = mentions, object = t.object,
      }
      fork.types[t.kind][t.name] = copy
      table.insert(fork.type_list, copy)
    end
  end
  return fork
end

--- The declaring script and the place of the call; raises outside of a body.
---@param what string what is being declared, for the message
---@param level integer stack level of the caller
function M.declare(what, level)
  local script = M.script
  if not script then
    error(what .. " is declared in a script's body, not while it runs", level + 1)
  end
  script.position = script.position + 1
  local info = debug.getinfo(level, "Sl")
  return script, script.position, info.short_src .. ":" .. info.currentline
end

--- Notes that the body which runs names a type.
---@return stator.Type
function M.mention(kind, name, place)
  local set = M.recording
  local t = set.types[kind][name]
  if not t then
    t = { kind = kind, name = name, places = {}, mentions = {} }
    set.types[kind][name] = t
    table.insert(set.type_list, t)
  end
  table.insert(t.mentions, { script = M.script, place = place })
  return t
end

--- The types of a kind, in order.
---@param set stator.Set
---@return stator.Type[]
function M.types_of(set, kind)
  local list = {}
  for _, t in ipairs(set.type_list) do
    if t.kind == kind then list[#list + 1] = t end
  end
  return list
end

--- What is wrong with a type that is named and declared nowhere.
---@return string
function M.declared_nowhere(set, t)
  local names = {}
  for _, other in ipairs(M.types_of(set, t.kind)) do
    if other.places[1] then names[#names + 1] = other.name end
  end
  return ('%s: %s "%s" is declared nowhere%s'):format(t.mentions[1].place, t.kind, t.name, err.nearest(t.name, names))
end

--- Raises on a key of `options` that is not in `known`.
---@param known string[]
---@param level integer? stack level to blame; nil: the innermost line of a script
function M.check_options(what, options, known, level)
  if type(options) ~= "table" then
    error(("%s: expected a table of options, got %s"):format(what, type(options)), (level or 2) + 1)
  end
  local names = {}
  for key in pairs(options) do names[#names + 1] = tostring(key) end
  table.sort(names)
  for _, name in ipairs(names) do
    local found = false
    for _, k in ipairs(known) do found = found or k == name end
    if not found then
      local message = ('%s: unknown option "%s"%s'):format(what, name, err.nearest(name, known))
      if not level then err.raise(message) end
      error(message, level + 1)
    end
  end
end

--- Key of T2 without the spawn sequence: phase, script, position.
M.PHASES = { startup = 0, pre_update = 1, update = 2, post_update = 3 }
M.PHASE_NAMES = { "startup", "pre_update", "update", "post_update" }
function M.order(phase, script_index, position)
  return (phase * 4096 + script_index) * 16384 + position
end

return M
