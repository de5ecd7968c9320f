-- Futures that others have started: cancelled, taken back, never looked at, many of them.
local support = require "support"
local run = support.run_task

describe("a future of somebody else", function()
  after_each(support.finish)

  it("O5 whose task was cancelled is an ordinary failure for those who await it", function()
    local said, faults = run [[
      local f
      stator.try(stator.within, 0.1, function() f = stator.spawn(function() await(stator.sleep(9)) end) await(stator.sleep(9)) end)
      local function tell(name, ok, e) print(name, ok, e and e.code) end
      tell("await", stator.try(await, f))
      tell("pcall", pcall(await, f))
      tell("race", stator.try(function() await(stator.race { f, stator.sleep(1) }) end))
      tell("child", stator.try(stator.scope, function() stator.spawn(function() await(f) end) end))
      tell("retry", stator.try(stator.retry, { tries = 2, min = 0.01, on = { "cancelled" } }, function() await(f) end))
    ]]
    assert.same({ "await\tfalse\tcancelled", "pcall\tfalse\tcancelled", "race\tfalse\tcancelled", "child\tfalse\tcancelled",
      "retry\tfalse\tcancelled" }, said)
    assert.same({}, faults)
  end)

  it("O5 whose operation was taken back is one, too: nobody waits for ever", function()
    local said, faults = run([[
      for _, make in ipairs { function() return stator.sleep(9) end, function() return jobs:receive() end,
          function() return e:when(N, "on") end, function() return stator.race { stator.sleep(9) } end } do
        local f
        stator.spawn(function() await(stator.sleep(0.05)) print("before", stator.try(await, f)) end)
        stator.try(stator.within, 0.1, function() f = stator.start(make()) await(stator.sleep(9)) end)
        print("after", stator.try(await, f))
      end
    ]], { before = [[
local N = stator.component("N", { "bool on" })
local e, jobs = stator.entity "e", stator.channel { cap = 1 }]], entities = '[ { "name": "e", "components": { "N": {} } } ]' })
    assert.equal(8, #said)
    for i, line in ipairs(said) do
      assert.matches(i <= 6 and "^%l+\tfalse\tit was taken back" or "^%l+\tfalse\tnot done within 0.1 s", line)
    end
    assert.same({}, faults)
  end)
end)

describe("stator.start", function()
  after_each(support.finish)

  it("takes back whatever kind of operation it was when the block ends, cleaned up before it returns", function()
    local said, faults = run([[
      local kinds = {
        sleep = stator.sleep(9), ticks = stator.ticks(900), race = stator.race { stator.sleep(9) }, all = stator.all { stator.sleep(9) },
        fn = function() stator.defer(function() await(stator.sleep(0.01)) print "cleaned" end) await(stator.sleep(9)) end,
        async = stator.async(function() await(stator.sleep(9)) end)(), receive = jobs:receive(),
        when = e:when(N, "on", { within = 9 }), when_fn = e:when(N, function(n) return n.on end),
      }
      local names = { "sleep", "ticks", "race", "all", "fn", "async", "receive", "when", "when_fn" }
      for _, name in ipairs(names) do
        local before = stator.now()
        stator.scope(function() stator.start(kinds[name]) await(stator.sleep(0.01)) end)
        print(name, ("%.3f"):format(stator.now() - before))
      end
    ]], { before = [[
local N = stator.component("N", { "bool on" })
local e, jobs = stator.entity "e", stator.channel { cap = 1 }]], entities = '[ { "name": "e", "components": { "N": {} } } ]' })
    assert.same({ "sleep\t0.010", "ticks\t0.010", "race\t0.010", "all\t0.010", "cleaned", "fn\t0.020", "async\t0.010",
      "receive\t0.010", "when\t0.010", "when_fn\t0.010" }, said)
    assert.same({}, faults)
  end)

  it("keeps nothing of what has ended and was looked at, and thousands are quick", function()
    local cell = support.cell [[
local stator = require "stator"
local await = stator.await
local jobs = stator.channel { cap = 1 }
stator.task("t", {}, function()
  for i = 1, 20000 do jobs:try_send(i) await(stator.start(jobs:receive())) end
  print "received"
  for _ = 1, 5000 do stator.start(stator.sleep(0.01)) end
  await(stator.sleep(0.02))
  print "started"
  await(stator.sleep(1e6))
end)]]
    cell:advance(60)
    assert.same({ "received", "started" }, support.said(cell))
    cell:advance(1)
    assert.is_true(cell:eval "collectgarbage() collectgarbage() return collectgarbage 'count'" < 8192)
  end)
end)

describe("many operations", function()
  after_each(support.finish)

  it("may be made in a loop before they are used, and parts of others do not count as forgotten", function()
    local said, faults = run [[
      local list = {}
      for i = 1, 3000 do list[i] = stator.sleep(0.1) end
      print(select("#", await(stator.all(list))), stator.now())
      local used = stator.sleep(0.1)
      await(used)
      for i, call in ipairs { function() await(used) end, function() await(stator.race { used }) end, function() stator.start(used) end,
          function() stator.cancel_when(used, "no") end } do
        print(i, select(2, stator.try(call)).message)
      end
    ]]
    assert.equal("3000\t0.1", said[1])
    for i = 2, 5 do assert.matches("operation made at main.lua:8 was used before", said[i]) end
    assert.same({}, faults)
  end)
end)

describe("deep trees", function()
  after_each(support.finish)

  it("of tasks and of blocks are cancelled and cleaned up, whatever their depth", function()
    local said, faults, cell = run([[
      local cleaned = 0
      local function deep(n)
        stator.defer(function() cleaned = cleaned + 1 end)
        if n > 0 then stator.scope(function() stator.spawn(deep, n - 1) end) else await(stator.sleep(99)) end
      end
      print(select(2, stator.try(stator.within, 20, function() deep(3000) end)).code, cleaned)
      local function nested(n) if n == 0 then error("at the bottom", 0) end stator.scope(nested, n - 1) end
      print(select(2, stator.try(nested, 1000)).message)
    ]], { seconds = 60, settings = '"limits": { "tasks": 20000 }' })
    assert.same({ "timeout\t3001", "at the bottom" }, said)
    assert.same({}, faults)
    assert.equal(0, (cell:counts()))
  end)
end)

describe("a race", function()
  after_each(support.finish)

  it("O7 does not wait for ever for a loser that goes on, but for its cleanup as long as that may take", function()
    local said, faults = run([[
      print(stator.within(20, function()
        return await(stator.race { stator.sleep(0.1), function() stator.shield(function() await(stator.sleep(50)) end) end })
      end), stator.now())
      local cleaned
      await(stator.race { stator.sleep(0.1), function()
        stator.defer(function() await(stator.sleep(5)) cleaned = stator.now() end, { within = 60 })
        await(stator.sleep(99))
      end })
      print(cleaned, stator.now())
    ]], { seconds = 100 })
    assert.same({ "fault: " .. faults[1], "1\t1.1", "6.2\t6.2" }, said)
    assert.matches("^main/t went on for 1 s after it was cancelled", faults[1])
    assert.equal(1, #faults)
  end)
end)
