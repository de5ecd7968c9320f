--- The swap of a reload: between two steps the staged set takes the place of the live one. What can fail comes
--- first, and is all or nothing; nothing after that does.
local component = require "stator.component"
local fault = require "stator.fault"
local inbox = require "stator.inbox"
local link = require "stator.link"
local query = require "stator.query"
local registry = require "stator.registry"
local schedule = require "stator.schedule"
local schema = require "stator.core.schema"
local script = require "stator.script"
local service = require "stator.service"
local type_changes = require "stator.type_changes"
local world = require "stator.core.world"

local M = {}

--- Points find their fields anew in components that were laid out again.
local function rebind_points(changes)
  local changed = {}
  for _, change in ipairs(changes) do
    if change.plan then changed[component.by_name[change.name]] = true end
  end
  for _, l in ipairs(link.list) do
    for _, point in ipairs(l.points or {}) do
      if changed[point.component] then point.field = point.component.by_name[point.field.name] end
    end
  end
end

--- Names of types that mean nothing any more, and versions that nobody needs.
local function clear_types(changes)
  for _, change in ipairs(changes) do
    if change.what == "removed" and change.kind ~= "component" then schema.retire(change.name) end
  end
  schema.sweep()
end

--- Does it, outside of steps. Answers nil; or "again": commands wait for an apply, so it is to be asked in the
--- next step; or a problem: then nothing has changed.
---@param stage stator.Stage
---@param revision integer that the scripts which run again have
---@return string?
function M.run(stage, revision)
  if world.waiting() then return "again" end
  local before, scripts = registry.live, stage.restarted
  local problem = type_changes.migrate(stage.changes)
  if problem then return problem end
  registry.live, registry.recording = stage.set, stage.set
  type_changes.lay_out(stage.set, stage.changes)
  rebind_points(stage.changes)
  for _, q in ipairs(stage.late_queries) do
    local why = query.build(q)
    if why then fault.raise("reload", why) end
  end
  schedule.forget_ended(before, scripts)
  schedule.freeze(scripts)
  inbox.retire(before, scripts)
  service.hand_over(before)
  clear_types(stage.changes)
  for _, s in ipairs(stage.order) do
    s.revision = revision
    script.keep_files(s, stage.encoded)
  end
  for _, s in ipairs(stage.order) do script.forget_files(stage.before[s].files) end
  jit.flush() -- compiled code holds the functions that it was compiled with, and they all that they refer to
  schedule.start(scripts)
end

return M
