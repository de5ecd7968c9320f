--- `cmd`: records changes into the batch of whoever runs. They are applied, whole or not at all,
--- once the task waits, or the system or observer ends.
local abi = require "stator.abi"
local component = require "stator.component"
local core = require "stator.core.world"
local entity = require "stator.entity"
local err = require "stator.err"
local persist = require "stator.persist"
local places = require "stator.places"
local task_core = require "stator.core.task"

local C, world = abi.C, abi.world
local id_of = entity.id_of
local Component = component.Component

---@class stator.Commands
local cmd = {}

local function need(c)
  if getmetatable(c) ~= Component then err.raise("expected a component, got " .. type(c)) end
  if not c.id then err.raise(c.name .. " is not laid out yet: scripts' bodies only declare") end
end

local function not_recorded() err.raise(abi.last_error()) end

--- For commands that are recorded by other means than ecs_record_at.
local function note_place()
  local place = places.take()
  C.ecs_batch_place(world, place)
  return place
end

local function insert(id, c, values)
  if c.is_tag then
    if values and next(values) ~= nil then err.raise(c.name .. " is a tag and has no fields") end
    if C.ecs_record_at(world, places.take(), C.ECS_OP_INSERT, id, c.id, 0) == nil then not_recorded() end
  else
    c.insert(id, values or {})
  end
end

--- Spawns an entity with components; its id is good at once, its components after the apply.
---@param values table[] as { Pose { x_m = 1 }, Belt {} }
---@param options { name: string?, parent: number? }?
---@return number id
function cmd.spawn(_, values, options)
  local place = note_place()
  local parent = options and options.parent and id_of(options.parent) or 0
  local id = C.ecs_record_spawn(world, parent, options and options.name)
  if id == 0 then not_recorded() end
  for i, value in ipairs(values or {}) do
    if getmetatable(value) == Component then value = { component = value } end
    if type(value) ~= "table" or not value.component then
      err.raise(("spawn: value %d is no component: write { Pose { x_m = 1 } }"):format(i))
    end
    need(value.component)
    places.at(nil, place)
    insert(id, value.component, value.values)
  end
  return id
end

--- Removes an entity and its children. One that is gone already is no error.
function cmd.despawn(_, e)
  note_place()
  if C.ecs_record_plain(world, C.ECS_OP_DESPAWN, id_of(e), 0) ~= 0 then not_recorded() end
end

--- Gives the entity a component: fields that are not named get their defaults.
---@param values table?
function cmd.insert(_, e, c, values)
  if type(c) == "table" and c.component then c, values = c.component, c.values end
  need(c)
  insert(id_of(e), c, values)
end

--- Sets the named fields. The batch is rejected when the entity lacks the component.
---@param values table
function cmd.set(_, e, c, values)
  local set = c.set
  if not set or type(values) ~= "table" then
    need(c)
    err.raise(c.is_tag and c.name .. " is a tag: use insert" or "set: expected a table of fields, got " .. type(values))
  end
  set(type(e) == "number" and e or id_of(e), values)
end

--- Adds to numeric fields, at apply: two tasks that add 1 make 2.
function cmd.add(_, e, c, values)
  need(c)
  if c.is_tag then err.raise(c.name .. " is a tag and has no fields") end
  c.add(id_of(e), values)
end

--- Takes a component away; not having it is no error.
function cmd.remove(_, e, c)
  need(c)
  note_place()
  if C.ecs_record_plain(world, C.ECS_OP_REMOVE, id_of(e), c.id) ~= 0 then not_recorded() end
end

--- Makes the batch depend on the component being, at apply, as this task sees it now. Such a batch
--- has to end in commit().
function cmd.expect(_, e, c)
  need(c)
  local id = id_of(e)
  local now = C.ecs_view(world, id, c.id)
  if now == nil then entity.Entity.get(id, c) end
  local slot = C.ecs_record_at(world, places.take(), C.ECS_OP_EXPECT, id, c.id, 0)
  if slot == nil then not_recorded() end
  require("ffi").copy(slot, now, c.size)
end

--- What happens, for the commands recorded from now on in this batch, when their target is gone:
--- "warn" (default) counts and tells, "strict" rejects the batch, "ignore" does neither.
---@param policy "warn"|"strict"|"ignore"
function cmd.on_dead_target(_, policy) core.flags(policy) end

--- Keeps a plain value beyond the life of the VM, under a name of the whole cell; see stator.persist.
cmd.persist = persist.record

--- Waits until what was recorded has been applied. Raises `batch_rejected`.
---@return userdata operation
function cmd.commit() return task_core.commit() end

setmetatable(cmd, {
  __index = function(_, key)
    local names = {
      "spawn", "despawn", "insert", "set", "add", "remove", "expect", "persist", "commit", "on_dead_target",
    }
    err.raise(('cmd has no "%s"%s'):format(tostring(key), err.nearest(tostring(key), names)))
  end,
  __newindex = function() error("cmd cannot be changed", 2) end,
})
task_core.share_cmd(cmd)

return cmd
