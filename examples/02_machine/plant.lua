-- The machinery, played by tasks under a supervisor: they start in order, each when those before it are
-- ready, and what depends on a child that fails starts again with it. A real cell has links here.
local stator = require "stator"
local await, cmd, log = stator.await, stator.cmd, stator.log

local Safety, Axis, Gripper = stator.component "Safety", stator.component "Axis", stator.component "Gripper"
local Eye = stator.component "Eye"
local cell, axis = stator.entity "cell", stator.entity "cell/axis"
local gripper, eye = stator.entity "cell/gripper", stator.entity "cell/eye"

local SPEED_MM_S, PERIOD_S = 250, 0.01

local function play_axis()
  await(stator.sleep(0.3)) -- until the drive is on
  cmd:set(axis, Axis, { enabled = true })
  stator.defer(function() cmd:set(axis, Axis, { enabled = false }) end)
  stator.ready()
  for _ in stator.every(PERIOD_S) do
    local a = axis:get(Axis)
    local way = a.to_mm - a.at_mm
    local step = math.min(math.abs(way), SPEED_MM_S * PERIOD_S)
    if way ~= 0 then cmd:set(axis, Axis, { at_mm = a.at_mm + (way > 0 and step or -step) }) end
  end
end

local function play_gripper()
  local closing, opening = stator.ton(0.1), stator.tof(0.1)
  stator.ready()
  for _ in stator.every(PERIOD_S) do
    local closed = opening(closing(gripper:get(Gripper).close))
    if closed ~= gripper:get(Gripper).closed then
      local part = closed and eye:get(Eye).blocked
      cmd:set(gripper, Gripper, { closed = closed, part = part })
      if part then cmd:set(eye, Eye, { blocked = false }) end
    end
  end
end

local made = 0
local function play_feeder()
  log.info "feeder starts"
  while true do
    await(stator.sleep(0.4))
    made = made + 1
    if made == 2 then stator.fail("jam", "the feeder is jammed") end
    cmd:set(eye, Eye, { blocked = true })
    if made == 4 then -- this one falls off as the gripper closes
      await(gripper:rising(Gripper, "close"))
      cmd:set(eye, Eye, { blocked = false })
    end
    await(eye:when(Eye, { blocked = false }))
  end
end

-- A person who presses the e-stop once, in the middle of a move.
local function play_person()
  await(axis:when(Axis, function(a) return a.at_mm > 110 end))
  cmd:set(cell, Safety, { estop = true })
  await(stator.sleep(1))
  cmd:set(cell, Safety, { estop = false })
end

stator.task("machinery", {}, function(cmd)
  stator.supervise({ strategy = "rest_for_one", intensity = 3, period = 10, min = 0.5 }, {
    { "axis", play_axis, ready_within = 1 },
    { "gripper", play_gripper, ready_within = 1 },
    { "person", play_person, restart = "never" },
    { "feeder", play_feeder },
  })
end)
