--- The part of a reload that is about the scene file: what of its changes is applied, which scripts run again for
--- a parameter, and how it goes back.
local component = require "stator.component"
local core = require "stator.core.world"
local keep = require "stator.core.keep"
local registry = require "stator.registry"
local scene_diff = require "stator.scene_diff"
local schema = require "stator.core.schema"
local script = require "stator.script"

---@class stator.ReloadScene
---@field file string
---@field state stator.SceneInForce
---@field text string of the file, as it is in force
local ReloadScene = {}
ReloadScene.__index = ReloadScene

local M = {}

---@param file string path of the scene
---@param sets string[] "key=value" of the command line
---@param on_setting fun(name: string, value: any) a setting of "reload" has changed
---@return stator.ReloadScene
function M.new(file, sets, on_setting)
  return setmetatable({
    file = file, state = scene_diff.in_force(file, sets), on_setting = on_setting,
    text = keep.get("accepted scene:" .. file) or keep.get("scene:" .. file),
  }, ReloadScene)
end

local function uses_by_name()
  local map = {}
  for _, s in ipairs(script.uses) do map[s.name] = s end
  return map
end

local function with_changes(params, changes)
  local out = {}
  for name, value in pairs(params) do out[name] = value end
  for _, change in ipairs(changes) do out[change.name] = change.value end
  return out
end

--- What the parameters in a text do to the scripts: those that run again, and why; and the parameters that they get.
--- Answers problems when the text is no scene.
---@param text string?
---@return { problems: string[], restarts: table<stator.Script, string>, params: table<stator.Script, table> }
function ReloadScene:params_of(text)
  local uses, found = uses_by_name(), { restarts = {}, params = {} }
  local diff = scene_diff.compare(self.state, { text = text, unchecked = true })
  found.problems = diff.problems
  local by_script = {}
  for _, change in ipairs(diff.changes) do
    local s = change.kind == "param" and uses[change.script]
    if s then
      by_script[s] = by_script[s] or {}
      table.insert(by_script[s], change)
      if (s.params_read or {})[change.name] then
        found.restarts[s] = ("its body reads the parameter %s, which changed"):format(change.name)
      end
    end
  end
  for s, changes in pairs(by_script) do found.params[s] = with_changes(s.params, changes) end
  return found
end

--- Components as they will be: by name, with their fields.
local function components_of(stage)
  local changed = {}
  for _, change in ipairs(stage.changes) do
    if change.plan then
      changed[change.name] = component.layout_of_plan(change.name, schema.fields(change.plan.handle), change.enums)
      changed[change.name].id = core.component_id(change.name)
    end
  end
  return function(name)
    local t = stage.set.types.component[name]
    return changed[name] or (t and t.object)
  end
end

--- Compares a text with what is in force, for scripts whose bodies have run.
---@param stage stator.Stage
---@param text string?
---@return stator.SceneDiff with `applies` and `waits` beside `changes`
function ReloadScene:compare(stage, text)
  local diff = scene_diff.compare(self.state, {
    text = text, scripts = uses_by_name(), components = components_of(stage), used = stage.set,
  })
  diff.applies, diff.waits = {}, {}
  for _, change in ipairs(diff.changes) do
    if not change.restart then
      table.insert(diff.applies, change)
    elseif not change.waiting then
      table.insert(diff.waits, change)
    end
  end
  return diff
end

--- Applies what can be. In a task. Answers lines about what was not there any more.
---@param diff stator.SceneDiff
---@param text string of the file
---@return string[]
function ReloadScene:apply(diff, text)
  local uses, told = uses_by_name(), {}
  for _, change in ipairs(diff.applies) do
    if change.kind == "param" then
      local problem = script.set_param(uses[change.script], change.name, change.value)
      if problem then told[#told + 1] = ("%s: %s"):format(change.path, problem) end
    elseif change.kind == "setting" then
      self.on_setting(change.name, change.value)
    end
  end
  for _, line in ipairs(scene_diff.record(diff.applies, registry.live.components)) do told[#told + 1] = line end
  self.state = scene_diff.accept(self.state, diff)
  self.text = text
  keep.put("accepted scene:" .. self.file, text)
  return told
end

--- What revert goes back to: the text that is in force.
function ReloadScene:mark() return self.text end

return M
