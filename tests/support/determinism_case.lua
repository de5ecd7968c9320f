-- Run by tests/e2e/determinism_spec.lua, each time in a process of its own: 200 tasks and more on timers,
-- conditions, a channel and three simulated links, for most of a second of virtual time. Prints what came of it.
local support = require "support"

local SIMULATOR = [[
local stator = require "stator"
return function(plc)
  for tick in stator.every(0.009) do
    plc.input[1] = (tick.n * 7) % 1000
    plc.discrete[1] = tick.n % 3 == 0
    plc.holding[9] = ((plc.holding[0] or 0) + tick.n) % 60000
    if tick.n == 40 then plc:cut() end
  end
end
]]

local MAIN = [[
local stator = require "stator"
local await, cmd = stator.await, stator.cmd
local Item = stator.component("Item", { "uint32_t seen", "double at_s", "bool on" })
local Maker = stator.component("Maker", { "uint32_t index" })
local shared = stator.entity "shared"
local trace = {} -- the order of everything that runs, by who and when
local function note(who) trace[#trace + 1] = who .. "@" .. stator.now() end

for i = 1, 60 do
  stator.task("poll" .. i, {}, function()
    local plc = stator.link("plc" .. i % 3)
    for tick in stator.every(0.01 + i * 0.0007) do
      local ok, r = stator.try(function() return await(plc:read_input(1, 1)) end)
      note("poll" .. i .. (ok and "=" .. r[1] or "!" .. r.code))
      if tick.n % 5 == i % 5 then stator.try(function() await(plc:write_register(0, tick.n * i % 60000)) end) end
    end
  end)
  stator.task("turn" .. i, {}, function()
    for tick in stator.every(0.003 * i) do
      cmd:add(shared, Item, { seen = 1 })
      if tick.n % 4 == 0 then cmd:set(shared, Item, { on = tick.n % 8 == 0, at_s = tick.now_s }) end
      note("turn" .. i)
    end
  end)
  stator.task("wait" .. i, {}, function()
    while true do
      local who = await(stator.race {
        on = shared:rising(Item, "on"), seen = shared:changed(Item, "seen"), late = stator.sleep(0.002 * i) })
      note("wait" .. i .. who)
    end
  end)
end

local items, seats = stator.channel { cap = 4, full = "wait" }, stator.semaphore(3)
for i = 1, 20 do
  stator.task("send" .. i, {}, function()
    for tick in stator.every(0.004 + i * 0.001) do await(items:send(i * 1000 + tick.n)) end
  end)
  stator.task("take" .. i, {}, function()
    while true do
      local ok, item = stator.try(stator.within, 0.001 * i, function() return await(items:receive()) end)
      note("take" .. i .. (ok and "=" .. item or "!"))
      seats:with(function() await(stator.sleep(0.0005 * i)) end)
    end
  end)
  stator.task("make" .. i, {}, function()
    for tick in stator.every(0.05 * i) do
      stator.try(function()
        stator.within(0.02, function()
          await(stator.all { stator.sleep(0.001 * i), function() cmd:spawn({ Maker { index = i * tick.n } }) end })
        end)
      end)
    end
  end)
end

stator.per_entity("made", { with = { Maker } }, function(_, me)
  local index = me:get(Maker).index
  await(stator.sleep(index % 7 * 0.01))
  note("made" .. index)
  cmd:despawn(me)
end)

stator.task("tell", {}, function()
  await(stator.sleep(0.79))
  local sum = 0
  for _, line in ipairs(trace) do for i = 1, #line do sum = (sum * 31 + line:byte(i)) % 4294967291 end end
  print("trace", #trace, sum, trace[#trace])
end)
]]

it("prints what came of it", function()
  local links = {}
  for i = 0, 2 do
    links[#links + 1] = ([=["plc%d": { "driver": "modbus_tcp", "host": "127.0.0.1", "simulate": "sim.lua",
      "scan_s": 0.02, "points": { "in%d.Item.on": "di 1" } }]=]):format(i, i)
  end
  local cell = support.cell {
    scene = ([=[{ "scripts": ["main.lua"], "links": { %s }, "entities": [ { "name": "shared", "components": { "Item": {} } },
      { "name": "in0", "components": { "Item": {} } }, { "name": "in1", "components": { "Item": {} } },
      { "name": "in2", "components": { "Item": {} } } ] }]=]):format(table.concat(links, ", ")),
    scripts = { ["main.lua"] = MAIN }, files = { ["sim.lua"] = SIMULATOR },
  }
  cell:advance(0.8)
  for _, line in ipairs(support.said(cell)) do print("RESULT", line, cell:hash()) end
  support.finish()
end)
