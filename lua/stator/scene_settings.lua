--- Settings of a scene file: its parameters and where they are put in, the cell's own settings.
local err = require "stator.err"
local join = require("stator.scene_reader").join
local member = require("stator.scene_reader").member

local M = {}

-- ---- parameters -----------------------------------------------------------------------------

--- A value given on the command line: a number, true, false, or text.
local function parse_set(text)
  if text == "true" or text == "false" then return text == "true" end
  return tonumber(text) or text
end

--- Reads the scene's parameters, with what the command line says of them.
function M.read_params(scene, node)
  scene.params = scene:plain_values(node, "params")
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
function M.substitute(scene, node, path)
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
    if not (path == "" and child.key == "params") then M.substitute(scene, child, join(path, child.key or i - 1)) end
  end
end

-- ---- settings of the cell ---------------------------------------------------------------------

--- What scripts may use: { name, lowest, highest, default }.
local LIMITS = {
  { "slice_soft_ms", 0.1, 60000, 2 }, { "slice_ms", 1, 60000, 20 }, { "heap_mb", 8, 1536, 256 },
  { "tasks", 16, 1048576, 1048576 }, { "lost_vms", 1, 1000000, 3 }, { "tick_lua_ms", 0, 60000, 0 },
  { "tick_slices", 0, 1048576, 0 },
}

local function read_limits(scene, node)
  local names, s = {}, scene.settings
  for i, limit in ipairs(LIMITS) do names[i] = limit[1] end
  if node and not scene:expect_object(node, "limits", names) then node = nil end
  for _, limit in ipairs(LIMITS) do
    local name = limit[1]
    s[name] = scene:number(node and member(node, name), "limits." .. name, limit[2], limit[3], limit[4])
  end
  if s.slice_soft_ms > s.slice_ms then
    scene:problem(member(node, "slice_soft_ms") or node, "limits.slice_soft_ms",
      ("expected at most slice_ms (%g), got %g"):format(s.slice_ms, s.slice_soft_ms))
  end
end

local RELOAD = { "lock", "watch", "probation_s", "max_faults" }

--- How scripts are reloaded.
local function read_reload(scene, node)
  if node and not scene:expect_object(node, "reload", RELOAD) then node = nil end
  local function at(name) return node and member(node, name), "reload." .. name end
  local lock, lock_path = at "lock"
  local watch, watch_path = at "watch"
  local probation, probation_path = at "probation_s"
  local faults, faults_path = at "max_faults"
  scene.settings.reload = {
    lock = scene:boolean(lock, lock_path, false),
    watch = scene:choice(watch, watch_path, { "events", "poll", "off" }, "events"),
    probation_s = scene:number(probation, probation_path, 0, 3600, 10),
    max_faults = scene:whole(faults, faults_path, 0, 1000, 3),
  }
end

--- Reads what the top of the scene says of the cell into scene.settings.
function M.read(scene, root)
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
  read_reload(scene, member(root, "reload"))
end

M.LIMITS, M.RELOAD = LIMITS, RELOAD

return M
