--- Scripts of a scene file: which ones, as what, with which parameters.
local builtin = require "stator.core.builtin"
local err = require "stator.err"
local join = require("stator.scene_reader").join
local member = require("stator.scene_reader").member
local script = require "stator.script"

local M = {}

local SCRIPT_KEYS = { "file", "as", "params" }

--- Finds a script: beside the scene, else among those that ship with stator. Answers nil, or why it is nowhere.
local function find(scene, s)
  s.path = scene.folder .. "/" .. s.file
  s.folder = s.path:match("^(.*)/[^/]*$") or "."
  if scene.restoring then return end
  local text, message = script.read_file(s.path)
  if text then return end
  s.text = builtin("scripts." .. s.file:gsub("%.lua$", ""):gsub("/", "."))
  return not s.text and s.file .. message:sub(#s.path + 1) or nil
end

--- Reads one entry of the list of scripts.
---@param index integer its place in the list, from 1
function M.read(scene, node, path, index)
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
  table.insert(scene.scripts, {
    name = name, index = index, file = file,
    params = node.type == "object" and scene:plain_values(member(node, "params"), path .. ".params") or {},
    node = node, json_path = path,
  })
end

--- Notes a problem for each parameter that the script has not declared.
---@param declared table<string, string> name -> where it is declared
local function check_declared(scene, s, declared)
  local names = {}
  for name in pairs(declared) do names[#names + 1] = name end
  table.sort(names)
  for _, child in ipairs(s.node.type == "object" and member(s.node, "params") or {}) do
    if not declared[child.key] then
      scene:problem(child, join(s.json_path .. ".params", child.key),
        ("%s declares no such parameter%s"):format(s.file, err.nearest(child.key, names)), true)
    end
  end
end

--- Checks what the scene says of a script, without running it.
---@param s table as the scene has it
---@param use stator.Script? the same, when its body has run
function M.check(scene, s, use)
  if not use or use.file ~= s.file then
    local missing = find(scene, s)
    if missing then scene:problem(s.node, s.json_path, missing) end
    return
  end
  check_declared(scene, s, use.params_declared or {})
  for _, child in ipairs(s.node.type == "object" and member(s.node, "params") or {}) do
    local problem = script.check_param(use, child.key, child.value)
    if problem then scene:problem(child, join(s.json_path .. ".params", child.key), problem) end
  end
end

--- Runs the script's body.
function M.load(scene, s)
  find(scene, s)
  local problem, missing = script.load(s)
  if problem then
    if missing then
      scene:problem(s.node, s.json_path, problem)
    else
      scene:problem_text(problem)
    end
    return
  end
  if not s.params_in_force then check_declared(scene, s, s.params_declared or {}) end
end

return M
