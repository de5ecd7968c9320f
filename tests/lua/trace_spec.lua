-- Traces follow awaits: where it failed, who awaited it, where that was spawned. What async.nvim, copas and
-- plain coroutine.resume lose.
local support = require "support"

--- Runs a task whose body begins at line 5 of main.lua and answers the trace that the debug log has.
local function trace_of(body)
  local cell = support.cell { debug = true, main = [[
local stator = require "stator"
local await, cmd = stator.await, stator.cmd

stator.task("t", {}, function(cmd)
]] .. body .. "\nend)" }
  cell:advance(2)
  for i, line in ipairs(cell:logs()) do
    if line:find("fault:", 1, true) then
      return (cell:logs()[i + 1]:gsub("^%S+ debug main/t: ", ""):gsub("^%S+ %S+ +main/t: ", ""))
    end
  end
end

describe("lost trace:", function()
  after_each(support.finish)

  it("L2 a child's failure shows its stack, the line that awaits it, and the line that spawned it", function()
    assert.equal([[
main.lua:7: in function 'grip'
	main.lua:10: in function <main.lua:9>
awaited by main/t:
	main.lua:13: in function <main.lua:4>
spawned at main.lua:9]], trace_of [[
  local function grip()
    await(stator.sleep(0.1))
    error "no part"
  end
  local child = stator.spawn(function()
    grip()
    return 1 -- no tail call: it would leave this frame
  end)
  print(await(child))]])
  end)

  it("goes through race, all and any, and blocks inside one task add nothing", function()
    assert.equal([[
main.lua:7: in function <main.lua:5>
awaited by main/t:
	main.lua:12: in function <main.lua:11>
	main.lua:11: in function <main.lua:10>
	main.lua:10: in function <main.lua:9>
	main.lua:9: in function <main.lua:4>
spawned at main.lua:12]], trace_of [[
  local function fails()
    await(stator.sleep(0.1))
    error "broken"
  end
  stator.within(5, function()
    stator.scope(function()
      stator.within(4, function()
        print(await(stator.all { stator.sleep(1), fails }))
      end)
    end)
  end)]])
  end)

  it("goes through several tasks, the failing one first", function()
    assert.equal([[
main.lua:7: in function <main.lua:6>
awaited by main/t:
	main.lua:9: in function <main.lua:5>
awaited by main/t:
	main.lua:11: in function <main.lua:4>
spawned at main.lua:6
spawned at main.lua:5]], trace_of [[
  local outer = stator.start(function()
    local inner = stator.start(function()
      await(stator.sleep(0.1)) error "deep"
    end)
    print(await(inner))
  end)
  print(await(outer))]])
  end)

  it("a task's own cancellation has the line where the task waited, in a function it called too", function()
    local said, faults = support.run_task("await(stator.sleep(1))", { before = [[
local function wait(op)
  await(op)
  return 1
end
stator.task("top", { restart = { min = 5, max = 5 } }, function()
  stator.cancel_when(stator.sleep(0.1), "estop")
  return 1 + wait(stator.sleep(5))
end)
stator.task("early", { restart = { min = 5, max = 5 } }, function()
  stator.cancel_when(stator.sleep(0.1), "stop")
  stator.spawn(function() await(stator.sleep(5)) end)
  await(stator.sleep(5))
end)]], seconds = 1 })
    assert.is_truthy(said)
    assert.same({ "estop [scripts/main] (main.lua:4)", "stop [scripts/main] (main.lua:14)" }, faults)
  end)

  it("a cancellation by a deadline shows where the block waits", function()
    assert.matches("^main.lua:6: in function <main.lua:5>\n\tmain.lua:5: in function <main.lua:4>", trace_of [[
  stator.within(0.1, function()
    await(stator.sleep(9))
  end)]])
  end)

  it("has no frame of the runtime and no line of C in it", function()
    local text = trace_of [[
  stator.try(function() end)
  local ok, e = stator.try(function() return (stator.sleep "x") end)
  table.sort({ 1, 2 }, function() error(e, 0) end)]]
    assert.is_nil(text:find("stator/", 1, true))
    assert.is_nil(text:find("[C]", 1, true))
  end)
end)

describe("a fault", function()
  after_each(support.finish)

  it("L3 is a component with code, message, place, count, first and last time, until it is removed", function()
    local said = support.run_task([[
      await(stator.sleep(0.5))
      local e = stator.entity "scripts/main"
      local function show()
        local f = e:find(Fault)
        print(f and ("%s %s %s %s %d %g %g"):format(f.task, f.code, f.message, f.place, f.count, f.first_s, f.at_s))
      end
      show()
      await(stator.sleep(0.3)) -- it starts again and fails again
      show()
      cmd:remove(e, Fault) await(cmd:commit())
      show()
      await(stator.sleep(0.2))
      show()
    ]], { before = [[
local Fault = stator.component "Fault"
stator.task("bad", { restart = { min = 0.3, max = 0.3 } }, function()
  await(stator.sleep(0.1))
  stator.fail("grip", "no part")
end)]] })
    local faults = {}
    for _, line in ipairs(said) do
      if not line:find "starts again" and not line:find "fault:" then faults[#faults + 1] = line end
    end
    assert.same({ "main/bad grip no part main.lua:6 1 0.1 0.1", "main/bad grip no part main.lua:6 2 0.1 0.5", "nil",
      "main/bad grip no part main.lua:6 1 0.9 0.9" }, faults)
  end)
end)
