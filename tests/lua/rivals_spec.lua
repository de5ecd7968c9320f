-- What other runtimes of coroutines get wrong, one by one, with the runtime where it was seen.
local support = require "support"
local run = support.run_task

describe("unlike", function()
  after_each(support.finish)

  it("copas, coro-net and async.nvim: a time-out's late wake-up reaches nobody", function()
    -- there, the timer or the reply that lost resumes the coroutine at its next, unrelated wait
    local said = run [[
      for i = 1, 3 do
        print(stator.try(stator.within, 0.1, function() await(stator.sleep(0.1 + i * 0.05)) end))
        await(stator.sleep(1))
        print("slept", stator.now())
      end
      local who = await(stator.race { a = stator.sleep(0.1), b = stator.sleep(0.1) })
      await(stator.sleep(0.5))
      print(who, stator.now())
    ]]
    assert.same({ "false\tnot done within 0.1 s", "slept\t1.1", "false\tnot done within 0.1 s", "slept\t2.2",
      "false\tnot done within 0.1 s", "slept\t3.3", "a\t3.9" }, said)
  end)

  it("Tarantool: pcall does not swallow a cancellation, and neither does what swallows it all the same", function()
    local said = run [[
      local caught, tries = 0, 0
      local ok, e = stator.try(stator.within, 0.1, function()
        while true do pcall(function() await(stator.sleep(9)) end) caught = caught + 1 end
      end)
      print(caught, ok, e.code, stator.now())
      ok, e = stator.try(stator.within, 0.1, function()
        while true do coroutine.resume(coroutine.create(function() await(stator.sleep(9)) end)) tries = tries + 1 end
      end)
      print(tries, ok, e.code, stator.now())
    ]]
    assert.same({ "0\tfalse\ttimeout\t0.1", "0\tfalse\ttimeout\t0.2" }, said)
  end)

  it("async.nvim and Tarantool: cleanup may wait although its task is cancelled", function()
    local said = run [[
      stator.try(stator.within, 0.1, function()
        stator.defer(function() await(stator.sleep(0.2)) print("stopped the motor", stator.now()) end)
        await(stator.sleep(9))
      end)
      print("after", stator.now())
    ]]
    assert.same({ "stopped the motor\t0.3", "after\t0.3" }, said)
  end)

  it("OpenResty, copas and nvim-nio: a task that is ended unwinds, in blocks and in what they call", function()
    local said, _, cell = run([[
      local function deep(n)
        if n == 0 then await(stator.sleep(99)) end
        stator.scope(function() stator.defer(function() print("unwound", n) end) deep(n - 1) end)
      end
      deep(3)
    ]], { seconds = 0.1 })
    assert.same({}, said)
    cell:stop "test"
    cell:advance(0.1)
    assert.same({ "unwound\t1", "unwound\t2", "unwound\t3" }, support.said(cell))
  end)

  it("coroutine.wrap and copas: the trace of a failure names where it failed and who waited for it", function()
    local said = run [[
      local function inner() await(stator.sleep(0.1)) error "broken" end
      local function outer() await(stator.async(inner)()) end
      local _, e = stator.try(outer)
      print((e.trace:gsub("\n", " | ")))
    ]]
    assert.matches("main.lua:5:.*main.lua:6:.*main.lua:7:", said[1])
  end)

  it("bare spawn everywhere: no sibling is left running behind a failure", function()
    local said = run [[
      local left = 0
      print(stator.try(stator.scope, function()
        for i = 1, 5 do
          stator.spawn(function()
            left = left + 1
            stator.defer(function() left = left - 1 end)
            await(stator.sleep(i == 3 and 0.1 or 99))
            error("sensor " .. i, 0)
          end)
        end
      end))
      print(left, stator.now())
    ]]
    assert.same({ "false\tsensor 3", "0\t0.1" }, said)
  end)

  it("Promise and OpenResty: a cancel before the first turn runs nothing", function()
    local said = run [[
      print(stator.try(stator.scope, function()
        stator.spawn(function() print "never" end)
        stator.fail("early", "gone before it began")
      end))
    ]]
    assert.same({ "false\tgone before it began" }, said)
  end)

  it("Tarantool: in a cancelled task no operation begins", function()
    local said = run [[
      local began = 0
      local move = stator.async(function() began = began + 1 end)
      stator.try(stator.within, 0.1, function()
        stator.defer(function() await(move()) end)
        stator.try(function() await(stator.sleep(9)) end)
        print "never"
      end)
      print(began)
      began = 0
      stator.try(stator.within, 0.1, function()
        coroutine.wrap(function() await(stator.sleep(9)) end)()
      end)
      local ok = coroutine.resume(coroutine.create(function()
        stator.within(0.1, function()
          for _ = 1, 3 do coroutine.resume(coroutine.create(function() await(stator.sleep(1)) await(move()) end)) end
          await(move())
        end)
      end))
      print(began)
    ]]
    assert.same({ "1", "0" }, said)
  end)

  it("LuaJIT's own limits: a wait inside table.sort, gsub and require is refused at its line, and nothing hangs", function()
    local said = run([[
      for i, call in ipairs {
        function() table.sort({ 2, 1 }, function() await(stator.sleep(1)) end) end,
        function() ("a"):gsub(".", function() await(stator.sleep(1)) end) end,
      } do
        local ok, e = stator.try(call)
        print(i, ok, e.message)
      end
      print(stator.now())
    ]])
    for i = 1, 2 do
      assert.matches(i .. "\tfalse\t.*nothing can wait inside a function that table.sort, string.gsub", said[i])
    end
    assert.equal("0", said[3])
    local path = support.scene {
      scripts = { ["main.lua"] = 'local stator = require "stator"\nrequire "part"' },
      files = { ["part.lua"] = 'local stator = require "stator"\nstator.await(stator.sleep(1))' },
    }
    local out, code = support.shell(support.binary .. " check " .. path .. " 2>&1")
    assert.equal(3, code)
    assert.matches("part.lua:2", out)
  end)

  it("OpenResty and cqueues: an await inside coroutine.wrap waits, and is not handed to the loop", function()
    local said = run [[
      local function readings()
        return coroutine.wrap(function() for i = 1, 3 do await(stator.sleep(0.1)) coroutine.yield(i) end end)
      end
      for value in readings() do print(value, stator.now()) end
    ]]
    assert.same({ "1\t0.1", "2\t0.2", "3\t0.3" }, said)
  end)

  it("async.nvim: a million joins of what has ended at once need no stack", function()
    local said = run([[
      local nothing = stator.async(function() return 1 end)
      local sum, done = 0, stator.spawn(function() return 1 end)
      for _ = 1, 1e6 do sum = sum + await(done) end
      for _ = 1, 1000 do sum = sum + await(nothing()) end
      print(sum)
    ]], { seconds = 2000 })
    assert.same({ "1001000" }, said)
  end)
end)
