--- Entities are numbers with methods: numbers get a base metatable whose index is a function. They
--- read; what changes them is `cmd`.
local ffi = require "ffi"
local abi = require "stator.abi"
local core = require "stator.core.world"
local err = require "stator.err"
local registry = require "stator.registry"
local task_core = require "stator.core.task"

local C, world, cast = abi.C, abi.world, ffi.cast

local M = {}
local Entity = {} -- methods of ids
M.Entity = Entity

local function no_entity(id)
  err.raise(("entity %s does not exist"):format(tostring(id)))
end

--- "belt1/eye1" for one with a name, else "#12".
function M.path(id)
  if not C.ecs_alive(world, id) then return nil end
  local parts, at = {}, id
  while at ~= 0 do
    local name = C.ecs_name(world, at)
    table.insert(parts, 1, name ~= nil and ffi.string(name) or "#" .. at % 4294967296)
    at = C.ecs_parent(world, at)
  end
  return table.concat(parts, "/")
end

local function need_component(component)
  if getmetatable(component) ~= require("stator.component").Component then
    err.raise("expected a component, got " .. err.shown(component))
  end
  if not component.id then err.raise(component.name .. " is not laid out yet: scripts' bodies only declare") end
end

M.need_component = need_component

local function absent(id, component)
  need_component(component)
  if not C.ecs_alive(world, id) then no_entity(id) end
  if component.is_tag then err.raise(component.name .. " is a tag and has no values: use has()") end
  err.raise(("%s has no %s"):format(M.path(id), component.name))
end

--- Seconds since the entity's component was last written, or confirmed; math.huge when that was before the
--- cell started: the scene's values. Raises when it is absent, or does not keep its age.
---@param component stator.Component
---@return number
function Entity.age(id, component)
  need_component(component)
  local at = C.ecs_written_s(world, id, component.id)
  if at == -1 then return math.huge end
  if at >= 0 then return task_core.now() - at end
  if C.ecs_view(world, id, component.id) == nil then absent(id, component) end
  err.raise(("%s does not keep its age: declare it with { age = true }"):format(component.name))
end

local AGE_OPTIONS = { "max_age_s" }

--- Raises code "stale" when the value is older than the options say.
local function check_age(id, component, options)
  registry.check_options("get", options, AGE_OPTIONS)
  local max_age_s = options.max_age_s
  if type(max_age_s) ~= "number" or not (max_age_s >= 0) then
    err.raise("get: max_age_s is seconds from 0 on, not " .. err.shown(max_age_s))
  end
  local age_s = Entity.age(id, component)
  if age_s <= max_age_s then return end
  local what = ("%s of %s"):format(component.name, M.path(id))
  if age_s == math.huge then err.raise(what .. " was not written since the cell started", "stale") end
  err.raise(("%s was last written %.3f s ago, which is more than %g s"):format(what, age_s, max_age_s), "stale")
end

--- A view of a component: read-only, good until the next await. Raises when it is absent.
---@param component stator.Component
---@param options { max_age_s: number }? raises code "stale" when it was last written longer ago
function Entity.get(id, component, options)
  local p = component.id and C.ecs_view(world, id, component.id) or nil
  if p == nil then absent(id, component) end
  if options then check_age(id, component, options) end
  return cast(component.read_pointer, p)[0]
end

--- As get, but nil when the entity or the component is not there.
function Entity.find(id, component)
  need_component(component)
  local p = C.ecs_view(world, id, component.id)
  if p == nil then return nil end
  return cast(component.read_pointer, p)[0]
end

---@return boolean
function Entity.has(id, component)
  need_component(component)
  return C.ecs_has(world, id, component.id)
end

---@return boolean
function Entity.alive(id) return C.ecs_alive(world, id) end

---@return number? the parent
function Entity.parent(id)
  local parent = C.ecs_parent(world, id)
  if parent ~= 0 then return parent end
end

---@return number[] in the order in which they were spawned
function Entity.children(id)
  local list, at = {}, C.ecs_child_first(world, id)
  while at ~= 0 do
    list[#list + 1] = at
    at = C.ecs_child_next(world, at)
  end
  return list
end

---@param name string
---@return number? the child of that name
function Entity.child(id, name)
  for _, child in ipairs(Entity.children(id)) do
    if Entity.name(child) == name then return child end
  end
end

---@return string? its name among its siblings
function Entity.name(id)
  local name = C.ecs_name(world, id)
  if name ~= nil then return ffi.string(name) end
end

---@return string? names from the root, as "belt1/eye1"
function Entity.path(id) return M.path(id) end

---@return string[] names of its components
function Entity.components(id) return core.components(id) end

function Entity.id(id) return id end

debug.setmetatable(0, {
  __index = function(number, key)
    local method = Entity[key]
    if method then return method end
    local names = {}
    for name in pairs(Entity) do names[#names + 1] = name end
    table.sort(names)
    err.raise(('a number (%s) has no field "%s"%s'):format(number, tostring(key),
      err.nearest(tostring(key), names)))
  end,
  __metatable = "number",
})

-- ---- late-bound handles ---------------------------------------------------------------------

--- An entity by name, looked up when it is used: it may be declared before the scene is built.
local Handle = {}
Handle.__index = function(_, key)
  if key == "id" or key == "alive" then return Handle[key] end
  local method = Entity[key]
  if not method then err.raise(('an entity has no method "%s"'):format(tostring(key))) end
  return function(self, ...) return method(Handle.id(self), ...) end
end
Handle.__tostring = function(h) return "entity " .. rawget(h, "_path") end

--- The id; raises when there is no entity of that name.
function Handle.id(handle)
  if registry.script then err.raise "entities are there when scripts run: their bodies only declare" end
  local id = C.ecs_lookup(world, rawget(handle, "_path"))
  if id == 0 then err.raise(('there is no entity "%s"'):format(rawget(handle, "_path"))) end
  return id
end

--- Whether there is an entity of that name now.
function Handle.alive(handle) return C.ecs_lookup(world, rawget(handle, "_path")) ~= 0 end

--- Declares that a script uses the entity `path`; `stator check` verifies it.
---@param path string names from the root, as "belt1/eye1"
function M.entity(path)
  if type(path) ~= "string" or path == "" then error("entity: expected a name", 2) end
  local handle = setmetatable({ _path = path }, Handle)
  if registry.script then
    local info = debug.getinfo(2, "Sl")
    table.insert(registry.recording.entities, {
      path = path, script = registry.script, place = info.short_src .. ":" .. info.currentline,
    })
  end
  return handle
end

--- The id of a path, or nil.
function M.at(path)
  local id = C.ecs_lookup(world, path)
  if id ~= 0 then return id end
end

--- The id of an id or a handle; raises for anything else.
function M.id_of(value)
  if type(value) == "number" then return value end
  if getmetatable(value) == Handle then return Handle.id(value) end
  err.raise(("expected an entity, got %s%s"):format(err.shown(value),
    type(value) == "string" and ": write stator.entity(name)" or ""))
end

--- The id that a handle stands for now, or nil. Raises for what is no handle.
function M.lookup(handle)
  if getmetatable(handle) ~= Handle then M.id_of(handle) end
  local id = C.ecs_lookup(world, rawget(handle, "_path"))
  return id ~= 0 and id or nil
end

--- The path of a handle; raises for what is none.
function M.path_of(handle)
  if getmetatable(handle) ~= Handle then M.id_of(handle) end
  return rawget(handle, "_path")
end

local ID_MIN, ID_END = 2 ^ 32, 2 ^ 52 -- a generation from 1 on, and an index of 32 bits

--- What a field that holds an entity stores for a value: an id, 0 for none; nil when it is neither.
function M.stored(value)
  if getmetatable(value) == Handle then return Handle.id(value) end
  if type(value) ~= "number" then return nil end
  if value == 0 or (value >= ID_MIN and value < ID_END and value % 1 == 0) then return value end
end

return M
