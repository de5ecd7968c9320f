--- stator.machine: sequences as states. A state is a function that may wait and answers the name of the next
--- one; where the machine stands lies in the component Machine of its entity.
---
---   stator.machine("cell", { on = "robot", start = "idle", on_error = "stopped",
---       interrupt = { estop = { when = { Safety, "estop" }, go = "stopped" } } }, {
---     idle = function(cmd, me) await(me:when(Job, "waiting")) return "pick", me:get(Job).slot end,
---     pick = function(cmd, me, slot) ... return "idle" end,
---     stopped = function(cmd, me, from, ...) await(me:falling(Safety, "estop")) return "idle" end,
---   })
---
--- One turn of the machine is a block of its task:
---
---   watch interrupts ─▶ held? ─▶ show the state, commit ─▶ run the state ─▶ cleanup ─▶ next turn
---   └─────────────── an interrupt cancels the block ──────────────────┘
local checks = require "stator.machine_checks"
local combine = require "stator.combine"
local command = require "stator.command"
local component = require "stator.component"
local core = require "stator.core.task"
local entity = require "stator.entity"
local err = require "stator.err"
local log = require "stator.log"
local query = require "stator.query"
local registry = require "stator.registry"
local started = require "stator.started"
local system = require "stator.system"
local task = require "stator.task"

local Entity = entity.Entity
local NAME_BYTES, STATE_BYTES, REASON_BYTES = 64, 32, 96
local CHANGES_MAX = 32 -- in a row without waiting

local M = { running = {} } -- entity -> name of its machine

--- Declares the component; called while the registry records for the host.
function M.declare()
  M.Machine = component.component("Machine", {
    "bool running", "bool hold", "bool step", "double since_s", "uint32_t changes",
    ("char name[%d]"):format(NAME_BYTES), ("char state[%d]"):format(STATE_BYTES),
    ("char previous[%d]"):format(STATE_BYTES), ("char next[%d]"):format(STATE_BYTES),
    ("char reason[%d]"):format(REASON_BYTES),
  })
end

-- ---- interrupts -----------------------------------------------------------------------------

---@class stator.MachineTurn one run of a state
---@field name string of the state
---@field values any[] what the state gets, turn.n of them
---@field by integer? the interrupt that led here: it and those after it in the list are off
---@field urgent boolean? after an interrupt or an error: is not held
---@field reason string what led here, unless the state before did
---@field before stator.MachineTurn?
---@field scope stator.Scope
---@field futures userdata[] of the interrupts that are on
---@field fired integer? the interrupt that ended it
---@field fired_error stator.Error? that interrupt's operation failed with
---@field arming integer? the interrupt whose operation could not be made
---@field entered boolean? its function was called
---@field since_s number when that was

--- As much of a text as the component holds.
local function cut(text) return (text:gsub("%z", "?"):sub(1, REASON_BYTES)) end

local function turn_of(name, reason, ...)
  return { name = name, reason = cut(reason), values = { ... }, n = select("#", ...) }
end

--- Lets the operation of an interrupt run as long as the turn does. Answers its future, and whether
--- that may need another round to say what holds already.
local function start_watch(m, interrupt)
  local x = interrupt.make(m.me)
  if not core.is(x) then
    err.raise(("%s: interrupt %s: when answers an operation, not %s"):format(m.what, interrupt.name, err.shown(x)))
  end
  local future, cancel, child = task.start(x)
  if child then child.daemon = true end
  started.keep(m.task.scope, future, cancel, child)
  return future, child ~= nil
end

--- Notes the interrupt of the turn that has come, the first in the list. Answers whether there is one.
local function look(turn)
  for i, future in ipairs(turn.futures) do
    local state = future:state()
    if state ~= "pending" then
      turn.fired = i
      if state == "failed" then turn.fired_error = future:values() end
      return true
    end
  end
  return false
end

local function cancel(m, turn)
  turn.scope:cancel("interrupt", "interrupt " .. m.interrupts[turn.fired].name)
end

local function watch(m, turn, group)
  if core.park(group) and look(turn) then cancel(m, turn) end
end

--- Ends a turn whose state has not begun when an interrupt has come.
local function check(m, turn)
  if not look(turn) then return end
  cancel(m, turn)
  error(turn.scope.cancelled, 0)
end

--- Answers whether another round is needed to know what holds already.
local function arm(m, turn)
  turn.futures = {}
  local count = turn.by and turn.by - 1 or #m.interrupts
  if count == 0 then return false end
  local group, slow = core.future(count, "race"), false
  for i = 1, count do
    turn.arming = i
    local future, needs_round = start_watch(m, m.interrupts[i])
    turn.futures[i], slow = future, slow or needs_round
    core.tell(future, group)
  end
  turn.arming = nil
  check(m, turn)
  task.child(watch, { quiet = true, daemon = true }, m, turn, group)
  return slow
end

-- ---- one turn -------------------------------------------------------------------------------

local function may_go(machine) return not machine.hold or machine.step end

--- Single step: waits in front of a state until a person lets it go on.
local function hold(m, turn)
  local now = Entity.find(m.me, M.Machine)
  if not now or may_go(now) then return end
  turn.waited = true
  command:set(m.me, M.Machine, { next = turn.name })
  task.await(Entity.when(m.me, M.Machine, may_go))
end

local function show(m, turn)
  m.changes = (m.changes + 1) % 2 ^ 32
  command:set(m.me, M.Machine, {
    state = turn.name, previous = m.shown, next = "", reason = turn.reason, since_s = core.now(), changes = m.changes,
    step = false,
  })
  m.shown = turn.name
end

--- An interrupt may have come in the round in which the state ended.
local function ended(turn, ...)
  look(turn)
  return ...
end

--- A block of its own inside the turn, so that interrupts reach the children of a state that has returned.
local function run_state(m, turn)
  return task.block(task.enter(m.task), m.states[turn.name], command, m.me, unpack(turn.values, 1, turn.n))
end

local function run_turn(m, turn)
  turn.scope = m.task.scope
  local slow = arm(m, turn)
  if not turn.urgent then hold(m, turn) end
  show(m, turn)
  task.await(core.commit())
  if slow then task.await(core.commit()) end
  check(m, turn)
  turn.entered, turn.since_s = true, core.now()
  return ended(turn, run_state(m, turn))
end

-- ---- from turn to turn ----------------------------------------------------------------------

--- The states that repeat at the end of a history, as "a -> b -> a".
local function cycle_of(history)
  local n = #history
  for length = 1, math.floor(n / 2) do
    local same = true
    for i = n - length + 1, n do same = same and history[i] == history[i - length] end
    if same then return table.concat(history, " -> ", n - length, n) end
  end
  return table.concat(history, " -> ", math.max(1, n - 8), n)
end

--- Counts turns that took no time. An error value when there are too many; raised, should what `on_error`
--- names go on in the same way.
local function count_turn(m, turn)
  if turn.waited or (turn.entered and core.now() ~= turn.since_s) then
    m.history, m.cycle_told = {}, false
    return
  end
  table.insert(m.history, turn.name)
  if #m.history < CHANGES_MAX then return end
  local e = err.new("machine_cycle", ("%s: changed its state %d times without waiting: %s"):format(m.what, CHANGES_MAX,
    cycle_of(m.history)))
  if m.cycle_told then error(e, 0) end
  m.history, m.cycle_told = {}, true
  return e
end

--- Where it goes after a failure: to `on_error`, or up.
local function after_failure(m, turn, e)
  -- what the state before recorded last is applied, or rejected, only now
  local failed = not turn.entered and e.code == "batch_rejected" and turn.before or turn
  local text = ("state %s failed: %s"):format(failed.name, tostring(e.message))
  m.reason = text
  if err.must_pass(e) or not m.on_error or failed.name == m.on_error then error(e, 0) end
  log.event("warn", m.name, ("%s; goes to %s"):format(text, m.on_error), err.place(e))
  local next_turn = turn_of(m.on_error, text, e, failed.name, unpack(failed.values, 1, failed.n))
  next_turn.urgent = true
  next_turn.by = turn.arming or (turn.fired_error and turn.fired) -- one that is broken is off, too
  return next_turn
end

--- Where an interrupt leads: its state gets the name of the one that was interrupted, and its values.
local function after_interrupt(m, interrupted, i)
  local interrupt = m.interrupts[i]
  local reason = "interrupt " .. interrupt.name
  local next_turn
  if interrupted.name == interrupt.go then -- it came back there while the condition still holds
    next_turn = turn_of(interrupt.go, reason, unpack(interrupted.values, 1, interrupted.n))
  else
    next_turn = turn_of(interrupt.go, reason, interrupted.name, unpack(interrupted.values, 1, interrupted.n))
  end
  log.event("info", m.name, ("%s in state %s; goes to %s"):format(reason, interrupted.name, interrupt.go))
  next_turn.urgent, next_turn.by = true, i
  return next_turn
end

--- The next turn after one that has ended.
local function after(m, turn, ok, first, ...)
  local e = not ok and err.of(first) or nil
  if e and err.must_pass(e) then error(e, 0) end
  if e and turn.fired and e.code ~= "interrupt" then
    local text = ("state %s failed as it was interrupted: %s"):format(turn.name, tostring(e.message))
    log.event("error", m.name, text, err.place(e))
  end
  e = count_turn(m, turn) or turn.fired_error or (not turn.fired and e) or nil
  if e then return after_failure(m, turn, e) end
  local next_turn = turn
  if ok then
    if not m.states[first] then return after_failure(m, turn, checks.no_state(m, turn.name, first)) end
    next_turn = turn_of(first, "", ...)
  end
  return turn.fired and after_interrupt(m, next_turn, turn.fired) or next_turn
end

-- ---- the machine's task ---------------------------------------------------------------------

--- The first turn. A state that an interrupt or an error leads to gets the first state in place of where it came from.
local function start_in(m, state)
  if state == m.on_error and state ~= m.start then
    return turn_of(state, "start", err.new("lost", m.what .. " was started again"), m.start)
  end
  for _, interrupt in ipairs(m.interrupts) do
    if state == interrupt.go and state ~= m.start then return turn_of(state, "start", m.start) end
  end
  return turn_of(state, "start")
end

local function first_turn(m)
  local before = Entity.find(m.me, M.Machine)
  local state = m.start
  if not before then
    command:insert(m.me, M.Machine, { name = m.name:sub(1, NAME_BYTES), running = true })
  else
    m.shown, m.changes = before.state, before.changes
    if before.state ~= "" and m.restart_in == "kept" then
      state = m.states[before.state] and before.state or state
    elseif before.state ~= "" then
      state = m.restart_in or state
    end
    command:set(m.me, M.Machine, { name = m.name:sub(1, NAME_BYTES), running = true, next = "" })
  end
  return start_in(m, state)
end

--- Only one machine stands in the component.
local function take_entity(m)
  local holder = M.running[m.me]
  if holder then
    error(err.new("busy", ("%s has the machine %s already"):format(entity.path(m.me) or "the entity", holder)), 0)
  end
  M.running[m.me] = m.name
  combine.defer(function()
    M.running[m.me] = nil
    if not Entity.has(m.me, M.Machine) then return end
    local values = { running = false, next = "", reason = m.reason and cut(m.reason) }
    command:set(m.me, M.Machine, values)
  end)
end

local function run(d, me)
  local m = setmetatable({ me = me, task = task.current("machine"), shown = "", changes = 0, history = {} },
    { __index = d.machine })
  take_entity(m)
  local turn = first_turn(m)
  while true do
    local next_turn = after(m, turn, pcall(task.block, task.enter(m.task), run_turn, m, turn))
    turn.before = nil -- only the last one matters
    next_turn.before, turn = turn, next_turn
  end
end

--- A machine on one entity ends with it.
local function run_on_one(d, me)
  local ok, e = pcall(combine.scope, function()
    combine.cancel_when(core.watch("despawned", me, 0, {}), "despawned")
    run(d, me)
  end)
  if not ok and (err.is_cancelled(e) or Entity.alive(me)) then error(e, 0) end
end

-- ---- declaring ------------------------------------------------------------------------------

local OPTIONS = { "on", "start", "interrupt", "on_error", "restart", "restart_in", "on_reload", "finish_s" }

--- Declares a state machine. A state is fn(cmd, me, ...); it returns the name of the next state, and values for it.
---@param options table
--- on: path or handle of an entity, a component for one machine on each entity that has it; by default the script's
---   entity;
--- start: name of the first state;
--- interrupt: { estop = { when = { C, cond } or { entity, C, cond } or function(me) -> operation, go = "stopped" } },
---   or a list of such with `name`, the most urgent first. The state `go`, fn(cmd, me, from, ...), gets the name of the
---   one that was interrupted, and its values;
--- on_error: a state, fn(cmd, me, e, from, ...); restart: as of tasks; restart_in: "start", "kept" or a state
---@param states table<string, function>
function M.machine(name, options, states)
  local d
  d = system.declare("machine", name, options, function(_, me)
    if d.subject then return run_on_one(d, me) end
    return run(d, me)
  end, OPTIONS)
  d.machine = checks.machine(d, options, states)
  d.options = { restart = options.restart, on_reload = options.on_reload, finish_s = options.finish_s }
  system.check_restart(d)
  system.check_reload(d)
  if d.machine.component then
    d.options.with = { d.machine.component }
    d.query = query.declare(d.what, { with = d.options.with }, d.place, 2)
    table.insert(registry.recording.per_entity, d)
  else
    d.subject = d.machine.subject
    table.insert(registry.recording.tasks, d)
  end
  table.insert(registry.recording.machines, d)
end

return M
