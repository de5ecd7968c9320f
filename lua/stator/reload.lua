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
local revisions = require "stator.revisions"
local schedule = require "stator.schedule"
local script = require "stator.script"
local stages = require "stator.stage"
local swap = require "stator.swap"
local task = require "stator.task"
local type_changes = require "stator.type_changes"
local watch = require "stator.core.watch"

local ACCEPTED = "accepted:" -- prefix of what is kept to go back to
local RESTAGES_MAX = 20
local TELL_S = 5 -- how long who asks waits for the end before hearing how far it is

local M = {
  state = "idle",
  requests = {}, ---@type stator.ReloadRequest[] that nobody has begun with
  guards = {}, ---@type table[] of no_reload, in the order in which they came: task, reason, since_s
  released = nil, ---@type userdata? settled when a guard goes
}

---@class stator.ReloadRequest
---@field verb "reload"|"accept"|"revert"
---@field reason string
---@field plan_only boolean?
---@field force boolean? whoever holds the reload
---@field drop table<string, boolean>? components that may go though entities carry them
---@field answer table? once it is known: ok, message, code, problems, plan
---@field since_s number

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
    if M.released and M.released:state() == "pending" then M.released:settle(true) end
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
  watch.ask(request.reason)
end

local function answered(request, answer)
  if request then request.answer = answer end
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

--- What the watch looks at: the scene, the files in force, and what a stage asked for.
local function watched(stage)
  local paths, known = {}, {}
  local function add(path)
    if not known[path] then
      known[path] = true
      paths[#paths + 1] = path
    end
  end
  add(M.scene.file)
  for _, file in ipairs(stages.files_in_force()) do add(file.path) end
  for _, list in ipairs { stage and stage.wanted or {}, M.wanted or {} } do
    for _, path in ipairs(list) do add(path) end
  end
  return paths
end

local function watch_files(stage) M.watching = watch.set(watched(stage), M.mode) ~= "off" end

--- Makes a stage of which no file was saved while it was made.
local function make_stage(request)
  for _ = 1, RESTAGES_MAX do
    local scene = M.scene:compare()
    local stage
    if #scene.problems > 0 then
      stage = stages.refused(scene.problems)
    else
      stage = stages.make(stages.from_disk, scene.restarts, function(made) M.scene:check(made) end)
    end
    stage.scene = scene
    watch_files(stage)
    if not M.watching or task.await(watch.unchanged()) then
      watch.ack()
      return stage
    end
    stages.drop(stage)
    task.await(watch.next())
  end
  return stages.refused { "files are saved without end: " .. request.reason }
end

local function refuse(stage, request, problems)
  stages.drop(stage)
  M.wanted = stage.wanted
  tell("error", problems)
  log.event("error", "reload", ("%s: %d problem%s; revision %d goes on"):format(request.reason, #problems,
    #problems == 1 and "" or "s", revisions.current))
  answered(request, { ok = false, code = "invalid", message = table.concat(problems, "\n"), problems = problems })
  set_state(revisions.fallback and "probation" or "idle")
end

-- ---- draining -------------------------------------------------------------------------------

--- Cancels a task that was let finish, when its time is over.
local function limit(t, finish_s)
  task.spawn({ name = "reload", order = registry.order(0, 0, 0), daemon = true, quiet = true }, function()
    local who = task.await(combine.race { ended = task.ended(t), over = core.sleep(finish_s) })
    if who == "over" then task.cancel(t, ("reload: not finished within %g s"):format(finish_s)) end
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
  for _, name in ipairs(keep.names(ACCEPTED)) do keep.remove(name) end
  type_changes.accept()
  revisions.accept()
end

--- Keeps what the scripts are now, to go back to; once, until it is accepted.
local function keep_fallback(stage)
  if revisions.fallback then
    revisions.widen(stage.restarted)
    for _, s in ipairs(stage.order) do script.keep_files_as(ACCEPTED, s, stage.before[s].files) end
    return
  end
  persist.save(ACCEPTED)
  for _, s in ipairs(stage.order) do script.keep_files_as(ACCEPTED, s, stage.before[s].files) end
  revisions.begin_probation(stage.restarted, M.scene:mark())
end

-- ---- one attempt ----------------------------------------------------------------------------

--- Waits until nobody holds the scripts any more. Answers false when there is something newer to do first.
local function wait_for_guards(stage, request)
  while not request.force do
    local guards = guards_of(stage.restarted)
    if #guards == 0 then return true end
    local holds = shown_guards(guards)
    if M.holds ~= holds then log.event("warn", "reload", "waits for " .. holds) end
    set_state("waiting", holds)
    M.released = core.future()
    local who = task.await(combine.race { free = M.released, news = watch.next() })
    if who == "news" then
      local newest = M.requests[1]
      if not (newest and newest.verb == "reload" and newest.force) then return false end
      table.remove(M.requests, 1)
      watch.ack()
      request.force = true
      newest.follows = request
    end
  end
  return true
end

local function go(stage, plan, request)
  set_state("draining")
  drain(stage.restarted)
  keep_fallback(stage)
  core.outside_times()
  local problem
  repeat problem = outside.run("swap", swap.run, stage, plan.revision) until problem ~= "again"
  schedule.halt(registry.live, stage.restarted, false)
  if problem then
    schedule.start_again(stage.restarted)
    refuse(stage, request, { problem })
    return
  end
  M.scene:apply(stage.scene)
  local pause_s, slice_s = core.outside_times()
  revisions.swapped(plan.revision, request.reason, stage.order)
  log.event("info", "reload", ("revision %d is in force, swapped in %.2g ms%s"):format(plan.revision, pause_s * 1e3,
    revisions.fallback and (", on probation for %g s"):format(M.settings.probation_s) or ""))
  plan.paused_s, plan.slice_s = pause_s, slice_s
  answered(request, { ok = true, plan = plan, message = ("revision %d is in force"):format(plan.revision) })
  set_state("probation")
end

local function nothing(stage, request)
  stages.drop(stage)
  log.event(request.reason == "saved" and "debug" or "info", "reload", request.reason .. ": nothing has changed")
  answered(request, { ok = true, message = "nothing has changed", revision = revisions.current })
  set_state(revisions.fallback and "probation" or "idle")
end

local function plan_only(stage, plan, request)
  stages.drop(stage)
  answered(request, { ok = #plan.refused == 0, plan = plan, lines = plans.lines(plan), message = "planned",
    code = "refused" })
  set_state(revisions.fallback and "probation" or "idle")
end

--- Reloads what was saved.
local function reload(request)
  if M.settings.lock then
    log.event("warn", "reload", request.reason .. ': reload is locked by the scene ("reload": { "lock": true })')
    watch.ack()
    return answered(request, { ok = false, code = "locked", message = "reload is locked by the scene" })
  end
  set_state("staging")
  local stage = make_stage(request)
  if #stage.problems > 0 then return refuse(stage, request, stage.problems) end
  if #stage.order == 0 and #stage.scene.changes == 0 then return nothing(stage, request) end
  local plan = plans.make(stage, { revision = revisions.newest + 1, reason = request.reason, drop = request.drop or {} })
  if request.plan_only then return plan_only(stage, plan, request) end
  tell("info", plans.lines(plan))
  if #plan.refused > 0 then return refuse(stage, request, plan.refused) end
  if #stage.order == 0 then
    M.scene:apply(stage.scene)
    answered(request, { ok = true, plan = plan, message = "applied; no script runs again" })
    return set_state(revisions.fallback and "probation" or "idle")
  end
  if not wait_for_guards(stage, request) then
    stages.drop(stage)
    return reload(request)
  end
  go(stage, plan, request)
end

--- Goes back to the revision that was accepted last.
local function revert(request)
  local fallback = revisions.fallback
  if not fallback then
    return answered(request, { ok = false, code = "not_found", message = "there is no revision to go back to" })
  end
  set_state("staging")
  log.event("warn", "reload", ("goes back to revision %d: %s"):format(fallback.revision, request.reason))
  local stage = stages.make(stages.from_keep { ACCEPTED, "" }, M.scene:restarts_of(fallback), function() end)
  for _, change in ipairs(stage.changes) do change.back = true end
  if #stage.problems > 0 then return refuse(stage, request, stage.problems) end
  drain(stage.restarted)
  local problem
  repeat problem = outside.run("swap", swap.run, stage, fallback.revision) until problem ~= "again"
  schedule.halt(registry.live, stage.restarted, false)
  if problem then
    schedule.start_again(stage.restarted)
    return refuse(stage, request, { problem })
  end
  M.scene:go_back(fallback)
  persist.go_back(ACCEPTED, function(name) return revisions.wrote(persist.written[name]) end)
  forget_fallback()
  revisions.swapped(fallback.revision, request.reason, stage.order)
  log.event("warn", "reload", ("revision %d is in force again"):format(fallback.revision))
  answered(request, { ok = true, message = ("revision %d is in force again"):format(fallback.revision) })
  set_state("idle")
end

local function accept(request)
  if not revisions.fallback then
    return answered(request, { ok = true, message = "there is nothing to accept", revision = revisions.current })
  end
  forget_fallback()
  log.event("info", "reload", ("revision %d is accepted: %s"):format(revisions.current, request.reason))
  answered(request, { ok = true, message = ("revision %d is accepted"):format(revisions.current) })
  set_state("idle")
end

-- ---- the task -------------------------------------------------------------------------------

local VERBS = { reload = reload, accept = accept, revert = revert }

--- What there is to do next: a request, or saved files.
local function next_request()
  while true do
    local request = table.remove(M.requests, 1)
    if request then
      if request.verb ~= "reload" then watch.ack_asked() end
      return request
    end
    local fallback = revisions.fallback
    local who, change
    if fallback then
      who, change = task.await(combine.race { news = watch.next(), over = core.sleep_until(fallback.until_s) })
    else
      who, change = "news", task.await(watch.next())
    end
    if who == "over" then return { verb = "accept", reason = "its probation is over" } end
    if #M.requests == 0 then return { verb = "reload", reason = change.reason } end
  end
end

local function run()
  watch_files()
  while true do
    local request = next_request()
    local ok, e = combine.try(VERBS[request.verb], request)
    if not ok then
      answered(request, { ok = false, code = e.code, message = tostring(e.message) })
      fault.raise("reload", e)
      set_state(revisions.fallback and "probation" or "idle")
    end
  end
end

--- A fault of a revision on probation: too many and it goes back.
local function on_fault(name, e)
  if not revisions.count_fault(name, e, M.settings.max_faults) then return end
  M.ask { verb = "revert", reason = ("%d fault%s on probation, last of %s: %s"):format(revisions.fallback.faults,
    revisions.fallback.faults == 1 and "" or "s", name, tostring(e.message):match "^[^\n]*") }
end

--- Starts the task, once the cell runs.
---@param scene table see stator.reload_scene
---@param settings table "reload" of the scene
---@param mode string "events", "poll" or "off"
function M.start(scene, settings, mode)
  M.scene, M.settings, M.mode = scene, settings, mode
  fault.watcher = on_fault
  M.task = task.spawn({ name = "reload", order = registry.order(0, 0, 0), quiet = true, daemon = true }, run)
  M.task.hidden = true
end

return M
