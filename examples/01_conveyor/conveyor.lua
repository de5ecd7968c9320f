-- A belt carries parts past a photo eye. Each part is stopped there and measured; tall ones are
-- pushed off by the diverter. The fields that the PLC reads and writes are bound in scene.json.
local stator = require "stator"
local await, cmd, log = stator.await, stator.cmd, stator.log

local Belt = stator.component("Belt", { "bool run", "double speed_m_s", "double position_m" })
local PhotoEye = stator.component("PhotoEye", { "bool blocked", "uint16_t height_mm" })
local Diverter = stator.component("Diverter", { "bool extend", "bool extended" })
local Counter = stator.component("Counter", { "uint32_t passed", "uint32_t diverted" })

local P = stator.params { tall_mm = 60, settle_s = 0.2 }
local belt = stator.entity "belt1"
local eye = stator.entity "belt1/eye1"
local diverter = stator.entity "belt1/diverter1"

-- Where the belt is, 100 times a second, in the apply phase.
stator.system("position", { write = { Belt } }, function(cmd, q, tick)
  for first, last, belts in q:chunks() do
    for i = first, last do
      local b = belts[i]
      if b.run then b.position_m = b.position_m + b.speed_m_s * tick.dt_s end
    end
  end
end)

local function push_off()
  cmd:set(diverter, Diverter, { extend = true })
  stator.defer(function() cmd:set(diverter, Diverter, { extend = false }) end)
  await(diverter:when(Diverter, "extended", { within = 1.0 }))
  cmd:set(belt, Belt, { run = true })
  await(eye:falling(PhotoEye, "blocked"))
end

local function let_pass()
  cmd:set(belt, Belt, { run = true })
  await(eye:falling(PhotoEye, "blocked"))
end

-- The sorting sequence: one part at a time. When it fails the belt stops, and it starts again.
stator.task("sort", { restart = { min = 1, max = 10 } }, function(cmd)
  stator.on_failure(function() cmd:set(belt, Belt, { run = false }) end)
  cmd:set(belt, Belt, { run = true })
  while true do
    await(eye:when(PhotoEye, "blocked"))
    cmd:set(belt, Belt, { run = false })
    log.info("belt stopped at the photo eye, position %.3f m", belt:get(Belt).position_m)
    await(stator.sleep(P.settle_s))
    local height_mm = eye:get(PhotoEye).height_mm
    local tall = height_mm > P.tall_mm
    stator.within(5, tall and push_off or let_pass)
    cmd:add(belt, Counter, tall and { diverted = 1 } or { passed = 1 })
    await(cmd:commit())
    local count = belt:get(Counter)
    log.info("part counted: %d mm, %s; %d passed, %d diverted", height_mm, tall and "diverted" or "passed",
      count.passed, count.diverted)
  end
end)
