--- `cmd`: records changes into the batch of whoever runs. They are applied, whole or not at all,
--- once the task waits, or the system or observer ends.
local ffi = require "ffi"
local abi = require "stator.abi"
local bulk = require "stator.bulk"
local component = require "stator.component"
local core = require "stator.core.world"
local entity = require "stator.entity"
local err = require "stator.err"
local event = require "stator.event"
local keep = require "stator.core.keep"
local names = require "stator.names"
local persist = require "stator.persist"
local registry = require "stator.registry"
local task_core = require "stator.core.task"

local C, world, copy = abi.C, abi.world, ffi.copy
local id_of = entity.id_of
local Component = component.Component

---@class stator.Commands
---@field _place integer where what it records is written, see stator.places; 0: unknown
---@field _places stator.Commands[]? of cmd itself: those for each place
local Commands = {}

local function need(what, c)
  if getmetatable(c) ~= Component then
    local known = {}
    for i, other in ipairs(type(c) == "string" and registry.live.component_list or {}) do known[i] = other.name end
    err.raise(("%s: expected a component, got %s%s"):format(what, err.shown(c), err.nearest(tostring(c), known)))
  end
  if not c.id then err.raise(c.name .. " is not laid out yet: scripts' bodies only declare") end
end

local function need_fields(what, c, values)
  need(what, c)
  if c.is_tag then
    err.raise(("%s: %s is a tag and has no fields%s"):format(what, c.name, what == "set" and ": use insert" or ""))
  end
  if type(values) ~= "table" then
    err.raise(("%s: expected a table of fields of %s, got %s"):format(what, c.name, err.shown(values)))
  end
end

local function not_recorded() err.raise(abi.last_error()) end

--- No id is left, or no memory for more.
local function no_room() err.raise(abi.last_error(), "limit") end

--- Scripts may have a table of their own that passes methods on.
local function place_of(self) return type(self) == "table" and rawget(self, "_place") or 0 end

--- For commands that are recorded by other means than ecs_record_at.
local function note_place(self) C.ecs_batch_place(world, place_of(self)) end

local function insert(what, place, id, c, values)
  need(what, c)
  if values ~= nil and (type(values) ~= "table" or c.is_tag and next(values) ~= nil) then
    need_fields(what, c, values) -- raises
  end
  if not c.is_tag then
    c.insert(place, id, values or {})
  elseif C.ecs_record_at(world, place, C.ECS_OP_INSERT, id, c.id, 0) == nil then
    not_recorded()
  end
end

--- `Report { hot = 3 }` as Component.__call makes it.
local function is_value(value) return type(value) == "table" and rawget(value, "component") ~= nil end

local NAME_MAX = C.ECS_NAME_BYTES - 1

--- Checks the options of a spawn; answers the parent, 0 for none.
local function spawn_options(options)
  if type(options) ~= "table" then err.raise("spawn: expected a table of options, got " .. err.shown(options)) end
  for key in pairs(options) do
    if key ~= "name" and key ~= "parent" then registry.check_options("spawn", options, { "name", "parent" }) end
  end
  local name = options.name
  if name ~= nil and (type(name) ~= "string" or name == "" or #name > NAME_MAX or name:find "[/%z]") then
    err.raise(('spawn: expected a name of 1 to %d bytes without "/" and zero bytes, got %s'):format(NAME_MAX,
      err.shown(name)))
  end
  return options.parent ~= nil and id_of(options.parent) or 0
end

--- Spawns an entity with components; its id is good at once, its components after the apply.
---@param values table[] as { Pose { x_m = 1 }, Belt {} }
---@param options { name: string?, parent: number? }?
---@return number id
function Commands:spawn(values, options)
  if values ~= nil and (type(values) ~= "table" or getmetatable(values) == Component or is_value(values)) then
    err.raise(("spawn: expected a list of components, got %s: write { Pose { x_m = 1 } }"):format(
      is_value(values) and "one" or err.shown(values)))
  end
  local parent = options ~= nil and spawn_options(options) or 0
  note_place(self)
  local id = C.ecs_record_spawn(world, parent, options and options.name)
  if id == 0 then
    if not keep.recording() then not_recorded() end
    no_room()
  end
  for i, value in ipairs(values or {}) do
    if getmetatable(value) == Component then value = { component = value } end
    if not is_value(value) then
      err.raise(("spawn: value %d is no component: write { Pose { x_m = 1 } }"):format(i))
    end
    insert("spawn", place_of(self), id, value.component, value.values)
  end
  return id
end

--- Spawns `count` entities that all have the components, in one command.
---@param count integer
---@param values table[] as of spawn; a field is one value for all, or a list of `count`
---@return number[] ids
function Commands:spawn_many(count, values) return bulk.spawn_many(place_of(self), count, values, need) end

--- Sets the named fields of many entities, as `set` does.
---@param list table[] entities
---@param values table a field is one value for all, or a list of as many as entities
function Commands:set_many(list, c, values)
  need_fields("set_many", c, values)
  bulk.set_many(place_of(self), list, c, values)
end

--- Removes an entity and its children. One that is gone already is no error.
function Commands:despawn(e)
  local id = id_of(e)
  note_place(self)
  if C.ecs_record_plain(world, C.ECS_OP_DESPAWN, id, 0) ~= 0 then not_recorded() end
end

--- Gives the entity a component: fields that are not named get their defaults.
---@param values table?
function Commands:insert(e, c, values)
  if is_value(c) then c, values = c.component, c.values end
  insert("insert", place_of(self), id_of(e), c, values)
end

--- Sets the named fields. The batch is rejected when the entity lacks the component.
---@param values table
function Commands:set(e, c, values)
  local set = type(c) == "table" and rawget(c, "set")
  if not set or type(values) ~= "table" then need_fields("set", c, values) end
  set(place_of(self), type(e) == "number" and e or id_of(e), values)
end

--- Adds to numeric fields, at apply: two tasks that add 1 make 2.
function Commands:add(e, c, values)
  need_fields("add", c, values)
  c.add(place_of(self), id_of(e), values)
end

--- Takes a component away; not having it is no error.
function Commands:remove(e, c)
  need("remove", c)
  local id = id_of(e)
  note_place(self)
  if C.ecs_record_plain(world, C.ECS_OP_REMOVE, id, c.id) ~= 0 then not_recorded() end
end

--- Sends an event: observers and inboxes get it once the batch is applied, in the order of recording.
---@param e stator.Event
---@param values table? what is not named has its default
---@param to number|table|nil an entity; nil: nobody in particular
function Commands:send(e, values, to) event.send(place_of(self), e, values, to) end

--- Says that a component is still what it is: its age begins anew, and nothing else happens.
function Commands:confirm(e, c)
  need("confirm", c)
  local id = id_of(e)
  note_place(self)
  if C.ecs_record_plain(world, C.ECS_OP_CONFIRM, id, c.id) ~= 0 then not_recorded() end
end

--- Makes the batch depend on the component being, at apply, as this task sees it now. Such a batch
--- has to end in commit().
function Commands:expect(e, c)
  need("expect", c)
  local id = id_of(e)
  local now = C.ecs_view(world, id, c.id)
  if now == nil then entity.Entity.get(id, c) end
  local slot = C.ecs_record_at(world, place_of(self), C.ECS_OP_EXPECT, id, c.id, 0)
  if slot == nil then not_recorded() end
  copy(slot, now, c.size)
end

--- What happens, for the commands recorded from now on in this batch, when their target is gone:
--- "warn" (default) counts and tells, "strict" rejects the batch, "ignore" does neither.
---@param policy "warn"|"strict"|"ignore"
function Commands.on_dead_target(_, policy)
  if policy ~= "warn" and policy ~= "strict" and policy ~= "ignore" then
    err.raise(('on_dead_target: expected "warn", "strict" or "ignore", got %s%s'):format(err.shown(policy),
      err.nearest(tostring(policy), { "warn", "strict", "ignore" })))
  end
  core.flags(policy)
end

--- Keeps a plain value beyond the life of the VM, under a name of the whole cell; see stator.persist.
Commands.persist = persist.record

--- Waits until what was recorded has been applied. Raises `batch_rejected`.
---@return userdata operation
function Commands.commit() return task_core.commit() end

setmetatable(Commands, { __index = function(_, key) names.missing("cmd", key, Commands) end })

local cmd = setmetatable({ _place = 0, _places = {} }, {
  __index = Commands,
  __newindex = function() error("cmd cannot be changed", 2) end,
})
task_core.share_cmd(cmd)

return cmd
