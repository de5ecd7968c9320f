-- Events: sent with a batch, observed, put into inboxes; none is lost between two tasks.
local support = require "support"

local BEFORE = [[
local N = stator.component("N", { "double v" })
local Part = stator.event("Part", { "int32_t n = 7", "char label[8]", "entity by" })
local Reset = stator.event("Reset", {})
local e, f = stator.entity "e", stator.entity "f"
]]
local ENTITIES = [=[[ { "name": "e", "components": { "N": {} } }, { "name": "f", "components": { "N": {} } } ]]=]

local function run(body, before, options)
  options = options or {}
  return support.run_task(body, {
    before = BEFORE .. (before or ""), entities = ENTITIES, seconds = options.seconds,
    world_bytes = options.world_bytes, world_entities = options.world_entities,
  })
end

local function refused(main)
  local ok, message = pcall(support.cell, { main = 'local stator = require "stator"\n' .. main })
  return not ok and message
end

describe("an event", function()
  after_each(support.finish)

  it("E1 is sent when its batch is accepted, and not before", function()
    local said = run([[
      cmd:send(Part, { n = 1 })
      print("recorded", box:count())
      await(cmd:commit())
      print("applied", box:count(), (box:try_next()).n)
    ]], "local box = stator.inbox(Part)")
    assert.same({ "recorded\t0", "applied\t1\t1" }, said)
  end)

  it("E1 is not sent with a batch that is refused, dropped or rolled back", function()
    local said = run([[
      local gone = cmd:spawn({})
      await(cmd:commit())
      local ok, p = stator.try(function()
        cmd:send(Part, { n = 1 })
        cmd:set(gone, N, { v = 1 })
        await(cmd:commit())
      end)
      print(ok, p.code, box:count())
      stator.try(function() cmd:send(Part, { n = 2 }) error "changed my mind" end)
      await(cmd:commit())
      print(box:count())
      cmd:send(Part, { n = 3 })
      await(cmd:commit())
      print(box:count(), box:try_next().n)
    ]], "local box = stator.inbox(Part)")
    assert.same({ "false\tbatch_rejected\t0", "0", "1\t3" }, said)
  end)

  it("has defaults, and its values are checked before anything is recorded", function()
    local said = run([[
      cmd:send(Part)
      cmd:send(Part, { n = 2, label = "two", by = e:id() }, f)
      cmd:send(Reset)
      for _, bad in ipairs {
        function() cmd:send(Part, { m = 1 }) end, function() cmd:send(Part, { n = 1.5 }) end,
        function() cmd:send(Part, { label = "much too long" }) end, function() cmd:send(N, {}) end,
        function() cmd:send("Prat") end, function() cmd:send(Part, 3) end, function() cmd:send(Reset, { n = 1 }) end,
        function() cmd:send(Part, {}, "e") end,
      } do print((select(2, pcall(bad)))) end
      await(cmd:commit())
      print(box:count())
      for _ = 1, 2 do
        local ev, to = box:try_next()
        print(ev.n, ev.label, ev.by == e:id(), ev.by == nil, to == f:id(), to)
      end
    ]], "local box = stator.inbox(Part)")
    assert.matches('Part has no field "m", did you mean "n"', said[1])
    assert.matches("Part.n: expected a whole number", said[2])
    assert.matches("Part.label: expected text of at most 8 bytes", said[3])
    assert.matches("send: expected an event, got component N", said[4])
    assert.matches('send: expected an event, got "Prat", did you mean "Part"', said[5])
    assert.matches("send: expected a table of fields of Part, got 3", said[6])
    assert.matches("send: Reset has no fields", said[7])
    assert.matches('expected an entity, got "e": write stator.entity', said[8])
    assert.same("2", said[9])
    assert.same({ "7\t\tfalse\ttrue\tfalse\tnil" }, { said[10] })
    assert.matches("^2\ttwo\ttrue\tfalse\ttrue\t", said[11])
  end)

  it("E2 comes in the order of T2, whoever sends", function()
    local said = run([[
      stator.scope(function()
        for i = 3, 1, -1 do stator.spawn(function() cmd:send(Part, { n = i }) cmd:send(Part, { n = 10 * i }) end) end
      end)
      await(stator.sleep(0.01))
      local list = {}
      for i = 1, box:count() do list[i] = box:try_next().n end
      print(table.concat(list, " "))
    ]], "local box = stator.inbox(Part)")
    assert.same({ "3 30 2 20 1 10" }, said)
  end)

  it("to an entity that is gone counts as other commands do", function()
    local _, _, cell = run([[
      local gone = f:id()
      cmd:despawn(f)
      await(cmd:commit())
      cmd:send(Part, {}, gone)
      await(cmd:commit())
      print(box:count())
    ]], "local box = stator.inbox(Part)")
    assert.matches("without effect: send of Part to entity", table.concat(cell:logs(), "\n"))
  end)

  it("is declared once, as a component is", function()
    assert.is_truthy(refused [[stator.event("A", { "double x" }) stator.event("A", { "double y" })]])
    assert.is_truthy(refused [[stator.event "A"]])
    assert.is_truthy(refused [[stator.event("A", { "duoble x" })]])
    assert.is_truthy(refused [[stator.event("A", 3)]])
    assert.is_falsy(refused [[local a, b = stator.event("A", { "double x" }), stator.event("A", { "double x" }) assert(a == b)]])
  end)

  it("E3 is observed in registration order, after the values are complete", function()
    local said = run([[
      cmd:set(e, N, { v = 5 })
      cmd:send(Part, { n = 1 }, e)
      cmd:send(Part, { n = 2 })
    ]], [[
stator.observer("a", { event = Part }, function(cmd, ev, to) print("a", ev.n, to and to:get(N).v) ev.n = 99 end)
stator.observer("b", { changed = N }, function(cmd, id) print("b", id:get(N).v) end)
stator.observer("c", { event = Part }, function(cmd, ev) print("c", ev.n) end)]])
    assert.same({ "a\t1\t5", "a\t2\tnil", "b\t5", "c\t1", "c\t2" }, said)
  end)

  it("E3 that an observer sends counts in a chain of observers", function()
    local _, faults = run("cmd:send(Part, { n = 1 })", [[
stator.observer("loop", { event = Part }, function(cmd, ev) cmd:send(Part, { n = ev.n + 1 }) end)]])
    assert.same(1, #faults)
    assert.matches("observers set each other off 8 times in a row: main/loop", faults[1])
  end)
end)

describe("an inbox", function()
  after_each(support.finish)

  it("gives events to who waits, in the order in which they came", function()
    local said = run([[
      stator.scope(function()
        for i = 1, 3 do stator.spawn(function() print(i, await(box:next()).n) end) end
        await(stator.sleep(0.01))
        for n = 1, 3 do cmd:send(Part, { n = n }) await(stator.sleep(0.01)) end
      end)
      print(box:stats().taken, box:count())
    ]], "local box = stator.inbox(Part)")
    assert.same({ "1\t1", "2\t2", "3\t3", "3\t0" }, said)
  end)

  it("turns once an event", function()
    local said = run([[
      stator.spawn(function()
        for n = 1, 3 do cmd:send(Part, { n = n }, n == 2 and e or nil) end
        await(stator.sleep(0.1))
        cmd:send(Part, { n = 4 })
      end)
      for ev, to in box:each() do
        print(ev.n, to == e:id(), stator.now())
        if ev.n == 4 then break end
      end
    ]], "local box = stator.inbox(Part)")
    assert.same({ "1\tfalse\t0", "2\ttrue\t0", "3\tfalse\t0", "4\tfalse\t0.1" }, said)
  end)

  it("takes what is sent to its entity, or all of the kind", function()
    local said = run([[
      cmd:send(Part, { n = 1 }) cmd:send(Part, { n = 2 }, e) cmd:send(Part, { n = 3 }, f)
      await(cmd:commit())
      print(all:count(), to_e:count(), to_e:try_next().n)
      local mine = stator.inbox(Part, { to = f:id() })
      print(mine == stator.inbox(Part, { to = f:id() }), mine:count())
      cmd:send(Part, { n = 4 }, f)
      await(cmd:commit())
      print(mine:count(), mine:try_next().n, mine:try_next())
    ]], [[local all, to_e = stator.inbox(Part), stator.inbox(Part, { to = e })]])
    assert.same({ "3\t1\t2", "true\t0", "1\t4\tnil" }, said)
  end)

  for _, case in ipairs {
    { "drop_old", "3 4 5", 2, "2 events dropped so far, the oldest go" },
    { "drop_new", "1 2 3", 2, "2 events dropped so far, new ones go" },
  } do
    it("E4 is bounded: " .. case[1], function()
      local said, _, cell = run([[
        for n = 1, 5 do cmd:send(Part, { n = n }) end
        await(cmd:commit())
        local list = {}
        local stats = box:stats()
        for i = 1, box:count() do list[i] = box:try_next().n end
        print(table.concat(list, " "), stats.received, stats.dropped, stats.cap)
      ]], ('local box = stator.inbox(Part, { cap = 3, full = "%s" })'):format(case[1]))
      assert.equal(case[2] .. "\t5\t2\t3", said[#said])
      assert.matches(case[4], table.concat(cell:logs(), "\n"), 1, true)
    end)
  end

  it("E4 that rejects refuses the batch which sends one too many, whole and at its await", function()
    local said = run([[
      local ok, p = stator.try(function()
        cmd:set(e, N, { v = 1 })
        for n = 1, 3 do cmd:send(Part, { n = n }) end
        await(cmd:commit())
      end)
      print(ok, p.code, p.message, e:get(N).v, box:count())
      cmd:send(Part, { n = 4 }) cmd:send(Part, { n = 5 })
      await(cmd:commit())
      print(pcall(function() cmd:send(Part, { n = 6 }) await(cmd:commit()) end))
      print(box:try_next().n)
      cmd:send(Part, { n = 7 })
      await(cmd:commit())
      print(box:try_next().n, box:try_next().n, box:count(), box:stats().dropped)
    ]], 'local box = stator.inbox(Part, { cap = 2, full = "reject" })')
    assert.same("false\tbatch_rejected\tmain.lua:11: the batch was rejected whole: send of Part: an inbox for it is full\t0\t0",
      said[1])
    assert.matches("^false\t.*an inbox for it is full", said[2])
    assert.same({ "4", "5\t7\t0\t0" }, { said[3], said[4] })
  end)

  it("E4 counts by entity what one for an entity takes", function()
    local said = run([[
      cmd:send(Part, { n = 1 }, f) cmd:send(Part, { n = 2 }, f) cmd:send(Part, { n = 3 }, e)
      await(cmd:commit())
      print(box:count(), (select(2, stator.try(function() cmd:send(Part, {}, e) await(cmd:commit()) end))).code)
    ]], 'local box = stator.inbox(Part, { cap = 1, full = "reject", to = e })')
    assert.same({ "1\tbatch_rejected" }, said)
  end)

  it("E5 keeps what comes while its task starts again", function()
    local cell = support.cell {
      main = [[
local stator = require "stator"
local await = stator.await
]] .. BEFORE .. [[
local box = stator.inbox(Part)
stator.task("worker", { restart = { min = 0.1, max = 1 } }, function()
  for ev in box:each() do
    print("got", ev.n)
    if ev.n == 2 then error "stumbles" end
  end
end)
stator.task("sender", {}, function(cmd)
  for n = 1, 5 do cmd:send(Part, { n = n }) await(stator.sleep(0.01)) end
end)]], entities = ENTITIES,
    }
    cell:advance(1)
    assert.same({ "got\t1", "got\t2", "got\t3", "got\t4", "got\t5" }, support.said(cell, "^got"))
  end)

  it("E5 of an entity lasts over the restart of its task, and ends with the entity", function()
    local cell = support.cell {
      main = [[
local stator = require "stator"
local await = stator.await
]] .. BEFORE .. [[
stator.per_entity("worker", { with = { N }, restart = { min = 0.1, max = 1 } }, function(cmd, me)
  local box = stator.inbox(Part, { to = me })
  for ev in box:each() do
    print(me:name(), ev.n)
    if ev.n == 1 then error "stumbles" end
  end
end)
stator.task("sender", {}, function(cmd)
  await(stator.sleep(0.01))
  local box = stator.inbox(Part, { to = f:id() })
  for n = 1, 3 do cmd:send(Part, { n = n }, f) await(stator.sleep(0.01)) end
  await(stator.sleep(1))
  cmd:send(Part, { n = 4 }, f)
  await(cmd:commit())
  cmd:despawn(f)
  local ok, problem = stator.try(function() for _ in box:each() do end end)
  print(problem.code, problem.message)
end)]], entities = ENTITIES,
    }
    cell:advance(3)
    assert.same({ "f\t1", "f\t2", "f\t3", "f\t4" }, support.said(cell, "^f\t"))
    assert.matches("^gone\tthe entity that main/Part%[%d+%] is for is gone", support.said(cell, "^gone")[1])
  end)

  it("E6 loses nothing to the loser of a race, a refused batch, a time-out or a cancel", function()
    local said = run([[
      -- both futures settle in one apply: the one that loses gives its event back
      stator.spawn(function() await(stator.sleep(0.01)) cmd:send(Part, { n = 1 }) cmd:send(Reset) end)
      print("race", (await(stator.race { a = box:next(), b = resets:next() })), box:count(), resets:count())
      -- in the hand of a task whose batch is refused
      local gone = cmd:spawn({}) cmd:send(Part, { n = 2 }) await(cmd:commit())
      local ok, p = stator.try(function() cmd:set(gone, N, { v = 1 }) return await(box:next()) end)
      print("refused", p.code, box:count(), box:try_next().n)
      -- handed over in the round in which the waiter is cancelled
      local scope_ended
      local child = stator.start(function()
        local ok2, p2 = stator.try(function() stator.within(0.05, function() print("in time", await(box:next()).n) end) end)
      end)
      await(stator.sleep(0.05))
      cmd:send(Part, { n = 3 })
      await(child)
      await(stator.sleep(0.01))
      print("timeout", box:count())
      if box:count() == 1 then print("kept", box:try_next().n) end
      -- in the hand of a task that is cancelled before it runs
      local held = 0
      stator.try(function()
        stator.scope(function()
          stator.spawn(function() held = await(box:next()).n await(stator.sleep(1)) end)
          await(stator.sleep(0.01))
          cmd:send(Part, { n = 6 })
          await(cmd:commit())
          error("enough", 0)
        end)
      end)
      print("held", held + (box:count() == 1 and box:try_next().n or 0))
      -- some of all
      stator.try(function()
        stator.within(0.1, function()
          stator.spawn(function() cmd:send(Part, { n = 4 }) end)
          await(stator.all { box:next(), resets:next(), stator.sleep(1) })
        end)
      end)
      print("all", box:count(), resets:count())
      print(box:try_next().n, resets:count(), box:stats().taken)
      -- started, and never awaited
      stator.scope(function()
        stator.start(box:next())
        cmd:send(Part, { n = 5 })
        await(stator.sleep(0.01))
        print("started", box:count())
      end)
      print("ended", box:count(), box:try_next().n)
    ]], "local box, resets = stator.inbox(Part), stator.inbox(Reset)")
    assert.same({ "race\ta\t0\t1", "refused\tbatch_rejected\t1\t2" }, { said[1], said[2] })
    local rest = table.concat(said, "|", 3)
    assert.matches("timeout\t1|kept\t3", rest, 1, true)
    assert.matches("held\t6", rest, 1, true)
    assert.matches("all\t1\t1|4\t1", rest, 1, true)
    assert.matches("started\t0|ended\t1\t5", rest, 1, true)
  end)

  it("E6 gives back in order what two had that are cancelled together", function()
    local said = run([[
      stator.try(stator.scope, function()
        for _ = 1, 2 do stator.spawn(function() await(box:next()) end) end
        await(stator.sleep(0.01))
        for n = 1, 3 do cmd:send(Part, { n = n }) end
        await(cmd:commit())
        stator.fail("stop", "stop")
      end)
      print(box:count(), box:try_next().n, box:try_next().n, box:try_next().n, box:stats().taken)
    ]], "local box = stator.inbox(Part)")
    assert.same({ "3\t1\t2\t3\t3" }, said)
  end)

  it("E6 leaves nothing in line after a thousand time-outs", function()
    local said, _, cell = run([[
      for i = 1, 1000 do
        stator.try(stator.within, 0.001, function()
          if i % 2 == 0 then return await(box:next()) end
          await(stator.race { box:next(), stator.sleep(1) })
        end)
      end
      print(stator.now() >= 1)
    ]], "local box = stator.inbox(Part)")
    assert.same({ "true" }, said)
    cell:eval [[
      local _, box = next(require("stator.inbox").by_key)
      assert(box.waiters.count == 0 and not box.waiters.first)
    ]]
  end)

  it("E4 has a limit of waiters", function()
    local cell = support.cell { main = [[
local stator = require "stator"
local await = stator.await
local box = stator.inbox(stator.event("Part", {}))
stator.task("t", {}, function()
  for _ = 1, 3 do stator.start(box:next()) end
  local e = select(2, stator.try(function() await(box:next()) end))
  print(e.code, e.message)
  print(select(2, stator.try(function() await(stator.race { box:next(), stator.sleep(1) }) end)).code)
end)]] }
    cell:eval "require('stator.waiters').MAX = 3"
    cell:advance(3)
    assert.same({ "limit\tmain.lua:6: more than 3 tasks wait for the inbox", "limit" }, support.said(cell))
  end)

  it("E6 does not take an event where nothing can wait", function()
    local said = run([[
      cmd:send(Part, { n = 1 })
      await(cmd:commit())
      print(pcall(table.sort, { 1, 2 }, function() await(box:next()) end))
      print(box:count())
    ]], "local box = stator.inbox(Part)")
    assert.matches("^false\t.*nothing can wait inside", said[1])
    assert.same("1", said[2])
  end)

  it("is refused with what was expected", function()
    local said = run([[
      for _, bad in ipairs {
        function() stator.inbox(Part, { cap = 0 }) end, function() stator.inbox(Part, { full = "drop_odl" }) end,
        function() stator.inbox(N) end, function() stator.inbox(Part, { capp = 1 }) end,
        function() stator.inbox(Part, { cap = 9 }) end, function() stator.inbox(Part, { to = "e" }) end,
        function() stator.inbox(Part, { to = 17 }) end, function() stator.inbox(Part, { name = 3 }) end,
        function() box:nxt() end,
      } do print((select(2, pcall(bad))) ) end
    ]], "local box = stator.inbox(Part)")
    for i, wanted in ipairs {
      "cap is a whole number from 1 to 65536, not 0", 'not "drop_odl", did you mean "drop_old"',
      "inbox: expected an event, got component N", 'unknown option "capp", did you mean "cap"',
      "inbox main/Part: made with other options at main.lua:%d+", 'expected an entity, got "e"',
      "entity 17 does not exist", "name is a text, not 3", 'an inbox has no "nxt", did you mean "next"',
    } do assert.matches(wanted, said[i]) end
  end)

  it("leaves nothing behind, whatever happens at which await", function()
    local BODY = [[
      local n, at, mode = 0, %d, "%s"
      local function step(op)
        n = n + 1
        if n == at and mode == "fail" then stator.start(op) error("injected", 0) end
        if n == at and mode == "despawn" then cmd:despawn(f) end
        if n == at and mode == "cancel" then cmd:set(e, N, { v = 1 }) end
        if n == at and mode == "timeout" then return stator.within(0, function() return await(op) end) end
        return await(op)
      end
      local got = 0
      local ok, p = stator.try(function()
        stator.scope(function()
          stator.cancel_when(e:when(N, { v = 1 }), "stop")
          stator.spawn(function() for i = 1, 4 do await(stator.sleep(0.01)) cmd:send(Part, { n = i }, f:alive() and f or nil) end end)
          local mine = stator.inbox(Part, { to = f:id() })
          step(mine:next())
          got = got + 1
          step(stator.race { a = mine:next(), b = stator.sleep(0.05) })
          got = got + 1
          step(stator.all { mine:next(), box:next() })
          got = got + 2
          for _ in mine:each() do got = got + 1 break end
          step(stator.sleep(0))
        end)
      end)
      await(stator.sleep(0.1))
      print(n, ok, p and p.message, box.waiters.count)
    ]]
    local before = "local box = stator.inbox(Part)"
    local said = run(BODY:format(0, "none"), before, { seconds = 2 })
    assert.same({ "4\ttrue\tnil\t0" }, said)
    support.finish()
    for _, mode in ipairs { "fail", "cancel", "timeout", "despawn" } do
      for at = 1, 4 do
        local out = run(BODY:format(at, mode), before, { seconds = 2 })
        assert.equal(1, #out, mode .. at)
        assert.matches("\t0$", out[1], 1, false)
        support.finish() -- and no task, watch, timer, handle or reference
      end
    end
  end)
end)

describe("a batch for which the world has no room", function()
  after_each(support.finish)

  it("B8 raises limit at its await, and nothing of it is done", function()
    local said = run([[
      local n, big = 0, nil
      local ok, p = stator.try(function()
        while n < 500 do
          cmd:send(Part, { n = n })
          cmd:add(e, N, { v = 1 })
          for _ = 1, 4 do cmd:spawn({ Big {} }) end
          await(cmd:commit())
          n = n + 1
        end
      end)
      print(ok, p.code, p.message, e:get(N).v == n, bigs:count() == 4 * n, box:stats().received == n)
    ]], [[
local Big = stator.component("Big", { "char text[8000]" })
local bigs = stator.query { with = { Big } }
local box = stator.inbox(Part)]], { world_bytes = 2 * 2 ^ 20 })
    assert.matches("^false\tlimit\tmain.lua:%d+: the batch was rejected whole: .*memory is full\ttrue\ttrue\ttrue$", said[1])
  end)

  it("B8 raises limit at the spawn when no id is left", function()
    local said = run([[
      local ok, p = stator.try(function() for _ = 1, 100 do cmd:spawn({}) end end)
      print(ok, p.code, p.message)
      await(cmd:commit())
    ]], nil, { world_entities = 50 })
    assert.matches("^false\tlimit\tmain.lua:%d+: the world has room for 50 entities", said[1])
  end)
end)
