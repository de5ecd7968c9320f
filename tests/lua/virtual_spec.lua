-- The whole runtime under the virtual clock: an hour of cell logic in a second or so, the same every time.
local support = require "support"

local MAIN = [[
local stator = require "stator"
local await = stator.await
local Belt = stator.component("Belt", { "double speed", "bool run", "uint32_t parts", "double run_s" })
local Eye = stator.component("Eye", { "bool blocked" })
local Machine = stator.component("Mill", { "char state[16]", "uint32_t cycles", "uint32_t late" })
local belt, eye, press = stator.entity "belt", stator.entity "belt/eye", stator.entity "press"

stator.task("parts", {}, function(cmd) -- a part every 7 s, longer and shorter
  local n = 0
  while true do
    await(stator.sleep(6.5 + n % 5 * 0.25))
    n = n + 1
    cmd:set(eye, Eye, { blocked = true })
    await(stator.sleep(0.4))
    cmd:set(eye, Eye, { blocked = false })
  end
end)
stator.task("press", {}, function(cmd)
  local function state(name) cmd:set(press, Machine, { state = name }) end
  while true do
    state "wait"
    local ok = stator.try(function()
      stator.within(6.2, function() await(eye:rising(Eye, "blocked")) end)
      state "close"
      await(stator.all { stator.sleep(0.8), function() await(eye:falling(Eye, "blocked")) end })
      state "open"
      await(stator.sleep(0.35))
      cmd:add(press, Machine, { cycles = 1 })
    end)
    if not ok then
      cmd:add(press, Machine, { late = 1 })
      await(cmd:commit())
    end
  end
end)
stator.observer("count", { changed = Eye }, function(cmd, e)
  if e:get(Eye).blocked then cmd:add(belt, Belt, { parts = 1 }) end
end)
stator.system("move", { write = { Belt }, every = 0.1 }, function(_, q, tick)
  for _, b in q:each() do
    if b.run then b.run_s = b.run_s + tick.dt_s end
  end
end)
stator.async_system("report", { every = 60, read = { Belt } }, function(_, q)
  for _, b in q:each() do
    local parts, run_s = b.parts, b.run_s
    await(stator.sleep(0.01))
    print(("%d parts, %.1f s"):format(parts, run_s))
    break
  end
end)
stator.task("watch", {}, function()
  for _ in stator.every(600) do
    await(stator.race { stator.sleep(1), press:when(Machine, function(m) return m.state == "open" end) })
    print(press:get(Machine).state, press:get(Machine).cycles, press:get(Machine).late)
  end
end)]]

describe("an hour of virtual time", function()
  after_each(support.finish)

  it("T10 gives the same world and the same log every time", function()
    local function hour()
      local cell = support.cell {
        main = MAIN, settings = '"tick_hz": 10',
        entities = [=[[ { "name": "belt", "components": { "Belt": { "run": true } }, "children": [ { "name": "eye",
          "components": { "Eye": {} } } ] }, { "name": "press", "components": { "Mill": {} } } ]]=],
      }
      cell:advance(3600)
      local lines = {}
      for i, line in ipairs(cell:logs()) do lines[i] = line:gsub("/tmp/stator%-spec%-%w+", "DIR") end
      local _, _, _, _, rounds, ticks = cell:counts()
      return cell:hash(), table.concat(lines, "\n"), rounds, ticks
    end
    local hash, log, rounds, ticks = hour()
    assert.equal(36000, ticks)
    assert.matches("00:59:00.010 info  main/report: 4%d%d parts, 3539.9 s", log)
    local again, log_again, rounds_again = hour()
    assert.equal(hash, again)
    assert.equal(log, log_again)
    assert.equal(rounds, rounds_again)
  end)

  it("is there for stator run: --virtual, and two runs write the same", function()
    local path = support.scene { scripts = { ["main.lua"] = MAIN },
      settings = '"tick_hz": 10, "limits": { "slice_soft_ms": 60000, "slice_ms": 60000 }', -- these go by real time
      entities = [=[[ { "name": "belt", "components": { "Belt": { "run": true } }, "children": [ { "name": "eye",
        "components": { "Eye": {} } } ] }, { "name": "press", "components": { "Mill": {} } } ]]=] }
    local command = ("%s run --virtual --ticks 36000 %s 2>&1"):format(support.binary, path)
    local first, code = support.shell(command)
    assert.equal(0, code)
    assert.equal(first, (support.shell(command)))
    assert.matches("main/watch: %a+\t%d+\t%d+", first)
  end)
end)
