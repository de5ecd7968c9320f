-- Tasks, blocks and coroutines where they are easy to get wrong.
local support = require "support"
local run = support.run_task

local COUNTER = [[
local N = stator.component("N", { "double v", "int32_t writes" })
local M = stator.component("M", { "double v" })
local e = stator.entity "e"
]]
local ENTITY = [=[[ { "name": "e", "components": { "N": {}, "M": {} } } ]]=]

local function with_counter(body, before, seconds)
  return run(body, { before = COUNTER .. (before or ""), entities = ENTITY, seconds = seconds })
end

describe("a block that fails", function()
  after_each(support.finish)

  it("forgets what it recorded, and nothing from before it", function()
    local said = with_counter [[
      cmd:set(e, N, { v = 3 })
      local id
      stator.try(function() id = cmd:spawn { N {} } cmd:set(e, N, { v = 4 }) error "x" end)
      stator.try(stator.scope, function() cmd:set(e, N, { v = 5 }) error "x" end)
      cmd:set(e, N, { writes = 1 })
      await(cmd:commit())
      print(e:get(N).v, e:get(N).writes, id:alive())
      stator.try(function() await(stator.sleep(0.1)) cmd:set(e, N, { v = 9 }) error "x" end)
      await(cmd:commit())
      print(e:get(N).v)
    ]]
    assert.same({ "3\t1\tfalse", "3" }, said)
  end)

  it("ends, though what would have cancelled it goes on", function()
    local said, faults = run [[
      for i, op in ipairs {
        stator.sleep(99), stator.async(function() await(stator.sleep(99)) end)(), function() await(stator.sleep(99)) end,
        stator.spawn(function() await(stator.sleep(1)) end), stator.race { stator.sleep(99), stator.sleep(98) },
      } do
        print(i, stator.scope(function() stator.cancel_when(op, "no") await(stator.sleep(0.1)) return "done" end), stator.now())
      end
    ]]
    assert.same({ "1\tdone\t0.1", "2\tdone\t0.2", "3\tdone\t0.3", "4\tdone\t0.4", "5\tdone\t0.5" }, said)
    assert.same({}, faults)
  end)

  it("B2 keeps what its cleanup recorded, also when the blocks around it and the task fail in the same slice", function()
    local said = with_counter([[
      cmd:set(e, M, { v = 5 })
      await(cmd:commit())
      stator.try(stator.scope, function() stator.defer(function() cmd:add(e, N, { v = 1 }) end) error "x" end)
      stator.scope(function()
        stator.scope(function()
          stator.on_failure(function() cmd:add(e, N, { v = 10 }) end)
          cmd:set(e, M, { v = 6 })
          error "x"
        end)
      end)
    ]], [[stator.task("later", {}, function() await(stator.sleep(1)) print(e:get(N).v, e:get(M).v) end)]])
    assert.equal("11\t5", said[#said])
  end)

  it("tells a cleanup that fails after a good end as a fault", function()
    local _, faults = run [[ stator.defer(function() error "boom" end) ]]
    assert.same({ "boom [scripts/main] (main.lua:5)" }, faults)
  end)

  it("refuses options it does not know, and what is no function", function()
    local said = run [[
      for i, call in ipairs {
        function() stator.within(1) end, function() stator.scope(5) end, function() stator.try() end,
        function() stator.shield(print, { within_s = 1 }) end, function() stator.defer(print, { withn = 1 }) end,
        function() stator.defer(print, { within = 0 }) end, function() for _ in stator.every(1e-9) do end end,
        function() for _ in stator.every(math.huge) do end end,
      } do print(i, select(2, pcall(call))) end
    ]]
    for i, pattern in ipairs {
      "within: expected a function, got nil", "scope: expected a function, got number", "try: expected a function",
      'shield: unknown option "within_s", did you mean "within"', 'defer: unknown option "withn", did you mean "within"',
      "defer: within is seconds above 0, not 0", "every: expected a period of 1e%-06 to 6e%+07 seconds", "got inf",
    } do assert.matches(pattern, said[i]) end
  end)
end)

describe("the last batch of a task", function()
  after_each(support.finish)

  it("is told with its name when it is rejected or has no effect", function()
    local _, faults, cell = with_counter [[ cmd:set(stator.world, N, { v = 1 }) ]]
    assert.same({ "the batch was rejected whole: set on world of N: entity lacks the component [scripts/main] (main.lua:8)" }, faults)
    assert.matches("error main/t: fault", table.concat(cell:logs(), "\n"))
    _, _, cell = with_counter [[ local id = cmd:spawn {} await(cmd:commit()) cmd:despawn(id) await(cmd:commit())
      cmd:insert(id, N, { v = 1 }) ]]
    assert.matches("warn  main/t: 1 command without effect", table.concat(cell:logs(), "\n"))
  end)
end)

describe("observers", function()
  after_each(support.finish)

  it("that fire in many ticks are no cycle", function()
    local said, faults = with_counter([[
      for i = 1, 30 do cmd:set(e, N, { v = i }) await(stator.sleep(0.05)) end
      for i = 1, 30 do cmd:set(e, N, { v = -i }) await(cmd:commit()) end
      await(cmd:commit())
      print(e:get(M).v)
    ]], [[stator.observer("mirror", { changed = N }, function(cmd, id) cmd:set(id, M, { v = id:get(N).v }) end)]])
    assert.same({}, faults)
    assert.same({ "-30" }, said)
  end)
end)

describe("a query", function()
  after_each(support.finish)

  it("that writes is refused outside of its system", function()
    local said = with_counter([[
      await(stator.sleep(0.05))
      print(pcall(function() for _ in kept:each() do end end))
      print(pcall(function() for _ in kept:chunks() do end end))
    ]], [[local kept stator.system("w", { write = { N } }, function(_, q) kept = q end)]])
    assert.matches('a query that writes is for its system, while it runs: system "w"', said[1])
    assert.matches("a query that writes", said[2])
  end)
end)

describe("coroutines in a script", function()
  after_each(support.finish)

  it("may wait: generators, nested ones, resume", function()
    local said = run [[
      local gen = coroutine.wrap(function()
        local inner = coroutine.wrap(function() for i = 1, 2 do await(stator.sleep(0.1)) coroutine.yield(i) end end)
        coroutine.yield(inner() * 10) coroutine.yield(inner() * 10)
      end)
      print(gen(), gen(), stator.now())
      local c = coroutine.create(function(a) await(stator.sleep(0.1)) return a + 1 end)
      print(coroutine.resume(c, 1))
      print(coroutine.resume(coroutine.create(function() error("no", 0) end)))
    ]]
    assert.same({ "10\t20\t0.2", "true\t2", "false\tno" }, said)
  end)

  it("pass a cancellation on, however it is resumed", function()
    local said = run [[
      local ok, err = stator.try(function()
        stator.within(0.5, function()
          while true do coroutine.resume(coroutine.create(function() await(stator.sleep(0.1)) end)) end
        end)
      end)
      print(ok, err.code)
    ]]
    assert.same({ "false\ttimeout" }, said)
  end)

  it("cannot yield out of a block or a task", function()
    local said = run [[
      print(pcall(coroutine.wrap(function() stator.within(1, function() coroutine.yield(1) end) end)))
      print(pcall(function() coroutine.yield() end))
      await(stator.sleep(2))
      print "after"
    ]]
    assert.matches("inside within, scope, shield or race there is no yielding out of the block", said[1])
    assert.matches("there is no coroutine here to yield from", said[2])
    assert.equal("after", said[3])
  end)

  it("that wait go on in their task only, and are left as they are by who resumes them", function()
    local said = run [[
      local inner
      local gen = coroutine.create(function(a)
        inner = coroutine.wrap(function() return await(stator.race { tick = stator.sleep(1) }) end)
        local who = inner()
        return a, who, stator.now(), coroutine.yield("between")
      end)
      stator.scope(function()
        stator.spawn(function() print("waited", coroutine.resume(gen, "a")) end)
        stator.spawn(function()
          await(stator.sleep(0.1))
          for i, f in ipairs { function() return coroutine.resume(gen, true, "forged") end, function() return inner(true) end } do
            print(i, pcall(f))
          end
        end)
      end)
      stator.spawn(function() print("elsewhere", coroutine.resume(gen, "b")) end)
    ]]
    for i = 1, 2 do
      assert.matches("^%d\tfalse\tmain.lua:%d+: coroutine.resume: this coroutine waits in main/t %(spawned at "
        .. "main.lua:12%); only that task can go on with it$", said[i])
    end
    assert.same({ "waited\ttrue\tbetween", "elsewhere\ttrue\ta\ttick\t1\tb" }, { said[3], said[4] })
  end)

  it("cannot be told to go on by observers and systems while they wait, and can be after a cancellation", function()
    local said = run([[
      gen = coroutine.create(function()
        local ok, e = stator.try(await, stator.sleep(9))
        coroutine.yield(ok, e)
      end)
      print("waited", stator.try(stator.within, 0.2, coroutine.resume, gen))
      print("then", coroutine.status(gen), coroutine.resume(gen))
    ]], { before = [[
local gen
stator.system("s", { every = 0.1 }, function()
  if gen and coroutine.status(gen) == "suspended" then print(pcall(coroutine.resume, gen)) end
end)]] })
    assert.matches("^false\tmain.lua:%d+: coroutine.resume: this coroutine waits in main/t;", said[1])
    assert.equal("waited\tfalse\tnot done within 0.2 s", said[#said - 1])
    assert.equal("then\tdead\tfalse\tcannot resume dead coroutine", said[#said])
  end)

  it("cannot yield out of a block by resuming themselves in it", function()
    local said = run [[
      print(pcall(coroutine.wrap(function()
        stator.within(1, function() coroutine.resume(coroutine.running()) coroutine.yield(1) end)
      end)))
    ]]
    assert.matches("inside within, scope, shield or race there is no yielding out of the block", said[1])
  end)

  it("cannot wait where C calls back, and say so", function()
    local said, faults = run [[
      print(pcall(table.sort, { 3, 2, 1 }, function() await(stator.sleep(0.1)) end))
      print("gsub", pcall(string.gsub, "abc", ".", function() await(stator.sleep(0.1)) end))
      local g = coroutine.wrap(function() coroutine.yield(1) coroutine.yield(2) end)
      print(g(), g())
    ]]
    assert.matches("nothing can wait inside a function that table.sort, string.gsub", said[1])
    assert.matches("nothing can wait inside a function that table.sort", said[2])
    assert.equal("1\t2", said[3])
    assert.same({}, faults)
  end)
end)

describe("a task that swallows its cancellation", function()
  after_each(support.finish)

  it("pauses now and then, and what it records meanwhile is dropped", function()
    local _, _, cell = with_counter("", [[
stator.system("count", {}, function() end)]])
    cell:eval [[
      local task, core = require "stator.task", require "stator.core.task"
      local N = require("stator.registry").live.components.N
      local e = require("stator.entity").entity "e"
      swallower = task.spawn({ name = "swallower", order = 0, quiet = true }, function()
        for _ = 1, 1000 do
          pcall(task.await, core.sleep(1000))
          require("stator.command"):add(e, N, { writes = 1 })
        end
      end)]]
    cell:advance(0.02)
    local _, _, _, _, before = cell:counts()
    cell:eval [[require("stator.task").cancel(swallower, "test")]]
    cell:advance(0.05)
    local tasks, _, _, _, after = cell:counts()
    assert.equal(0, tasks)
    assert.is_true(after - before >= 10) -- a pause a round, for every hundred refusals
  end)
end)

describe("a script that ships", function()
  after_each(support.finish)

  it("heartbeat: counts in the tick, every period", function()
    local cell = support.cell {
      scene = [=[{ "scripts": [ { "file": "heartbeat.lua", "params": { "period_s": 0.1 } } ],
        "entities": [ { "name": "e", "components": { "Heartbeat": { "count": 65534 } } } ] }]=],
      scripts = {},
    }
    cell:advance(1.005)
    -- 65534 and 11 beats: in the first tick, then every 0.1 s; it goes round at 65535
    assert.equal(9, (cell:eval [[
      return require("stator.entity").entity("e"):get(require("stator.registry").live.components.Heartbeat).count]]))
  end)
end)

describe("errors", function()
  after_each(support.finish)

  it("that are tables or nil are told the same in every run", function()
    local said = run [[
      print(select(2, stator.try(function() error({ a = 1 }) end)))
      print(select(2, stator.try(function() error(nil) end)))
      print(select(2, stator.try(function() error({ message = "own", code = "mine" }) end)).code)
    ]]
    assert.same({ "a table without a message was raised", "nil was raised", "mine" }, said)
  end)
end)

describe("thousands of things", function()
  after_each(support.finish)

  it("spawned, waited for and despawned leave nothing", function()
    local said = with_counter([[
      local ids, p = {}, nil
      for i = 1, 3000 do p = cmd:spawn({ N {} }, { parent = p }) ids[i] = p end
      await(cmd:commit())
      stator.scope(function() for i = 1, 3000 do stator.spawn(function() await(stator.sleep(0.1)) end) end end)
      cmd:despawn(ids[1]) await(cmd:commit())
      print(ids[3000]:alive(), stator.now())
    ]], nil, 2)
    assert.same({ "false\t0.1" }, said)
  end)
end)

describe("the collector", function()
  after_each(support.finish)

  it("leaves an operation alone while a task waits for it", function()
    local cell = support.cell [[
local stator = require "stator"
for i = 1, 20 do
  stator.task("t" .. i, {}, function()
    for tick in stator.every(0.01) do if i == 1 then print("turn " .. tick.n) end end
  end)
end]]
    for _ = 1, 20 do
      cell:advance(0.01)
      cell:eval [[collectgarbage() collectgarbage()
        kept = {} -- what was freed is written over
        for size = 60, 240 do for i = 1, 20 do kept[#kept + 1] = ("%05d"):format(i):rep(math.floor(size / 5)) end end]]
    end
    assert.equal("turn 21", support.said(cell)[21])
  end)
end)

describe("a block whose function has returned", function()
  after_each(support.finish)

  it("keeps its deadline and its cancel_when until its children have ended", function()
    local said = run [[
      print(select(2, stator.try(stator.within, 0.5, function() stator.spawn(function() await(stator.sleep(9)) end) end)).code, stator.now())
      print(select(2, stator.try(stator.scope, function()
        stator.cancel_when(stator.sleep(0.25), "enough")
        stator.spawn(function() await(stator.sleep(9)) end)
      end)).message, stator.now())
    ]]
    assert.same({ "timeout\t0.5", "enough\t0.75" }, said)
  end)
end)
