--- Reload as a transaction: new code takes the place of old code, or nothing has happened.
---
---   idle ─▶ staging ─▶ (waiting: somebody holds the reload) ─▶ draining ─▶ swap ─▶ probation ─▶ idle
---             │ any problem: the revision before goes on          too many faults: back ◀┘
---
--- A task of the host does all of it (M.run). Who asks leaves a request; the watch (host/watch.h) wakes the
--- task for saved files, SIGHUP and requests.
local combine = require "stator.combine"
local core = require "stator.core.task"
local err = require "stator.err"
local fault = require "stator.fault"
local keep = require "stator.core.keep"
local log = require "stator.log"
local outside = require "stator.outside"
local persist = require "stator.persist"
local plans = require "stator.reload_plan"
local registry = require "stator.registry"
local reload_scene = require "stator.reload_scene"
local revisions = require "stator.revisions"
local schedule = require "stator.schedule"
local script = require "stator.script"
local stages = require "stator.stage"
local swap = require "stator.swap"
local task = require "stator.task"
local type_changes = require "stator.type_changes"
local watch = require "stator.core.watch"

local ACCEPTED = "accepted:" -- begins the names of what is kept to go back to
local RESTAGES_MAX = 20
local TELL_S = 5 -- how long who asks waits for the end before hearing how far it is

local M = {
  state = "idle",
  requests = {}, ---@type stator.ReloadRequest[] that nobody has begun with
  guards = {}, ---@type table[] of no_reload, in the order in which they came: task, reason, since_s
  released = nil, ---@type userdata? settled when a guard goes
  told = {}, ---@type table<string, string> hashes of files of simulated devices that were told of
}

---@class stator.ReloadRequest
---@field verb "reload"|"accept"|"revert"
---@field reason string
---@field plan_only boolean?
---@field force boolean? whoever holds the reload
---@field drop table<string, boolean>? components that may go though entities carry them
---@field others stator.ReloadRequest[]? that hear the same
---@field answer table? once it is known: ok, message, code, problems, plan
---@field since_s number
---@field answered_s number?

-- ---- who holds a reload ---------------------------------------------------------------------

--- Holds reloads of this script until the innermost block around ends: a motion that must not be cut short.
---@param reason string for people: what it is waited for
function M.no_reload(reason)
  local t = task.current("no_reload")
  if type(reason) ~= "string" or reason == "" or #reason > 96 then
    err.raise("no_reload: expected a reason of 1 to 96 bytes, got " .. err.shown(reason))
  end
  local guard = { task = t, reason = reason, since_s = core.now() }
  table.insert(M.guards, guard)
  combine.defer(function()
    for i, other in ipairs(M.guards) do
      if other == guard then table.remove(M.guards, i) break end
    end
    if M.released and M.released:state() == "pending" then core.settle(M.released, true) end
  end)
end

--- Guards of scripts.
local function guards_of(scripts)
  local list = {}
  for _, guard in ipairs(M.guards) do
    if guard.task.script and scripts[guard.task.script] and not guard.task.done then list[#list + 1] = guard end
  end
  return list
end

local function shown_guards(guards)
  local parts = {}
  for i, guard in ipairs(guards) do parts[i] = ("%s: %s"):format(guard.task.name, guard.reason) end
  return table.concat(parts, "; ")
end

-- ---- requests -------------------------------------------------------------------------------

--- Leaves a request for the task.
---@param request stator.ReloadRequest
function M.ask(request)
  request.since_s = core.now()
  table.insert(M.requests, request)
  watch.ask(request.verb)
  if not M.task then M.spawn(false) end
end

--- Tells those who asked what came of it.
local function answer(request, what)
  request.answer, request.answered_s = what, core.now()
  for _, other in ipairs(request.others or {}) do answer(other, what) end
end

--- What somebody who waits for a request hears: the answer, or after a while how far it is; nil: later.
---@param request stator.ReloadRequest
function M.heard(request)
  if request.answer then return request.answer end
  if core.now() - request.since_s < TELL_S then return nil end
  return { ok = true, state = M.state, message = ("%s%s"):format(M.state, M.holds and ": " .. M.holds or "") }
end

local function tell(level, lines)
  for _, line in ipairs(lines) do log.event(level, "reload", line) end
end

local function set_state(state, holds)
  M.state, M.holds = state, holds
  revisions.show(state, holds)
end

-- ---- staging --------------------------------------------------------------------------------

--- What the watch looks at: the scene, the files in force, and what a stage looked for.
local function watch_files(wanted)
  local paths, known = {}, {}
  local function add(path)
    if not known[path] then
      known[path] = true
      paths[#paths + 1] = path
    end
  end
  add(M.scene.file)
  for _, file in ipairs(stages.files_in_force()) do add(file.path) end
  for _, path in ipairs(wanted) do add(path) end
  M.watching = watch.set(paths, M.settings.watch) ~= "off"
end

--- A stage of the scene file and the files as they are now, with what they change of the scene.
local function stage_of(text, problem)
  local found = text and M.scene:params_of(text) or { problems = { problem } }
  if #found.problems > 0 then return stages.refused(found.problems) end
  local stage = stages.make {
    fetch = stages.from_disk, restarts = found.restarts, params = found.params,
    check = function(made)
      made.scene = M.scene:compare(made, text)
      return made.scene.problems
    end,
  }
  stage.text = text
  return stage
end

--- Makes a stage of which no file was saved while it was made.
local function make_stage(request)
  for _ = 1, RESTAGES_MAX do
    local stage = stage_of(script.read_file(M.scene.file))
    watch_files(stage.wanted)
    if not M.watching or task.await(watch.unchanged()) then return stage end
    stages.drop(stage)
    local change = task.await(watch.next())
    if request.plan_only then M.note(change) else watch.ack() end -- a plan does not take it over
  end
  return stages.refused { "files are saved again and again: " .. request.reason }
end

--- Applies what a stage takes of the scene, which may say how to watch.
local function apply_scene(stage, text)
  tell("warn", M.scene:apply(stage.scene, text))
  watch_files(stage.wanted)
end

local function rest() set_state(revisions.fallback and "probation" or "idle") end

local function refuse(stage, request, problems)
  stages.drop(stage)
  tell("error", problems)
  log.event("error", "reload", ("%s: %d problem%s; revision %d goes on"):format(request.reason, #problems,
    #problems == 1 and "" or "s", revisions.current))
  answer(request, { ok = false, code = "invalid", message = table.concat(problems, "\n"), problems = problems })
  rest()
end

-- ---- draining -------------------------------------------------------------------------------

--- Cancels a task that was let finish, when its time is over.
local function limit(t, finish_s)
  task.spawn({ name = "reload", order = registry.order(0, 0, 0), daemon = true, quiet = true }, function()
    local who = task.await(combine.race { ended = task.ended(t), over = core.sleep(finish_s) })
    if who == "over" and schedule.is_draining(t) then
      task.cancel(t, ("reload: not finished within %g s"):format(finish_s))
    end
  end).hidden = true
end

--- Ends what runs of the scripts: cancelled with the reason "reload", cleaned up, or let finish. Takes as long as
--- their cleanup may.
local function drain(scripts)
  schedule.halt(registry.live, scripts, true)
  local cancelled = {}
  for _, t in ipairs(plans.tasks_of(scripts)) do
    if plans.may_finish(t) then
      schedule.drain(t)
      limit(t, t.declared.finish_s)
    else
      task.cancel(t, "reload")
      cancelled[#cancelled + 1] = t
    end
  end
  for _, t in ipairs(cancelled) do task.outlast(t) end
end

-- ---- the way back ---------------------------------------------------------------------------

local function forget_fallback()
  for _, name in ipairs(keep.names(ACCEPTED .. "file:")) do keep.remove(name) end
  persist.forget(ACCEPTED)
  type_changes.accept()
  revisions.accept()
end

--- What can be done before anybody is disturbed: what will be kept of the new files, and what is of the old ones.
--- Those stay as they are until the swap, so it does not matter when it does not come to that.
local function prepare(stage)
  stages.encode(stage)
  for _, s in ipairs(stage.order) do script.copy_kept(ACCEPTED, stage.before[s].files, outside.pause) end
end

--- Keeps what is in force now, to go back to, unless a revision before it is kept already.
local function keep_fallback(stage)
  if not revisions.fallback then persist.save(ACCEPTED) end
  revisions.begin_probation(stage.restarted, M.scene:mark(), M.settings.probation_s)
end

-- ---- one attempt ----------------------------------------------------------------------------

--- Lets what has come meanwhile go before a reload that waits, and takes along what asks for the same.
local function put_back(request)
  local first = {}
  request.others, request.drop = request.others or {}, request.drop or {}
  for _, other in ipairs(M.requests) do
    if other.verb == "reload" and not other.plan_only then
      request.force = request.force or other.force
      for name in pairs(other.drop or {}) do request.drop[name] = true end
      table.insert(request.others, other)
      for _, asked in ipairs(other.others or {}) do table.insert(request.others, asked) end
    else
      first[#first + 1] = other
    end
  end
  first[#first + 1] = request
  M.requests = first
end

--- Waits until nobody holds the scripts any more. Answers false when there is something newer to do first.
local function wait_for_guards(stage, request)
  while not request.force do
    local guards = guards_of(stage.restarted)
    if #guards == 0 then return true end
    local holds = shown_guards(guards)
    if M.holds ~= holds then log.event("warn", "reload", "waits for " .. holds) end
    set_state("waiting", holds)
    M.released = core.future()
    local who, change = task.await(combine.race { free = M.released, news = watch.next() })
    if who == "news" then
      M.note(change)
      if #M.requests > 0 then return false end
    end
  end
  return true
end

--- Ends what runs, and puts the stage in its place. Answers the stage, and a problem: then what ran starts again.
---@param before_swap fun(stage: stator.Stage)?
local function replace(stage, revision, before_swap)
  set_state "draining"
  local scripts, before = stage.restarted, registry.live
  drain(scripts)
  outside.pause() -- the last one to clean up and the swap are not one slice
  if persist.is_stale(stage.set) then stage = stages.again(stage) end
  local problem = stage.problems[1]
  if not problem then
    if before_swap then before_swap(stage) end
    core.outside_times()
    repeat problem = outside.run("swap", swap.run, stage, revision) until problem ~= "again"
  end
  schedule.halt(registry.live, scripts, false)
  if problem then schedule.start_again(scripts) else stages.release(before, scripts) end
  return stage, problem
end

local function go(stage, plan, request)
  local problem
  stage, problem = replace(stage, plan.revision, keep_fallback)
  if problem then
    if revisions.fallback and revisions.fallback.revision == revisions.current then forget_fallback() end
    return refuse(stage, request, { problem })
  end
  plan.paused_s, plan.slice_s = core.outside_times()
  apply_scene(stage, stage.text)
  revisions.swapped(plan.revision, request.reason, stage.order)
  local probation = M.settings.probation_s
  log.event("info", "reload", ("revision %d is in force; the swap took %.2g ms%s"):format(plan.revision,
    plan.paused_s * 1e3, probation > 0 and (", on probation for %g s"):format(probation) or ""))
  answer(request, { ok = true, plan = plan, lines = plans.lines(plan), revision = plan.revision,
    message = ("revision %d is in force"):format(plan.revision) })
  rest()
end

local function nothing(stage, request)
  stages.drop(stage)
  log.event(request.reason == "saved" and "debug" or "info", "reload", request.reason .. ": nothing has changed")
  answer(request, { ok = true, message = "nothing has changed", revision = revisions.current })
  rest()
end

local function plan_only(stage, plan, request)
  stages.drop(stage)
  local ok = #plan.refused == 0
  answer(request, { ok = ok, code = not ok and "refused" or nil, plan = plan, lines = plans.lines(plan),
    message = ok and "planned; nothing was done" or table.concat(plan.refused, "\n") })
  rest()
end

--- What of the scene is applied without any script that runs again.
local function apply_only(stage, plan, request)
  apply_scene(stage, stage.text)
  answer(request, { ok = true, plan = plan, lines = plans.lines(plan), message = "no script runs again" })
  rest()
end

--- Says once of each text of a simulated device that it does not run yet.
local function tell_simulators(stage)
  for _, file in ipairs(stage.simulators) do
    if M.told[file.shown] ~= file.hash then
      log.event("warn", "reload", file.shown .. " plays a simulated device: start the cell again to run what was saved")
      M.told[file.shown] = file.hash
    end
  end
end

--- Reloads what was saved.
local function reload(request)
  if M.settings.lock and not request.plan_only then
    log.event("warn", "reload", request.reason .. ': the scene has reload locked, "reload": { "lock": true }')
    return answer(request, { ok = false, code = "locked", message = "the scene has reload locked" })
  end
  set_state "staging"
  local stage = make_stage(request)
  if #stage.problems > 0 then return refuse(stage, request, stage.problems) end
  tell_simulators(stage)
  if #stage.order == 0 and #stage.scene.applies == 0 and #stage.scene.waits == 0 then return nothing(stage, request) end
  local plan = plans.make(stage, { revision = revisions.newest + 1, reason = request.reason,
    drop = request.drop or {} })
  if request.plan_only then return plan_only(stage, plan, request) end
  tell("info", plans.lines(plan))
  if #plan.refused > 0 then return refuse(stage, request, plan.refused) end
  if #stage.order == 0 then return apply_only(stage, plan, request) end
  prepare(stage)
  if wait_for_guards(stage, request) then return go(stage, plan, request) end
  stages.drop(stage)
  put_back(request)
  rest()
end

--- Goes back to the revision that was accepted last.
local function revert(request)
  local fallback = revisions.fallback
  if not fallback then
    return answer(request, { ok = false, code = "not_found", message = "there is no revision to go back to" })
  end
  set_state "staging"
  log.event("warn", "reload", ("goes back to revision %d: %s"):format(fallback.revision, request.reason))
  local found = M.scene:params_of(fallback.scene)
  persist.back = { prefix = ACCEPTED, is_meant = revisions.is_new }
  local ok, stage = combine.try(stages.make, {
    fetch = stages.from_keep { ACCEPTED, "" }, restarts = found.restarts, params = found.params, back = true,
    check = function(made)
      made.scene = M.scene:compare(made, fallback.scene)
      return made.scene.problems
    end,
  })
  persist.back = nil
  if not ok then error(stage, 0) end
  if #stage.problems > 0 then return refuse(stage, request, stage.problems) end
  stages.encode(stage)
  if #stage.order > 0 then
    local problem
    stage, problem = replace(stage, fallback.revision)
    if problem then return refuse(stage, request, { problem }) end
  end
  apply_scene(stage, fallback.scene)
  persist.go_back(ACCEPTED, revisions.is_new)
  forget_fallback()
  revisions.swapped(fallback.revision, request.reason, stage.order)
  log.event("warn", "reload", ("revision %d is in force again"):format(fallback.revision))
  log.event("info", "reload", "the files stay as they are saved; the next save or reload tries them again")
  answer(request, { ok = true, revision = fallback.revision,
    message = ("revision %d is in force again"):format(fallback.revision) })
  rest()
end

local function accept(request)
  if not revisions.fallback then
    return answer(request, { ok = true, message = "there is nothing to accept", revision = revisions.current })
  end
  forget_fallback()
  log.event("info", "reload", ("revision %d is accepted: %s"):format(revisions.current, request.reason))
  answer(request, { ok = true, message = ("revision %d is accepted"):format(revisions.current) })
  rest()
end

-- ---- the task -------------------------------------------------------------------------------

local VERBS = { reload = reload, accept = accept, revert = revert }

--- Takes over what the watch has told.
function M.note(change)
  watch.ack()
  local has_reload = false
  for _, request in ipairs(M.requests) do
    has_reload = has_reload or (request.verb == "reload" and not request.plan_only) -- a plan does not take it over
  end
  local asked = change.reason == "SIGHUP"
  local saved = M.watching and #change.paths > 0 -- else a look for who asks for something else finds old saves
  if (asked or saved) and not has_reload then
    table.insert(M.requests, { verb = "reload", reason = asked and "SIGHUP" or "saved", since_s = core.now() })
  end
end

--- What there is to do next: a request, or the end of the probation.
local function next_request()
  while #M.requests == 0 do
    local fallback = revisions.fallback
    if fallback then
      local who, change = task.await(combine.race { news = watch.next(), over = core.sleep_until(fallback.until_s) })
      if who == "over" then return { verb = "accept", reason = "its probation is over" } end
      M.note(change)
    else
      M.note(task.await(watch.next()))
    end
  end
  return table.remove(M.requests, 1)
end

local function run(lost)
  revisions.show_scripts(script.uses, "start")
  rest()
  watch_files {}
  if lost then table.insert(M.requests, { verb = "revert", reason = "a VM was lost on probation" }) end
  while true do
    local request = next_request()
    local ok, e = combine.try(VERBS[request.verb], request)
    if not ok then
      answer(request, { ok = false, code = e.code, message = tostring(e.message) })
      fault.raise("reload", e)
      rest()
    end
  end
end

--- A fault of a revision on probation: too many and it goes back.
local function on_fault(name, e, for_good)
  if not revisions.count_fault(name, for_good, M.settings.max_faults) then return end
  local faults = revisions.fallback.faults
  M.ask { verb = "revert", reason = ("%d fault%s on probation, the last one of %s: %s"):format(faults,
    faults == 1 and "" or "s", name, tostring(e.message):match "^[^\n]*") }
end

--- Starts the task, once the cell runs.
---@param options { file: string, sets: string[], settings: table, on_demand: boolean } settings: "reload" of the
--- scene; on_demand: its task starts when somebody asks
---@param restored boolean in the place of a lost VM
function M.start(options, restored)
  M.settings = options.settings
  M.scene = reload_scene.new(options.file, options.sets, function(name, value) M.settings[name] = value end)
  fault.watcher = on_fault
  fault.on_flush = function()
    if revisions.fallback then revisions.show(M.state, M.holds) end
  end
  local lost = restored and revisions.resume()
  if lost or not options.on_demand then M.spawn(lost) end
end

--- Starts the task itself.
---@param lost boolean? a VM was lost on probation
function M.spawn(lost)
  M.task = task.spawn({ name = "reload", order = registry.order(0, 0, 0), quiet = true }, run, lost)
  M.task.hidden = true
end

return M
