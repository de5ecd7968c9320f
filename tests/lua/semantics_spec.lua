-- One spec or more for each rule of docs/semantics.md, by number.
local support = require "support"
local run = support.run_task

local COUNTER = [[
local N = stator.component("N", { "double v", "int32_t writes" })
local e = stator.entity "e"
]]
local ENTITY = [=[[ { "name": "e", "components": { "N": {} } } ]]=]

local function with_counter(body, options)
  options = options or {}
  return run(body, { before = COUNTER .. (options.before or ""), entities = options.entities or ENTITY,
    seconds = options.seconds, settings = options.settings })
end

describe("steps and ticks", function()
  after_each(support.finish)

  it("T1 keeps now() the same all through a step", function()
    local said = run [[
      await(stator.sleep(0.0333))
      local a = stator.now()
      await(cmd:commit()) await(cmd:commit()) await(cmd:commit())
      print(stator.now() == a, a)
    ]]
    assert.same({ "true\t0.0333" }, said)
  end)

  it("T2 does not change the world while tasks run", function()
    local said = with_counter([[
      cmd:set(e, N, { v = 1 })
      print("before", e:get(N).v)
      await(cmd:commit())
      print("after", e:get(N).v)
    ]])
    assert.same({ "before\t0", "after\t1" }, said)
  end)

  it("T2 runs by script, then declaration, then spawn, whatever became ready first", function()
    local b = [[
local stator = require "stator"
stator.task("x", {}, function() stator.await(stator.sleep(%s)) print "main %s" end)
stator.task("y", {}, function() stator.await(stator.sleep(0.0001)) print "main %s y" end)]]
    local cell = support.cell {
      scene = [[{ "react": "tick", "scripts": [ { "file": "a.lua", "as": "main2" }, { "file": "b.lua", "as": "main1" } ] }]],
      scripts = { ["a.lua"] = b:format("0.0009", "2", "2"), ["b.lua"] = b:format("0.0001", "1", "1") },
    }
    cell:advance(0.05)
    assert.same({ "main 2", "main 2 y", "main 1", "main 1 y" }, support.said(cell))
  end)

  it("T2 resumes a task at most once a round", function()
    local cell = support.cell [[
local stator = require "stator"
stator.task("t", {}, function(cmd) for i = 1, 5 do stator.await(cmd:commit()) end end)]]
    cell:advance(0.0105)
    local _, _, _, _, rounds = cell:counts()
    assert.is_true(rounds >= 6)
  end)

  it("T3 suspends on what is settled already, and what was recorded is visible then", function()
    local said = with_counter([[
      local done = stator.start(stator.sleep(0))
      await(done)
      cmd:set(e, N, { v = 5 })
      print("recorded", e:get(N).v)
      await(done)
      print("returned", e:get(N).v)
    ]])
    assert.same({ "recorded\t0", "returned\t5" }, said)
  end)

  it("T4 applies batches in order, then writers in phase order, which see each other", function()
    local cell = support.cell {
      main = [[
local stator = require "stator"
local N = stator.component("N", { "double v", "int32_t writes" })
local e = stator.entity "e"
stator.system("late", { write = { N }, phase = "post_update" }, function(_, q)
  for _, n in q:each() do print("late", n.v) n.v = n.v * 10 end
end)
stator.system("early", { write = { N }, phase = "pre_update" }, function(_, q)
  for _, n in q:each() do print("early", n.v) n.v = n.v + 1 end
end)
stator.task("a", {}, function(cmd) cmd:set(e, N, { v = 1 }) end)
stator.task("b", {}, function(cmd) cmd:set(e, N, { v = 2 }) end)]],
      entities = ENTITY,
    }
    cell:advance(0.0105)
    assert.same({ "early\t2", "late\t3" }, support.said(cell))
    assert.equal(30, cell:eval [[
      local C = require("stator.component")
      local N = require("stator.registry").live.components.N
      return require("stator.entity").entity("e"):get(N).v]])
  end)

  it("T4 keeps what a writer wrote before it raised, and does not run it again", function()
    local cell = support.cell {
      main = [[
local stator = require "stator"
local N = stator.component("N", { "double v", "int32_t writes" })
local e = stator.entity "e"
stator.system("w", { write = { N } }, function(_, q)
  for _, n in q:each() do n.v = n.v + 1 end
  error "broken"
end)
stator.task("t", {}, function() stator.await(stator.sleep(0.1)) print(e:get(N).v) end)]],
      entities = ENTITY,
    }
    cell:advance(0.2)
    assert.same({ "1" }, support.said(cell, "^1"))
    assert.same({ "broken [scripts/main] (main.lua:6)" }, support.faults(cell))
  end)

  it("T5 runs observers in registration order when all values are complete", function()
    local said = with_counter([[
      cmd:set(e, N, { v = 1 })
      cmd:set(e, N, { writes = 7 })
      await(cmd:commit())
      print "task goes on"
    ]], { before = [[
stator.observer("first", { changed = N }, function(_, id) print("first", id:get(N).v, id:get(N).writes) end)
stator.observer("second", { changed = N }, function() print "second" end)
]] })
    assert.same({ "first\t1\t7", "second", "task goes on" }, said)
  end)

  it("T5 refuses an await in an observer", function()
    local _, faults = with_counter([[ cmd:set(e, N, { v = 1 }) ]], { before = [[
stator.observer("bad", { changed = N }, function() stator.await(stator.sleep(1)) end)
]] })
    assert.same({ "operations are made inside a task: a system, an observer or a script's body cannot wait "
      .. "[scripts/main] (main.lua:5)" }, faults)
  end)

  it("T5 names observers that set each other off without end", function()
    local _, faults, cell = with_counter([[ cmd:set(e, N, { v = 1 }) ]], { before = [[
stator.observer("ping", { changed = N }, function(cmd, id) cmd:add(id, N, { writes = 1 }) end)
]] })
    assert.equal(1, #faults)
    assert.matches("observers set each other off 8 times in a row: main/ping", faults[1])
    assert.equal(0, (cell:counts()))
  end)

  it("T5 carries ready tasks over to the next step after 8 rounds, counted", function()
    local cell = support.cell [[
local stator = require "stator"
stator.task("t", {}, function(cmd) while true do stator.await(cmd:commit()) end end)]]
    cell:eval [[return 1]]
    for _ = 1, 3 do cell:turn() end
    local _, _, _, _, rounds, _, carried = cell:counts()
    assert.equal(rounds / 8, carried)
  end)

  it("T6 shows read-only systems of all phases the same world", function()
    local cell = support.cell {
      main = [[
local stator = require "stator"
local N = stator.component("N", { "double v", "int32_t writes" })
stator.system("c", { read = { N }, phase = "post_update" }, function(_, q) for _, n in q:each() do print("post", n.v) end end)
stator.system("a", { read = { N }, phase = "pre_update" }, function(cmd, q, tick)
  for e, n in q:each() do print("pre", n.v) cmd:set(e, N, { v = n.v + 1 }) end
end)
stator.system("s", { phase = "startup" }, function() print "startup" end)]],
      entities = ENTITY,
    }
    cell:advance(0.0205)
    assert.same({ "startup", "pre\t0", "post\t0", "pre\t1", "post\t1" }, support.said(cell))
  end)

  it("T7 runs ticks on absolute deadlines and skips an async system that still waits", function()
    local cell = support.cell [[
local stator = require "stator"
local runs = 0
stator.async_system("slow", { every = 0.1 }, function(cmd, q, tick)
  runs = runs + 1
  print(("run %d at %.3f"):format(runs, stator.now()))
  stator.await(stator.sleep(0.25))
end)]]
    cell:advance(1.005)
    assert.same({ "run 1 at 0.010", "run 2 at 0.300", "run 3 at 0.600", "run 4 at 0.900" }, support.said(cell))
    local name, _, skipped = cell:eval [[return require("stator.core.task").system_info(0)]]
    assert.equal("main/slow", name)
    assert.equal(7, skipped)
    local _, _, _, _, _, ticks = cell:counts()
    assert.equal(100, ticks)
  end)

  it("T8 wakes sleepers between ticks when it reacts at once, and in the tick when not", function()
    local script = [[
local stator = require "stator"
stator.task("t", {}, function() stator.await(stator.sleep(0.0133)) print(stator.now()) end)
stator.system("s", {}, function() print("system", stator.now()) end)]]
    local cell = support.cell { main = script }
    cell:advance(0.0205)
    assert.same({ "system\t0.01", "system\t0.02" }, support.said(cell, "^system"))
    assert.same({ "0.0133" }, support.said(cell, "^0.0133"))
    cell = support.cell { main = script, settings = '"react": "tick"' }
    cell:advance(0.0305)
    assert.same({ "0.03" }, support.said(cell, "^0"))
  end)

  it("T8 goes on to react after steps that took longer than a tick", function()
    local cell = support.cell { main = [[
local stator = require "stator"
stator.task("t", {}, function()
  for _ = 1, 2 do
    stator.await(stator.sleep(0.013))
    print("woken", stator.now())
  end
end)]] }
    cell:slow(0.050)
    cell:advance(0.0405)
    assert.same({ "woken\t0.013", "woken\t0.03" }, support.said(cell, "^woken")) -- 0.026 is near a tick
  end)

  it("T9 starts nothing when anything is wrong, and says so with exit code 3", function()
    local path = support.scene {
      scripts = { ["main.lua"] = 'local stator = require "stator"\nstator.task("t", {}, function() print "ran" end)' },
      entities = [=[[ { "name": "a", "components": { "Nope": {} } } ]]=],
    }
    local out, code = support.shell(support.binary .. " run --ticks 5 " .. path .. " 2>&1")
    assert.equal(3, code)
    assert.matches("no script declares this component", out)
    assert.is_nil(out:find("ran", 1, true))
  end)
end)

describe("batches", function()
  after_each(support.finish)

  it("B1 applies what was recorded between two waits whole or not at all", function()
    local said = with_counter([[
      cmd:set(e, N, { v = 1 })
      local id = cmd:spawn({ N {} })
      cmd:set(stator.world, N, { v = 1 })
      local ok, err = stator.try(function() await(cmd:commit()) end)
      print(ok, err.code, e:get(N).v, id:alive())
    ]])
    assert.same({ "false\tbatch_rejected\t0\tfalse" }, said)
  end)

  it("B2 drops the batch of a task that fails and keeps that of its cleanup", function()
    local said = with_counter([[
      local f = stator.start(stator.async(function()
        stator.defer(function() cmd:set(e, N, { writes = 1 }) end)
        cmd:set(e, N, { v = 9 })
        error "no"
      end)())
      stator.try(function() await(f) end)
      await(cmd:commit())
      print(e:get(N).v, e:get(N).writes)
    ]])
    assert.same({ "0\t1" }, said)
  end)

  it("B3 gives a spawn its final id at once", function()
    local said = with_counter([[
      local id = cmd:spawn({ N { v = 3 } }, { name = "new", parent = e })
      print(type(id), id:alive())
      await(cmd:commit())
      print(id:alive(), id:path(), id:get(N).v, e:children()[1] == id)
    ]])
    assert.same({ "number\tfalse", "true\te/new\t3\ttrue" }, said)
  end)

  it("B4 sets named fields, inserts whole, adds at apply, removes without complaint", function()
    local said = with_counter([[
      cmd:set(e, N, { v = 5, writes = 5 }) await(cmd:commit())
      cmd:set(e, N, { v = 6 }) await(cmd:commit())
      print(e:get(N).v, e:get(N).writes)
      cmd:insert(e, N, { v = 1 }) await(cmd:commit())
      print(e:get(N).v, e:get(N).writes)
      await(stator.all { function() cmd:add(e, N, { v = 1 }) end, function() cmd:add(e, N, { v = 1 }) end })
      await(cmd:commit())
      print(e:get(N).v)
      cmd:remove(e, N) cmd:remove(e, N) await(cmd:commit())
      print(e:has(N))
      cmd:despawn(e) cmd:despawn(e) await(cmd:commit())
    ]])
    assert.same({ "6\t5", "1\t0", "3", "false" }, said)
  end)

  it("B5 tells a command on an entity that is gone, rejects it when strict", function()
    local said, _, cell = with_counter([[
      local id = cmd:spawn({ N {} }) await(cmd:commit())
      cmd:despawn(id) await(cmd:commit())
      cmd:set(id, N, { v = 1 }) cmd:set(e, N, { v = 2 }) await(cmd:commit())
      print(e:get(N).v)
      cmd:on_dead_target "strict"
      cmd:set(e, N, { v = 3 }) cmd:set(id, N, { v = 1 })
      print(stator.try(function() await(cmd:commit()) end))
      print(e:get(N).v)
      cmd:on_dead_target "ignore" cmd:set(id, N, { v = 1 }) await(cmd:commit())
    ]])
    assert.equal("2", said[2])
    assert.matches("^false\tmain.lua:12: the batch was rejected whole: set on entity %d+ of N: entity does not exist", said[3])
    assert.equal("2", said[4])
    local warned = support.said(cell, "without effect")
    assert.equal(1, #warned)
    assert.matches("^1 command without effect: set on entity %d+ of N, which does not exist any more %(main.lua:9%)", warned[1])
  end)

  it("B6 rejects a batch whose expectation an earlier one broke", function()
    local said = with_counter([[
      local function claim(name)
        return function()
          local seen = e:get(N).v
          cmd:expect(e, N)
          cmd:set(e, N, { v = seen + 1 })
          local ok, err = stator.try(function() await(cmd:commit()) end)
          print(name, ok, err and err.code)
          if err then print(err.message) end
        end
      end
      await(stator.all { claim "a", claim "b" })
      print(e:get(N).v)
    ]])
    assert.same({ "a\ttrue\tnil", "b\tfalse\tbatch_rejected", "main.lua:10: the batch was rejected whole: expect on e of N: "
      .. "an expected value had changed by main/t at main.lua:11", "1" }, said)
  end)

  it("B7 raises the rejection at the await that sealed the batch, whatever it awaits", function()
    local said, _, cell = with_counter([[
      cmd:set(stator.world, N, { v = 1 })
      local ok, err = stator.try(function() await(stator.sleep(5)) end)
      print(ok, err.code, stator.now() < 1)
    ]])
    assert.same({ "false\tbatch_rejected\ttrue" }, said)
    local _, _, timers = cell:counts()
    assert.equal(0, timers)
  end)
end)

describe("operations, blocks, loops", function()
  after_each(support.finish)

  it("O1 an operation does nothing until it is used, and is used once", function()
    local said = run [[
      local ran = 0
      local op = stator.async(function() ran = ran + 1 return "done" end)()
      await(stator.sleep(0.1))
      print(ran, await(op), ran)
      print(stator.try(await, op))
      local nap = stator.sleep(0)
      await(nap)
      print(stator.try(function() await(nap) end))
    ]]
    assert.equal("0\tdone\t1", said[1])
    assert.matches("^false\t.*used before", said[2])
    assert.matches("^false\t.*used before", said[3])
  end)

  it("O2 names the line of an operation that was never used: at the end of the task", function()
    local _, faults = run "local op = stator.sleep(1)"
    assert.same({ "an operation made here was never awaited, so nothing was done: write await(...), or "
      .. "stator.start(...) to let it run [scripts/main] (main.lua:5)" }, faults)
  end)

  it("O2 names the line of an operation that was never used: in a loop that does not end", function()
    local _, faults = run "while true do\n stator.sleep(1)\n await(stator.sleep(0.1)) end"
    assert.equal(1, #faults)
    assert.matches("never awaited.*%(main.lua:6%)", faults[1])
  end)

  it("O2 lets several operations of one line be made before they are used", function()
    local said, faults = run [[
      local ops = {}
      for i = 1, 5 do ops[i] = stator.sleep(i / 10) end
      await(stator.all(ops))
      local a, b = stator.sleep(0.1), stator.sleep(0.1)
      await(a) await(b)
      print(stator.now())
    ]]
    assert.same({}, faults)
    assert.same({ "0.7" }, said)
  end)

  it("O3 a block returns its function's results or raises", function()
    local said = run [[
      print(stator.within(1, function(a) await(stator.sleep(0.1)) return a, 2 end, 1))
      print(stator.scope(function() return 3 end))
      print(stator.shield(function() return 4, 5 end))
      print(stator.try(function() stator.scope(function() stator.fail("code", "text") end) end))
    ]]
    assert.same({ "1\t2", "3", "4\t5", "false\ttext" }, said)
  end)

  it("O4 every() turns on a grid and skips or makes up for what it missed", function()
    local said = run [[
      local start, at = stator.now(), {}
      for tick in stator.every(0.1) do
        at[#at + 1] = ("%.2f"):format(stator.now() - start)
        if tick.n == 2 then await(stator.sleep(0.25)) end
        if tick.n == 4 then print(table.concat(at, " "), tick.missed) break end
      end
      at, start = {}, stator.now()
      for tick in stator.every(0.1, { late = "burst" }) do
        at[#at + 1] = ("%.2f"):format(stator.now() - start)
        if tick.n == 2 then await(stator.sleep(0.25)) end
        if tick.n == 5 then print(table.concat(at, " ")) break end
      end
    ]]
    assert.same({ "0.00 0.10 0.35 0.40\t1", "0.00 0.10 0.35 0.35 0.40" }, said)
  end)

  it("O5 every await raises in a cancelled scope, and only its own block turns it into a failure", function()
    local said = run [[
      local ok, e = stator.try(function()
        stator.within(0.1, function()
          for i = 1, 3 do
            print(i, pcall(function() await(stator.sleep(1)) end))
          end
        end)
      end)
      print(ok, e.code, e.message, stator.now())
      ok, e = stator.try(function()
        stator.within(0.1, function()
          stator.try(function() await(stator.sleep(1)) end)
          print "not reached"
        end)
      end)
      print(ok, e.code)
    ]]
    assert.same({ "false\ttimeout\tnot done within 0.1 s\t0.1", "false\ttimeout" }, said)
  end)

  it("O6 cleanup runs last in first out, may wait though cancelled, and has its own deadline", function()
    local said = run [[
      local ok, e = stator.try(function()
        stator.within(0.1, function()
          stator.defer(function() print("first", stator.now()) end)
          stator.defer(function() await(stator.sleep(0.2)) print("second", stator.now()) end)
          stator.on_failure(function() await(stator.sleep(9)) end, { within = 0.3 })
          await(stator.sleep(5))
        end)
      end)
      print(e.code, stator.now())
      stator.scope(function() stator.on_failure(function() print "never" end) stator.defer(function() print "always" end) end)
    ]]
    assert.equal(5, #said)
    assert.matches("cleanup failed: not done within 0.3 s", said[1])
    assert.same({ "second\t0.6", "first\t0.6", "timeout\t0.6", "always" }, { said[2], said[3], said[4], said[5] })
  end)

  it("O7 joins children, and the first failure cancels the others and is raised", function()
    local said = run [[
      stator.scope(function()
        stator.spawn(function() await(stator.sleep(0.2)) print("child", stator.now()) end)
      end)
      print("joined", stator.now())
      local ok, e = stator.try(function()
        stator.scope(function()
          stator.spawn(function() stator.defer(function() print "sibling cleaned" end) await(stator.sleep(9)) end)
          stator.spawn(function() await(stator.sleep(0.1)) error "boom" end)
          await(stator.sleep(9))
        end)
      end)
      print(e.message:match("boom"), stator.now())
    ]]
    assert.same({ "child\t0.2", "joined\t0.2", "sibling cleaned", "boom\t0.3" }, said)
  end)

  it("O8 race answers the first, ties to the one made first, losers cleaned up before", function()
    local said = run [[
      local function slow() stator.defer(function() await(stator.sleep(0.05)) print "loser cleaned" end) await(stator.sleep(9)) end
      local who, v = await(stator.race { a = stator.async(slow)(), b = stator.async(function() await(stator.sleep(0.1)) return 7 end)() })
      print(who, v, stator.now())
      for _ = 1, 20 do
        local late, early = stator.sleep(0.1), stator.sleep(0.1)
        local won = await(stator.race { early = early, late = late })
        if won ~= "late" then print("tie went to", won) end
      end
      print(await(stator.all { stator.sleep(0.1), function() return "x" end, stator.async(function() return "y" end)() }))
      print(stator.try(function() await(stator.all { slow, function() error("bad", 0) end }) end))
      print(await(stator.any { function() error "no" end, function() await(stator.sleep(0.1)) return "yes" end }))
    ]]
    assert.same({ "loser cleaned", "b\t7\t0.15", "nil\tx\ty", "loser cleaned", "false\tbad", "2\tyes" }, said)
  end)

  it("O9 shows a fault on the entity that owns the task, and the rest goes on", function()
    local said, faults = with_counter([[
      await(stator.sleep(0.1))
      local Fault = stator.entity("e"):get(F)
      print(Fault.task, Fault.message, Fault.place, Fault.count)
    ]], { before = [[
local F = stator.component "Fault"
stator.per_entity("poll", { with = { N } }, function(cmd, me) error "lost" end)
]] })
    assert.same({ "lost [e] (main.lua:6)" }, faults)
    assert.equal("main/poll[e]\tlost\tmain.lua:6\t1", said[2])
  end)

  it("O11 takes back what ended in the round of a cancel or a lost race, not a send that was accepted", function()
    local said = support.run_task([[
      local sem, ch, out = stator.semaphore(1), stator.channel { cap = 1 }, stator.channel { cap = 1 }
      local function act()
        ch:try_send(1)
        out:try_receive()
        cmd:send(Part)
        sem:release()
        await(cmd:commit())
      end
      local function left() return ch:count(), box:count(), sem:available(), out:try_receive() end
      local function take()
        ch:try_receive() box:try_next()
        await(sem:acquire())
        out:try_send("old")
      end
      take()
      stator.try(stator.scope, function()
        for _, op in ipairs { ch:receive(), box:next(), sem:acquire(), out:send "new" } do
          stator.spawn(function() await(op) end)
        end
        await(stator.sleep(0.01))
        act()
        stator.fail("stop", "stop")
      end)
      print("cancel", left())
      local won = stator.channel { cap = 1 }
      stator.spawn(function() await(stator.sleep(0.01)) won:try_send() end)
      stator.spawn(function() take() await(stator.sleep(0.01)) act() end)
      await(stator.sleep(0.005))
      print(await(stator.race { won:receive(), ch:receive(), box:next(), sem:acquire(), out:send "new" }))
      print("race", left())
    ]], { before = 'local Part = stator.event("Part", {})\nlocal box = stator.inbox(Part)' })
    assert.same({ "cancel\t1\t1\t1\ttrue\tnew", "1", "race\t1\t1\t1\ttrue\tnew" }, said)
  end)

  it("O10 ends views at an await: boxes and loops raise", function()
    local said = with_counter([[
      local box
      for first, last, n in q:chunks() do box = n print(n[first].v) end
      print(pcall(function() return box[1] end))
      print(pcall(function() return box[-1] end))
      print(pcall(function() return box[0/0] end))
      await(cmd:commit())
      print(pcall(function() return box[0] end))
      print(pcall(function() for id, n in q:each() do await(cmd:commit()) end end))
    ]], { before = "local q = stator.query { read = { N } }" })
    assert.equal("0", said[1])
    assert.matches("main.lua:%d+: N: row 1 is outside 0 to 0", said[2])
    assert.matches("row %-1 is outside", said[3])
    assert.matches("row %-?nan is outside", said[4])
    assert.matches("this view was taken before an await", said[5])
    assert.matches("this loop over a query went on after an await", said[6])
  end)
end)
