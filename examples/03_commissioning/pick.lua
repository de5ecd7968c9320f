-- Takes parts from the feeder and puts them on the tray. Made to be changed while it runs:
--
--   ./dev run examples/03_commissioning/scene.json
--
-- Save one of these edits, with any editor or with sed -i, and look at the log. The link stays up and the
-- numbers of the parts go on through all of them.
--
-- 1. PLACE_MM = 120. A part that is in the gripper goes to the old place first: the reload waits for it ("waits
--    for pick/pick: a part is in the gripper"). The next one goes to 120 mm.
-- 2. clsoe = true in place of close = true. The log says "Gripper has no field "clsoe", did you mean "close"?" with
--    the line, and parts go on. Mend it.
-- 3. Add a field to Tray: { "uint32_t placed", "double last_mm" }. The plan says "component Tray: changed:
--    +last_mm; 1 entity", and placed is what it was ("begins; 7 parts on the tray").
-- 4. Write error "oops" in front of "end -- of the sequence". The new revision is loaded, fails three times, and
--    the cell goes back to the revision before, by itself. The number that is persisted goes back with it; what
--    lies on the tray does not.
-- 5. "speed_mm_s" in scene.json: the axis is quicker with its next move, and nothing starts again.
--
-- `stator ctl examples/03_commissioning/cell.sock reload --plan` shows what a reload would do; accept and revert
-- end its half minute on probation by hand.
local stator = require "stator"
local await, log = stator.await, stator.log

local PLACE_MM = 100

local Axis = stator.component("Axis", { "uint16_t to_mm [mm]", "uint16_t speed_mm_s", "uint16_t at_mm [mm]" })
local Gripper = stator.component("Gripper", { "bool close", "bool holds" })
local Feeder = stator.component("Feeder", { "bool part" })
local Tray = stator.component("Tray", { "uint32_t placed" })
local Link = stator.component "Link" -- the host declares it

local axis, gripper = stator.entity "axis", stator.entity "gripper"
local feeder, tray, plc = stator.entity "feeder", stator.entity "tray", stator.entity "links/plc"
local params = stator.params { speed_mm_s = 100 }

local function move_to(cmd, mm)
  cmd:set(axis, Axis, { to_mm = mm, speed_mm_s = params.speed_mm_s })
  await(axis:when(Axis, function(a) return a.at_mm == mm end, { within = 5 }))
end

local function put_down(cmd)
  cmd:set(gripper, Gripper, { close = false })
  await(gripper:when(Gripper, { holds = false }, { within = 1 }))
end

-- From here to the end of its block a reload would leave a part in the gripper: it waits.
local function carry(cmd)
  stator.no_reload "a part is in the gripper"
  cmd:set(gripper, Gripper, { close = true })
  await(gripper:when(Gripper, "holds", { within = 2 }))
  local number = stator.persist("parts", 0) + 1 -- goes on also when this script starts again
  cmd:persist("parts", number)
  log.info("part %d is gripped", number)
  move_to(cmd, PLACE_MM)
  put_down(cmd)
  cmd:add(tray, Tray, { placed = 1 })
  log.info("part %d is placed at %d mm", number, PLACE_MM)
end

-- A task begins at its first line after a reload. So that line has to be right wherever the machine stands:
-- it looks, and does not assume that the axis is at the feeder and the gripper is open.
stator.task("pick", { restart = { min = 0.5, max = 5 } }, function(cmd)
  log.info("begins; %d parts on the tray", tray:get(Tray).placed)
  await(plc:when(Link, { state = "up" }))
  if gripper:get(Gripper).holds then put_down(cmd) end
  while true do
    move_to(cmd, 0)
    await(feeder:when(Feeder, "part")) -- here nothing is held, and a reload may come
    stator.scope(carry, cmd)
  end -- of the sequence
end)
