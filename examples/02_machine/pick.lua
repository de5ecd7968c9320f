-- Picks parts at the feeder and places them in a row. The sequence is a state machine: an e-stop cancels
-- the state that runs, with its cleanup, and an error goes to a state of its own.
local stator = require "stator"
local await, cmd, log = stator.await, stator.cmd, stator.log

local Safety = stator.component("Safety", { "bool estop" })
local Axis = stator.component("Axis", { "double to_mm [mm]", "double at_mm [mm]", "bool enabled" })
local Gripper = stator.component("Gripper", { "bool close", "bool closed", "bool part" })
local Eye = stator.component("Eye", { "bool blocked", "bool present" })
local Lamp = stator.component("Lamp", { "bool on", "uint32_t flashes" })
local Tally = stator.component("Tally", { "uint32_t placed" })
local Machine = stator.component "Machine" -- where a machine stands; the host declares it

local cell = stator.entity "cell"
local axis, gripper = stator.entity "cell/axis", stator.entity "cell/gripper"
local eye, lamp = stator.entity "cell/eye", stator.entity "cell/lamp"

-- Scan logic, every tick, as in a PLC: the eye counts when it is blocked for 50 ms, the lamp flashes while
-- the machine stands. What the timers know lies in these locals.
local debounce, dark, flash, edge = stator.ton(0.05), stator.ton(0.2), stator.tp(0.2), stator.r_trig()
stator.system("eye", { write = { Eye } }, function(cmd, q)
  for _, e in q:each() do e.present = debounce(e.blocked) end
end)
stator.system("lamp", { write = { Lamp } }, function(cmd, q)
  local machine = cell:find(Machine)
  local stands = machine ~= nil and machine.state == "stopped"
  for _, l in q:each() do
    l.on = flash(dark(stands and not l.on))
    if edge(l.on) then l.flashes = l.flashes + 1 end
  end
end)

local function move_to(mm)
  stator.on_failure(function() cmd:set(axis, Axis, { to_mm = axis:get(Axis).at_mm }) end) -- stands where it is
  cmd:set(axis, Axis, { to_mm = mm })
  await(axis:when(Axis, function(a) return a.at_mm == mm end, { within = 3 }))
end

local function open()
  cmd:set(gripper, Gripper, { close = false })
  await(gripper:when(Gripper, { closed = false }, { within = 1 }))
end

stator.machine("pick", {
  on = cell, start = "home", on_error = "failed",
  interrupt = { estop = { when = { Safety, "estop" }, go = "stopped" } },
}, {
  home = function(cmd, me)
    open()
    await(axis:when(Axis, "enabled"))
    move_to(0)
    return "wait"
  end,

  wait = function(cmd, me)
    await(eye:when(Eye, "present"))
    return "grip"
  end,

  grip = function(cmd, me)
    cmd:set(gripper, Gripper, { close = true })
    await(gripper:when(Gripper, "closed", { within = 1 }))
    if not gripper:get(Gripper).part then stator.fail("grip", "no part in the gripper") end
    return "place", 100 + 50 * me:get(Tally).placed
  end,

  place = function(cmd, me, mm)
    move_to(mm)
    open()
    cmd:add(me, Tally, { placed = 1 })
    log.info("placed at %g mm", mm)
    return "home"
  end,

  stopped = function(cmd, me, from, ...)
    log.info("the axis stands at %.0f mm", axis:get(Axis).at_mm)
    await(me:when(Safety, { estop = false }))
    log.info("goes on; the lamp flashed %d times", lamp:get(Lamp).flashes)
    return from, ... -- the same state with the same values
  end,

  failed = function(cmd, me, e, from)
    await(stator.sleep(e.code == "grip" and 0.5 or 3)) -- a lost part is no matter, and the log has told it
    return "home"
  end,
})
