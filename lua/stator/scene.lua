--- The scene file: what a cell consists of. Reads it with the position of every node, finds all
--- problems at once, and builds the world from it. Its parts are read by scene_settings, scene_scripts,
--- scene_entities, scene_values and scene_links.
local abi = require "stator.abi"
local command = require "stator.command"
local component = require "stator.component"
local err = require "stator.err"
local event = require "stator.event"
local fieldcheck = require "stator.fieldcheck"
local in_force = require "stator.scene_in_force"
local json = require "stator.core.json"
local keep = require "stator.core.keep"
local link = require "stator.link"
local machine_checks = require "stator.machine_checks"
local reader = require "stator.scene_reader"
local registry = require "stator.registry"
local scene_entities = require "stator.scene_entities"
local scene_links = require "stator.scene_links"
local scene_scripts = require "stator.scene_scripts"
local scene_settings = require "stator.scene_settings"
local scene_values = require "stator.scene_values"
local script = require "stator.script"
local world = require "stator.core.world"

local join, member = reader.join, reader.member
local OWNER_HOST = 0

---@class stator.Scene: stator.SceneReader
local Scene = setmetatable({}, { __index = reader.Reader })
Scene.__index = Scene

local M = {}

-- ---- reading --------------------------------------------------------------------------------

local TOP_KEYS = {
  "name", "control", "tick_hz", "react", "late", "guard_us", "stop_within_s", "limits", "reload", "scripts", "links",
  "world", "entities", "params",
}

---@param sets string[] "key=value"
---@param components table|function|nil see scene_values.lookup
local function new(file, sets, components)
  return setmetatable({
    file = file, shown = file, folder = file:match("^(.*)/[^/]*$") or ".", sets = sets,
    lookup = scene_values.lookup(components), problems = {},
    scripts = {}, scripts_named = 0, links = {}, link_names = {}, entities = {}, by_path = {}, world_components = {},
  }, Scene)
end

local function for_each(scene, root, key, type_name, fn)
  local node = member(root, key)
  if not node or not scene:expect(node, key, type_name) then return end
  for i, child in ipairs(node) do fn(child, join(key, child.key or i - 1), i) end
end

--- Parses a scene's text and reads all that does not depend on what its scripts declare.
local function read_text(scene, text)
  local root, problem, line, col = json.parse(text)
  if not root then
    scene:problem({ line = line, col = col }, "", problem)
    return
  end
  if not scene:expect_object(root, "", TOP_KEYS) then return end
  scene.root = root
  scene_settings.read_params(scene, member(root, "params"))
  scene_settings.substitute(scene, root, "")
  scene_settings.read(scene, root)
  for_each(scene, root, "scripts", "array", function(node, path, i) scene_scripts.read(scene, node, path, i) end)
  for_each(scene, root, "links", "object", function(node, path) scene_links.read(scene, node, path) end)
  for_each(scene, root, "entities", "array", function(node, path) scene_entities.read(scene, node, path, nil) end)
end

--- The text of the scene: of the file, or as it was at the start when a VM was lost.
local function text_of(scene)
  local text, message
  if scene.restoring then
    text = keep.get("scene:" .. scene.file)
  else
    text, message = script.read_file(scene.file)
  end
  if not text then
    scene:problem_text(message)
    return
  end
  keep.put("scene:" .. scene.file, text)
  return text
end

--- The names of the entities that the host makes.
local function host_name(name) return (name:gsub("[/%.]", "_")) end
local function script_path(name) return "scripts/" .. host_name(name) end
local function link_path(name) return "links/" .. host_name(name) end

--- Names that scripts use and the scene has to have.
---@param used_names { entities: table[], links: table[] } name or path, and place
local function check_references(scene, used_names)
  local paths, host = {}, { world = true, scripts = true, links = true }
  for _, s in ipairs(scene.scripts) do host[script_path(s.name)] = true end
  for _, l in ipairs(scene.links) do host[link_path(l.name)] = true end
  for _, e in ipairs(scene.entities) do paths[#paths + 1] = e.path end
  for _, s in ipairs(scene.scripts) do paths[#paths + 1] = script_path(s.name) end
  for _, l in ipairs(scene.links) do paths[#paths + 1] = link_path(l.name) end
  for _, used in ipairs(used_names.entities) do
    if not scene.by_path[used.path] and not host[used.path] then
      scene:problem_text(('%s: the scene has no entity "%s"%s'):format(used.place, used.path,
        err.nearest(used.path, paths)))
    end
  end
  for _, used in ipairs(used_names.links) do
    local names, ok = scene.link_names, false
    for _, name in ipairs(names) do ok = ok or name == used.name end
    if not ok then
      scene:problem_text(('%s: the scene has no link "%s"%s'):format(used.place, used.name,
        err.nearest(used.name, names)))
    end
  end
end

-- ---- building -------------------------------------------------------------------------------

--- Spawns what the host itself shows: the world entity, one entity a script and a link.
local function spawn_host_entities(scene, host)
  scene.world_id = command:spawn({}, { name = "world" })
  local scripts = command:spawn({}, { name = "scripts" })
  for _, s in ipairs(scene.scripts) do
    s.entity = command:spawn({}, { name = host_name(s.name), parent = scripts })
  end
  local links = command:spawn({}, { name = "links" })
  for _, l in ipairs(scene.links) do
    l.entity = command:spawn({ host.Link {} }, { name = host_name(l.name), parent = links })
  end
end

--- The entities of a world that is there already; those that are gone have no id.
local function find_entities(scene)
  local function find(path)
    local id = abi.C.ecs_lookup(abi.world, path)
    return id ~= 0 and id or nil
  end
  scene.world_id = find("world")
  for _, s in ipairs(scene.scripts) do s.entity = find(script_path(s.name)) end
  for _, l in ipairs(scene.links) do l.entity = find(link_path(l.name)) end
  for _, e in ipairs(scene.entities) do
    e.id = find(e.path)
    scene.by_path[e.path] = e.id
  end
end

-- ---- loading --------------------------------------------------------------------------------

--- Reads the scene as a text says it, without any effect; runs no script.
---@param file string path of the scene, for messages and for what lies beside it
---@param text string
---@param sets string[] "key=value"
---@param components table|fun(name: string): table?|nil see scene_values.lookup; for M.check
---@return stator.Scene with `root` when it could be read; its problems may be empty
function M.read(file, text, sets, components)
  local scene = new(file, sets, components)
  read_text(scene, text)
  return scene
end

--- Checks what M.read has left out: values of components, points, parameters of scripts, and names that
--- scripts use. As at the start, but with components and scripts as they are.
---@param uses table<string, stator.Script>? by name, those whose body has run
---@param used_names { entities: table[], links: table[] }? that scripts use; nil: those of the registry
function M.check(scene, uses, used_names)
  for _, s in ipairs(scene.scripts) do
    scene_scripts.check(scene, s, uses and uses[s.name])
  end
  check_references(scene, used_names or registry.live)
  scene_entities.read_components(scene, member(scene.root, "world"))
  scene_links.read_points(scene)
end

--- What a reload has changed since the text of the start was read.
local function put_in_force(scene)
  local state = in_force.get(scene.file)
  if not state then return end
  scene.settings.reload = in_force.reload(state)
  for _, s in ipairs(scene.scripts) do s.params, s.params_in_force = in_force.params(state, s.name), true end
end

--- What is wrong with the texts of the scripts, once the types are laid out.
local function check_texts(scene)
  local files, set = {}, registry.recording
  for _, s in ipairs(scene.scripts) do
    for _, file in ipairs(s.files) do files[#files + 1] = file end
  end
  local sources = script.sources(files)
  local problems = fieldcheck.check(sources, function(name)
    local c = set.components[name]
    return c and c.field_names
  end)
  local returned = machine_checks.check(set.machines, sources, function() return true end)
  for _, problem in ipairs(returned) do problems[#problems + 1] = problem end
  return problems
end

--- Reads the scene and runs the bodies of its scripts. Answers the scene; its problems may be empty.
---@param file string path of the scene
---@param sets string[] "key=value"
---@param declare_host fun(): table declares the host's own components
---@param restoring boolean? a VM was lost: the world is there, files are taken as they were read
---@return stator.Scene
function M.load(file, sets, declare_host, restoring)
  script.restoring = restoring == true
  local scene = new(file, sets)
  scene.restoring = restoring
  local text = text_of(scene)
  if text then read_text(scene, text) end
  if not scene.root then return scene end
  if restoring then put_in_force(scene) end
  script.text_max_mb = scene.settings.heap_mb
  local host = declare_host()
  local before = #scene.problems
  for _, s in ipairs(scene.scripts) do scene_scripts.load(scene, s) end
  for _, problem in ipairs(component.freeze(registry.recording, restoring)) do scene:problem_text(problem) end
  for _, problem in ipairs(event.freeze(registry.recording, restoring)) do scene:problem_text(problem) end
  local laid_out = #scene.problems == before and #scene.scripts == scene.scripts_named
  if laid_out then
    for _, problem in ipairs(check_texts(scene)) do scene:problem_text(problem) end
  end
  if restoring then find_entities(scene) end
  if laid_out then -- without its scripts a scene's components mean nothing
    scene:build_queries()
    if restoring then scene:rebuild() else scene:build(host) end
  end
  return scene
end

function Scene:build_queries()
  for _, q in ipairs(registry.recording.queries) do
    local problem = require("stator.query").build(q)
    if problem then self:problem_text(problem) end
  end
end

--- In place of build when the world is there. Points whose entity is gone are left out.
function Scene:rebuild()
  scene_links.read_points(self)
  scene_links.age_inputs(self)
  self:load_simulators()
end

function Scene:load_simulators()
  for _, l in ipairs(self.links) do
    local node = member(l.node, "simulate")
    if node and node.type == "string" then
      local problem
      l.run_simulator, problem = script.load_simulator(self.folder .. "/" .. node.value, node.value)
      if problem then self:problem(node, l.path .. ".simulate", problem) end
    end
  end
end

--- Second half: everything that needs the components' layout.
function Scene:build(host)
  check_references(self, registry.recording)
  world.phase "run"
  world.begin(OWNER_HOST, 0)
  spawn_host_entities(self, host)
  scene_entities.spawn(self)
  scene_entities.read_components(self, member(self.root, "world"))
  scene_links.read_points(self)
  scene_links.age_inputs(self)
  self:load_simulators()
  if #self.problems > 0 then
    world.drop()
    return
  end
  scene_entities.record_components(self)
  world.seal()
end

--- Applies what was recorded and makes the links. Answers nil or a problem.
function Scene:apply()
  if not self.restoring then
    local ok, message = world.apply_scene()
    if not ok then return message end
  end
  for _, l in ipairs(self.links) do
    local made = link.create(l.name, l.settings, l.points)
    made.entity, made.run_simulator = l.entity, l.run_simulator
  end
end

return M
