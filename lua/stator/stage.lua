--- The stage of a reload: reads what has changed, compiles it on another thread, and runs the bodies of the scripts
--- that it concerns against a fork of the live set. Nothing of it is in force yet: it can be dropped at any
--- point.
---
---   files ──compile──▶ whose file differs? ──bodies──▶ types differ? ──who names them runs too──▶ checks, plan
---
--- Bodies run between steps, a file at a time, in a coroutine that is no task: they may only declare.
local compiling = require "stator.compiling"
local component = require "stator.component"
local fieldcheck = require "stator.fieldcheck"
local machine_checks = require "stator.machine_checks"
local outside = require "stator.outside"
local query = require "stator.query"
local registry = require "stator.registry"
local script = require "stator.script"
local task = require "stator.task"
local type_changes = require "stator.type_changes"

local M = {}

---@class stator.Stage
---@field order stator.Script[] that run again, in the order of the scene
---@field restarted table<stator.Script, string> why each of them does
---@field set stator.Set
---@field changes stator.TypeChange[]
---@field problems string[] any: it cannot go on
---@field compiled table<string, stator.Compiled> by path: what was read
---@field simulators { shown: string, hash: string }[] files of simulated devices that have changed
---@field wanted string[] paths that were read, or looked for
---@field encoded table<stator.ScriptFile, string>? what is kept of the files that run, see M.encode
---@field before table<stator.Script, table> what the bodies of before had left, to be put back
---@field fetch fun(list: table[]): table<string, stator.Compiled> in the reload's task

--- What running its body leaves in a script.
local BODY = { "files", "position", "params", "params_declared", "params_read", "param_sets" }

local function remember(stage, s)
  local before = {}
  for _, key in ipairs(BODY) do before[key] = s[key] end
  stage.before[s] = before
end

--- Puts back what the bodies of the scripts have left before.
---@param stage stator.Stage
local function forget_bodies(stage)
  for s, before in pairs(stage.before) do -- each for itself
    for _, key in ipairs(BODY) do s[key] = before[key] end
  end
end

-- ---- files ----------------------------------------------------------------------------------

local DECODED, ENCODED = 8, 8 -- files in a slice
local RELEASED = 16 -- queries in a slice

--- Compiles files on another thread.
---@param list { path: string, shown: string }[]
---@return table<string, stator.Compiled>
function M.from_disk(list)
  local by_path = {}
  if #list == 0 then return by_path end
  local files = task.await(compiling.files(list))
  for i = 1, files.n do
    local file = files:take(i)
    by_path[file.path] = file
    if i % DECODED == 0 then outside.pause() end
  end
  return by_path
end

--- Files as they were kept under the first of the prefixes that has them.
---@param prefixes string[]
function M.from_keep(prefixes)
  return function(list)
    local by_path = {}
    for _, file in ipairs(list) do
      local compiled
      for _, prefix in ipairs(prefixes) do compiled = compiled or script.kept(prefix, file.path) end
      by_path[file.path] = compiled or { problem = file.shown .. ": was not kept", missing = true }
    end
    return by_path
  end
end

--- The files of all scripts and simulated devices, each once.
---@return { path: string, shown: string }[]
function M.files_in_force()
  local list, known = {}, {}
  for _, scripts in ipairs { script.uses, script.simulators } do
    for _, s in ipairs(scripts) do
      for _, file in ipairs(s.files) do
        local ships = s.text and file.path == s.path
        if not known[file.path] and not ships then
          known[file.path] = true
          list[#list + 1] = { path = file.path, shown = file.shown }
        end
      end
    end
  end
  return list
end

--- The files of simulated devices that have changed: these are not reloaded.
local function changed_simulators(stage)
  local changed = {}
  for _, s in ipairs(script.simulators) do
    for _, file in ipairs(s.files) do
      local now = stage.compiled[file.path]
      if now and now.hash ~= file.compiled.hash then
        changed[#changed + 1] = { shown = file.shown, hash = now.hash or "gone" }
      end
    end
  end
  return changed
end

--- Notes the scripts of which a file is not what it was.
local function find_changed(stage)
  for _, s in ipairs(script.uses) do
    for _, file in ipairs(s.files) do
      local now = stage.compiled[file.path]
      if now and now.hash ~= file.compiled.hash and not stage.restarted[s] then
        stage.restarted[s] = ("%s %s"):format(file.shown, now.missing and "is gone" or "changed")
      end
    end
  end
end

-- ---- bodies ---------------------------------------------------------------------------------

--- Runs a body up to its end or the next file that it needs, outside of steps.
local function slice(stage, s, thread, file)
  registry.script, registry.recording = s, stage.set
  local ok, first, second = coroutine.resume(thread, file)
  registry.script, registry.recording = nil, registry.live
  if not ok then return "ended", tostring(first) end
  if coroutine.status(thread) == "dead" then return "ended", first end
  return first, second
end

--- The function by which a body gets its files. In the body's own thread it may wait for one.
local function fetcher(stage, thread_of)
  return function(path, shown)
    local compiled = stage.compiled[path]
    if coroutine.running() == thread_of() then
      compiled = coroutine.yield("needs", { path = path, shown = shown })
    elseif not compiled then -- required in a coroutine of the script's own: there is no waiting there
      compiled = script.from_disk(path, shown) or { problem = shown .. ": cannot be read", missing = true }
      stage.compiled[path] = compiled
    end
    return compiled
  end
end

--- Runs the body of one script. Answers a problem as text, or nil.
local function run_body(stage, s)
  local thread
  thread = coroutine.create(function()
    local body, problem = script.body(s, fetcher(stage, function() return thread end))
    if not body then return problem end
    return body()
  end)
  local file
  while true do
    local what, value = outside.run("stage", slice, stage, s, thread, file)
    if what == "ended" then return value end
    file = stage.compiled[value.path]
    if not file then
      local read = stage.fetch { value }
      file = read[value.path]
      table.insert(stage.wanted, value.path)
      stage.compiled[value.path] = file
    end
  end
end

local function by_index(a, b) return a.index < b.index end

--- Runs the bodies of scripts that have not run yet. Answers whether all went well.
local function run_bodies(stage, scripts)
  table.sort(scripts, by_index)
  for _, s in ipairs(scripts) do
    remember(stage, s)
    s.params = stage.params[s] or s.params
    local problem = run_body(stage, s)
    if problem then table.insert(stage.problems, problem) end
  end
  return #stage.problems == 0
end

-- ---- checks ---------------------------------------------------------------------------------

local function note(stage, problems)
  for _, problem in ipairs(problems) do table.insert(stage.problems, problem) end
end

--- Names of the fields that a component will have, from the texts of its declaration.
local function declared_names(t)
  local names = {}
  for _, line in ipairs(t.places[1] and t.places[1].fields or {}) do
    names[#names + 1] = line:match "^%s*[%w_]+%s+([%w_]+)"
  end
  return names
end

local function of_scripts(list, scripts)
  local out = {}
  for _, item in ipairs(list) do
    if scripts[item.script] then out[#out + 1] = item end
  end
  return out
end

local function check_texts(stage)
  local files, changed = {}, {}
  for _, s in ipairs(stage.order) do
    for _, file in ipairs(s.files) do files[#files + 1] = file end
  end
  for _, change in ipairs(stage.changes) do
    if change.kind == "component" then changed[change.name] = true end
  end
  local sources, components = script.sources(files), stage.set.types.component
  note(stage, fieldcheck.check(sources, function(name)
    local t = components[name]
    return t and (changed[name] and declared_names(t) or t.object.field_names)
  end))
  local machines = of_scripts(stage.set.machines, stage.restarted)
  note(stage, machine_checks.check(machines, sources, function(c) return not changed[c.name] end))
end

--- Builds the queries whose components stay as they are: the others are built at the swap.
local function build_queries(stage)
  local changed = {}
  for _, change in ipairs(stage.changes) do
    if change.plan then changed[change.after.object] = true end
  end
  stage.late_queries = {}
  for i, q in ipairs(of_scripts(stage.set.queries, stage.restarted)) do
    if query.names_any(q, changed) then
      table.insert(stage.late_queries, q)
    else
      local problem = query.build(q)
      if problem then table.insert(stage.problems, problem) end
    end
    if i % 8 == 0 then coroutine.yield() end
  end
end

--- Runs a function outside of steps; it yields where others may go on.
local function in_slices(fn, ...)
  local thread = coroutine.create(fn)
  local function resume(...)
    local ok, e = coroutine.resume(thread, ...)
    if not ok then error(e, 0) end
  end
  outside.run("stage", resume, ...)
  while coroutine.status(thread) ~= "dead" do outside.run("stage", resume) end
end

--- Types: what differs, what becomes of it; new ones are registered and laid out, for nobody sees them yet.
local function prepare_types(stage)
  local set, changes = stage.set, stage.changes
  note(stage, type_changes.problems(set, changes))
  if #stage.problems > 0 then return end
  if #changes == 0 then
    component.list(set)
    set.enums, set.struct_ids = registry.live.enums, registry.live.struct_ids
    return
  end
  for _, change in ipairs(changes) do change.back = stage.back end
  for _, step in ipairs { type_changes.define, type_changes.plan } do
    note(stage, step(set, changes))
    if #stage.problems > 0 then return end
  end
  type_changes.lay_out_new(set, changes)
end

-- ---- the stage ------------------------------------------------------------------------------

--- Adds the scripts that name a type which differs, until no more do.
local function run_all(stage)
  local scripts = stage.order
  while #scripts > 0 do
    local leaves = {}
    for _, s in ipairs(scripts) do leaves[s] = true end
    stage.set = registry.fork(stage.set, leaves)
    if not run_bodies(stage, scripts) then return end
    stage.changes = type_changes.compare(registry.live, stage.set, outside.pause)
    local more, why = type_changes.who_names(stage.changes, stage.restarted)
    scripts = {}
    for _, s in ipairs(more) do
      if s.files then -- not the host itself
        scripts[#scripts + 1] = s
        table.insert(stage.order, s)
        stage.restarted[s] = why[s]
      end
    end
  end
  table.sort(stage.order, by_index)
end

---@class stator.StageOptions
---@field fetch fun(list: table[]): table<string, stator.Compiled> reads and compiles files
---@field restarts table<stator.Script, string> scripts that run again whatever their files are, and why
---@field params table<stator.Script, table> what scripts get as parameters, when they run again
---@field back boolean? to what was accepted last: values come from the copies
---@field check fun(stage: stator.Stage): string[] what the scene has against it, once the types are planned

--- Makes a stage. In the reload's task; takes several steps.
---@param options stator.StageOptions
---@return stator.Stage
function M.make(options)
  local stage = {
    order = {}, restarted = {}, set = registry.live, changes = {}, problems = {}, before = {}, wanted = {},
    late_queries = {}, fetch = options.fetch, params = options.params, back = options.back,
  }
  stage.options = options
  local files = M.files_in_force()
  for i, file in ipairs(files) do stage.wanted[i] = file.path end -- a body that fails does not get to all
  stage.compiled = stage.fetch(files)
  for _, s in ipairs(script.uses) do stage.restarted[s] = options.restarts[s] end
  find_changed(stage)
  stage.simulators = changed_simulators(stage)
  for _, s in ipairs(script.uses) do
    if stage.restarted[s] then table.insert(stage.order, s) end
  end
  run_all(stage)
  for _, step in ipairs {
    function() in_slices(prepare_types, stage) end,
    function() note(stage, options.check(stage)) end,
    function() in_slices(check_texts, stage) end,
    function() in_slices(build_queries, stage) end,
    function() note(stage, type_changes.check(stage.changes, outside.pause)) end,
  } do
    if #stage.problems == 0 then step() end
  end
  return stage
end

--- The same stage once more, with the bodies run again: what they have read is not so any more.
---@param stage stator.Stage which is dropped
---@return stator.Stage
function M.again(stage)
  M.drop(stage)
  local options, known = {}, stage.compiled
  for name, value in pairs(stage.options) do options[name] = value end
  options.restarts = stage.restarted
  function options.fetch(list)
    local by_path, missing = {}, {}
    for _, file in ipairs(list) do
      by_path[file.path] = known[file.path]
      if not known[file.path] then missing[#missing + 1] = file end
    end
    for path, compiled in pairs(stage.fetch(missing)) do by_path[path] = compiled end
    return by_path
  end
  local made = M.make(options)
  made.text = stage.text
  return made
end

--- Makes of the files that will run what is kept of them, so that the swap need not. In the reload's task.
---@param stage stator.Stage
function M.encode(stage)
  local count = 0
  stage.encoded = {}
  for _, s in ipairs(stage.order) do
    for _, file in ipairs(s.files) do
      stage.encoded[file] = script.encoded(file)
      count = count + 1
      if count % ENCODED == 0 then outside.pause() end
    end
  end
end

--- A stage that was not made.
---@param problems string[] why
---@return stator.Stage
function M.refused(problems)
  return {
    order = {}, restarted = {}, set = registry.live, changes = {}, problems = problems, before = {}, wanted = {},
  }
end

--- Ends the queries that scripts had in a set which is not in force any more. In the reload's task.
---@param set stator.Set
---@param scripts table<stator.Script, any>
function M.release(set, scripts)
  in_slices(function()
    for i, q in ipairs(of_scripts(set.queries, scripts)) do
      query.release(q)
      if i % RELEASED == 0 then coroutine.yield() end
    end
  end)
end

--- Gives up a stage: everything is as before.
---@param stage stator.Stage
function M.drop(stage)
  if #stage.order == 0 and next(stage.before) == nil then return end
  outside.run("stage", function()
    for _, q in ipairs(of_scripts(stage.set.queries, stage.restarted)) do
      if stage.set ~= registry.live then query.release(q) end
    end
    type_changes.drop(stage.changes)
    if #stage.changes > 0 then type_changes.define(registry.live) end
    forget_bodies(stage)
  end)
end

return M
