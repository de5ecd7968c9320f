--- What the host calls: load a scene, stop it, describe it. See host/host.c.
local control = require "stator.control"
local core = require "stator.core.task"
local err = require "stator.err"
local fault = require "stator.fault"
local inspect = require "stator.inspect"
local files = require "stator.file"
local link = require "stator.link"
local log = require "stator.log"
local machine = require "stator.machine"
local outside = require "stator.outside"
local registry = require "stator.registry"
local reload = require "stator.reload"
local revisions = require "stator.revisions"
local react = require "stator.react"
local scene = require "stator.scene"
local schedule = require "stator.schedule"
local script = require "stator.script"
local task = require "stator.task"
require "stator"

local M = {}

local function declare_host()
  registry.script = { name = "host", index = 0, position = 0, params = {} }
  link.declare()
  fault.declare()
  machine.declare()
  revisions.declare()
  registry.script = nil
  return { Link = link.Link, Fault = fault.Fault }
end

local function tell_problems(file, lines)
  for _, line in ipairs(lines) do io.stderr:write(line, "\n") end
  io.stderr:write(("%s: %d problem%s; nothing was started\n"):format(file, #lines, #lines == 1 and "" or "s"))
end

local function start_links(quarantine)
  for i, l in ipairs(link.list) do
    if l.run_simulator and quarantine then
      link.stay_down(l, i * 2, "its simulated device is a script, and stays stopped with them")
    else
      if l.run_simulator then link.start_simulator(l, l.run_simulator, i * 2 - 1) end
      link.start(l, i * 2)
    end
  end
end

--- What the control socket tells of the scene.
local function note_settings(loaded)
  M.settings, script.uses = loaded.settings, loaded.scripts
end

local function start_reload(loaded, restored)
  revisions.start()
  fault.script_of = revisions.script_of
  reload.start({
    file = M.options.scene, sets = M.options.sets, settings = loaded.settings.reload,
    on_demand = M.options.reload_on_demand,
  }, restored)
end

local function start_cell(loaded)
  schedule.freeze()
  start_links()
  schedule.start()
  start_reload(loaded, false)
  local s = loaded.settings
  log.event("info", "host", ("%s: %d entities, %d scripts, %d links, %g Hz"):format(s.name, #loaded.entities,
    #loaded.scripts, #link.list, s.tick_hz))
end

--- Loads and starts a scene. Answers its settings, or nothing after it has told what is wrong.
---@param options { scene: string, check_only: boolean, sets: string[], show_stats: boolean, explain_jit: boolean }
function M.load(options)
  M.options = options
  if options.explain_jit then require("stator.explain").start() end
  schedule.install()
  react.install()
  files.set_folder(options.scene)
  local loaded = scene.load(options.scene, options.sets, declare_host)
  local lines = loaded:report()
  if #lines == 0 then
    local problem = loaded:apply()
    if problem then lines = { options.scene .. ": " .. problem } end
  end
  if #lines > 0 then return tell_problems(options.scene, lines) end
  note_settings(loaded)
  if options.check_only then
    io.stdout:write(("%s: ok: %d entities, %d scripts, %d links\n"):format(options.scene, #loaded.entities,
      #loaded.scripts, #loaded.links))
  else
    start_cell(loaded)
  end
  return loaded.settings
end

--- In a VM that takes the place of one that was lost: the same scene and scripts on the world as it is.
--- What ran when the VM was lost does not run again at once.
---@param options { scene: string, sets: string[] }
---@param lost { kind: string, name: string, order: number, owner: number, place: string, why: string }
---@param quarantine boolean load the scripts, but run nothing of them
---@return boolean whether the cell goes on
function M.restore(options, lost, quarantine)
  M.options = options
  if options.explain_jit then require("stator.explain").start() end
  schedule.install()
  react.install()
  files.set_folder(options.scene)
  local loaded = scene.load(options.scene, options.sets, declare_host, true)
  local lines = loaded:report()
  note_settings(loaded)
  for _, line in ipairs(lines) do log.event("error", "host", line) end
  if #lines > 0 and not quarantine then return false end
  loaded:apply()
  schedule.freeze()
  start_links(quarantine)
  schedule.resume(lost, quarantine)
  if not quarantine then start_reload(loaded, true) end
  return true
end

-- ---- stopping -------------------------------------------------------------------------------

--- Tasks that stand alone, in the order of T2.
local function sorted_tasks()
  local list = {}
  for handle, t in pairs(task.by_handle) do
    if not t.parent then list[#list + 1] = { handle = handle, task = t } end
  end
  table.sort(list, function(a, b)
    if a.task.order ~= b.task.order then return a.task.order < b.task.order end
    return a.task.sequence < b.task.sequence
  end)
  return list
end

local function wait_for(tasks)
  for _, t in ipairs(tasks) do
    while not t.done do task.await(task.ended(t)) end
  end
end

--- The reload's task first: what it has begun is dropped. Then scripts, so that their cleanup can still reach the
--- devices; then links; then simulators.
local function shut_down(reason)
  local scripts, links, simulators = {}, {}, {}
  for _, item in ipairs(sorted_tasks()) do
    if item.task.script then scripts[#scripts + 1] = item.task end
  end
  for _, l in ipairs(link.list) do
    links[#links + 1] = l.task
    if l.simulator then simulators[#simulators + 1] = l.simulator end
  end
  if reload.task then
    task.cancel(reload.task, reason)
    wait_for { reload.task }
  end
  for _, t in ipairs(scripts) do task.cancel(t, reason) end
  wait_for(scripts)
  for _, l in ipairs(link.list) do link.drain(l) end -- the last outputs of the scripts' cleanup
  for _, t in ipairs(links) do task.cancel(t, reason) end
  wait_for(links)
  for _, t in ipairs(simulators) do task.cancel(t, reason) end
  wait_for(simulators)
  for _, l in ipairs(link.list) do l.task, l.simulator, l.watch_wake, l.conn = nil, nil, nil, nil end
end

--- Begins the orderly end. Answers the seconds it may take.
function M.stop(reason)
  log.event("info", "host", "stopping: " .. reason)
  schedule.stopping = true
  core.stop_systems()
  task.spawn({ name = "stop", order = registry.order(0, 0, 0) }, shut_down, reason)
  return M.settings and M.settings.stop_within_s or 2
end

--- Names the tasks that did not end in time.
function M.tell_stuck()
  for _, item in ipairs(sorted_tasks()) do
    if item.task.name ~= "stop" then
      local waits_for, since_s = inspect.waits_for(item.task.handle)
      log.event("error", item.task.name, ("did not end in time; it waits for %s since %.1f s:\n%s"):format(
        waits_for or "nothing", since_s or core.now(), err.script_frames(tostring(core.traceback(item.task.handle)))))
    end
  end
end

--- Between two steps: a slice of a reload's stage, or its swap.
function M.stage() outside.serve "stage" end

function M.swap() outside.serve "swap" end

--- The tail of the status line.
function M.status() return link.status() end

--- Answers a request of the control socket: a line of JSON, and "stop" or "close" when that follows.
---@param late_p50_s number of recent ticks
function M.control(line, late_p50_s, late_p99_s)
  return control.answer(line, M.settings, { p50_s = late_p50_s, p99_s = late_p99_s })
end

--- Last words. Answers whether there were faults.
---@param faulted boolean the host itself has one: a late tick, tasks that did not end
function M.summary(faulted)
  if M.options.show_stats then io.stdout:write(require("stator.ctl").show("systems", control.systems())) end
  if M.options.explain_jit then io.stdout:write(require("stator.explain").report()) end
  local faults = core.faults()
  if faults > 0 then
    log.event("warn", "host", ("ended with %d fault%s"):format(faults, faults == 1 and "" or "s"))
  elseif faulted then
    log.event("warn", "host", "ended, but not in order")
  else
    log.event("info", "host", "ended in order")
  end
  return faults > 0
end

return M
