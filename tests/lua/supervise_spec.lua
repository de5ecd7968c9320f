-- stator.supervise, stator.ready and stator.detach.
local support = require "support"
local run = support.run_task

local BEFORE = [[
local t0 = 0
local function at() return ("%g"):format(stator.now()) end
-- a child that tells when it starts and when it ends, and goes on until it is stopped
local function server(name, ready_after, stop_takes)
  print("start", name, at())
  stator.defer(function()
    if stop_takes then await(stator.sleep(stop_takes)) end
    print("end", name, at())
  end, { within = 9 })
  if ready_after then await(stator.sleep(ready_after)) stator.ready() end
  await(stator.sleep(1e6))
end
]]

local function supervised(body, options)
  options = options or {}
  return run(body, { before = BEFORE .. (options.before or ""), seconds = options.seconds or 60, entities = options.entities })
end

describe("supervise", function()
  after_each(support.finish)

  it("S1 starts in order, each when those before are up; stops in reverse, each when those after have ended", function()
    local said = supervised [[
      local ok, e = stator.try(stator.within, 5, stator.supervise, {}, {
        { "a", server, "a", 1, 0.2, ready_within = 2 },
        { "b", server, "b", nil, 0.3 },
        { "c", server, "c", 0.5, 0.4, ready_within = 1 },
        { "d", server, "d" },
      })
      print(ok, e.code, at())
    ]]
    assert.same({
      "start\ta\t0", "start\tb\t1", "start\tc\t1", "start\td\t1.5",
      "end\td\t5", "end\tc\t5.4", "end\tb\t5.7", "end\ta\t5.9", "false\ttimeout\t5.9",
    }, said)
  end)

  it("S1 ends when all have ended for good; one that ends well before it is ready lets the next start", function()
    local said, faults = supervised [[
      stator.supervise({}, {
        { "home", function() print("home", at()) await(stator.sleep(2)) end, ready_within = 3 },
        { "work", function() print("work", at()) await(stator.sleep(1)) end },
        { "never", function() await(stator.sleep(0.5)) stator.fail("io", "broken") end, restart = "never" },
      })
      print("over", at())
    ]]
    assert.same({ "home\t0", "work\t2", "over\t3" }, { said[1], said[2], said[4] })
    assert.same({ "broken [scripts/main] (main.lua:20)" }, faults)
  end)

  it("S2 restarts what failed, or whatever ended, or nothing, after growing pauses", function()
    local said = supervised([[
      stator.try(stator.within, 9, stator.supervise, { min = 0.5, max = 1, intensity = 99 }, {
        { "fails", function() print("fails", at()) stator.fail("io", "no") end },
        { "ends", function() print("ends", at()) end },
        { "always", function() print("always", at()) await(stator.sleep(3)) end, restart = "always" },
      })
    ]], { seconds = 20 })
    local starts = {}
    for _, line in ipairs(said) do
      local name, at = line:match "^(%l+)\t(%S+)$"
      if name then starts[name] = (starts[name] and starts[name] .. " " or "") .. at end
    end
    assert.equal("0 0.5 1.5 2.5 3.5 4.5 5.5 6.5 7.5 8.5", starts.fails)
    assert.equal("0", starts.ends)
    assert.equal("0 3.5 7", starts.always) -- it ran longer than max, so the pause begins anew
    assert.same("failed: no; starts again in 0.5 s", said[4]:match "failed: no; starts again in 0.5 s")
  end)

  it("S3 raises code `supervise` with the last failures once there were more than `intensity` restarts in `period`", function()
    local said, faults = supervised [[
      local n = 0
      local ok, e = stator.try(stator.supervise, { intensity = 2, period = 10, min = 0.1 }, {
        { "steady", server, "steady" },
        { "bad", function() n = n + 1 await(stator.sleep(1)) stator.fail("io", "failure " .. n) end },
      })
      print(ok, e.code, e.message, at())
      print(#e.failures, e.failures[3].name, e.failures[3].code, e.failures[3].message, e.failures[3].at_s, e.cause.message)
      -- spread over time they are none too many
      n = 0
      ok, e = stator.try(stator.within, 40, stator.supervise, { intensity = 2, period = 10, min = 0.1 }, {
        { "bad", function() n = n + 1 await(stator.sleep(5)) stator.fail("io", "failure " .. n) end },
      })
      print(ok, e.code, n)
    ]]
    assert.same({}, faults)
    local told = {}
    for _, line in ipairs(said) do if not line:find "starts again" then told[#told + 1] = line end end
    assert.same({
      "start\tsteady\t0", "end\tsteady\t3.3",
      "false\tsupervise\t3 restarts within 10 s, at most 2 are allowed; last failures: bad: failure 1; bad: failure 2; bad: failure 3\t3.3",
      "3\tbad\tio\tfailure 3\t3.3\tfailure 3", "false\ttimeout\t7",
    }, told)
  end)

  it("S4 one_for_one restarts the one that failed, rest_for_one those after it too, one_for_all all", function()
    local expected = {
      one_for_one = "start b 2.1",
      rest_for_one = "end c 2,start b 2.1,start c 2.1",
      one_for_all = "end c 2,end a 2,start a 2.1,start b 2.1,start c 2.1",
    }
    for _, strategy in ipairs { "one_for_one", "rest_for_one", "one_for_all" } do
      local said = supervised(([[
        local first = true
        stator.try(stator.within, 5, stator.supervise, { strategy = "%s", min = 0.1 }, {
          { "a", server, "a" },
          { "b", function() print("start", "b", at()) if first then first = false await(stator.sleep(2)) stator.fail "io" end await(stator.sleep(1e6)) end },
          { "c", server, "c" },
        })
      ]]):format(strategy))
      local lines = {}
      for _, line in ipairs(said) do
        if line:find "^%l+\t%l\t2" then lines[#lines + 1] = line:gsub("\t", " ") end
      end
      assert.equal(expected[strategy], table.concat(lines, ","), strategy)
      support.finish()
    end
  end)

  it("S4 keeps the order and the readiness when a group starts again; a `never` child is not started a second time", function()
    local said = supervised [[
      local first = true
      stator.try(stator.within, 8, stator.supervise, { strategy = "one_for_all", min = 0.1 }, {
        { "once", server, "once", restart = "never" },
        { "slow", server, "slow", 1, ready_within = 2 },
        { "c", function() print("start", "c", at()) await(stator.sleep(1)) if first then first = false stator.fail "io" end await(stator.sleep(1e6)) end },
      })
    ]]
    assert.same({ "start\tonce\t0", "start\tslow\t0", "start\tc\t1", "end\tslow\t2", "end\tonce\t2", "start\tslow\t2.1", "start\tc\t3.1" },
      { said[1], said[2], said[3], said[5], said[6], said[7], said[8] })
  end)

  it("S5 counts a child that is not ready in time as failed; the ones after it wait", function()
    local said = supervised [[
      local n = 0
      local ok, e = stator.try(stator.within, 10, stator.supervise, { min = 0.5 }, {
        { "slow", function() n = n + 1 print("slow", n, at()) if n == 2 then stator.ready() end await(stator.sleep(1e6)) end, ready_within = 2 },
        { "next", server, "next" },
      })
      print(e.code)
      ok, e = stator.try(stator.supervise, { intensity = 0 }, { { "deaf", server, "deaf", ready_within = 1 }, { "next", server, "next" } })
      print(e.code, e.cause.code, e.message)
      ok, e = stator.try(stator.supervise, {}, {
        { "deaf", function() stator.fail("io", "no drive") end, ready_within = 1, restart = "never" }, { "next", server, "next" } })
      print(e.code, e.message)
    ]]
    assert.same({
      "slow\t1\t0", "failed: not ready within 2 s; starts again in 0.5 s (main.lua:19)", "slow\t2\t2.5", "start\tnext\t2.5", "end\tnext\t10", "timeout",
      "start\tdeaf\t10", "end\tdeaf\t11",
      "supervise\tnot_ready\t1 restarts within 60 s, at most 0 are allowed; last failures: deaf: not ready within 1 s", "io\tno drive",
    }, said)
  end)

  it("S6 abandons a child that does not end in time, tells it, and does not start it a second time", function()
    local said, faults = supervised [[
      local ok, e = stator.try(stator.within, 1, stator.supervise, { stop_within = 0.5 }, {
        { "a", server, "a" }, { "stuck", server, "stuck", nil, 3 } })
      print(e.code, at())
      await(stator.sleep(5))
      ok, e = stator.try(stator.supervise, { strategy = "one_for_all", min = 0.1, stop_within = 0.5 }, {
        { "stuck", server, "stuck", nil, 3 }, { "fails", function() await(stator.sleep(1)) stator.fail "io" end } })
      print(e.code, e.message)
    ]]
    assert.same({ "start\ta\t0", "start\tstuck\t0", "fault: main/t/stuck went on for 0.5 s after it was cancelled [scripts/main]" },
      { said[1], said[2], said[3] and said[3]:gsub(" %(.*", "") })
    assert.equal(2, #faults)
    local text = table.concat(said, "\n")
    assert.matches("end\ta\t1.5\ntimeout\t1.5", text)
    assert.matches("abandoned\tstuck did not end within 0.5 s, so it is not started a second time", text)
  end)

  it("S7 a cancellation while children start, while they pause and while they are stopped leaves nothing running", function()
    for _, at_s in ipairs { 0, 0.5, 1, 1.05, 2, 2.3, 2.6, 3 } do
      local said, faults = supervised(([[
        local n, running = 0, 0
        local function child(ready_after)
          running = running + 1
          stator.defer(function() await(stator.sleep(0.2)) running = running - 1 end)
          if ready_after then await(stator.sleep(ready_after)) stator.ready() end
          await(stator.sleep(1))
          n = n + 1
          if n %% 2 == 1 then stator.fail "io" end
          await(stator.sleep(1e6))
        end
        local ok, e = stator.try(stator.scope, function()
          stator.cancel_when(stator.sleep(%g), "enough")
          stator.supervise({ strategy = "one_for_all", min = 0.3 }, { { "a", child, 0.5, ready_within = 1 }, { "b", child }, { "c", child } })
        end)
        print("done", ok, e.code, running)
      ]]):format(at_s))
      assert.equal("done\tfalse\tcancelled\t0", said[#said], at_s)
      assert.same({}, faults)
      support.finish()
    end
  end)

  it("S8 may stand in a child of another, which counts it as one; each ready() is that of the innermost", function()
    local said = supervised [[
      local n = 0
      local ok, e = stator.try(stator.supervise, { intensity = 1, min = 0.1 }, {
        { "outer", function()
            stator.supervise({ intensity = 1, min = 0.1 }, {
              { "inner", function() n = n + 1 stator.spawn(stator.ready) await(stator.sleep(1)) stator.fail("io", "x" .. n) end, ready_within = 1 } })
          end } })
      print(n, e.code, e.cause.code, e.cause.cause.message)
    ]]
    assert.equal("4\tsupervise\tsupervise\tx4", said[#said])
  end)

  it("names what is wrong with its arguments", function()
    local said = supervised [[
      for i, call in ipairs {
        function() stator.supervise({ strategie = 1 }, {}) end, function() stator.supervise({}, {}) end,
        function() stator.supervise({ strategy = "one_for_al" }, { { "a", print } }) end,
        function() stator.supervise({}, { a = print }) end, function() stator.supervise({}, { { "a" } }) end,
        function() stator.supervise({}, { { "a", print, restart = "allways" } }) end,
        function() stator.supervise({}, { { "a", print, redy_within = 1 } }) end,
        function() stator.supervise({}, { { "a", print }, { "a", print } }) end,
        function() stator.supervise({ intensity = -1 }, { { "a", print } }) end,
        function() stator.supervise({}, { { "a", print, min = 0 } }) end, function() stator.ready() end,
      } do print(i, select(2, pcall(call))) end
    ]]
    for i, text in ipairs {
      'supervise: unknown option "strategie", did you mean "strategy"', 'expected a list of children, { { "name", fn, ... }, ... }',
      'strategy: expected "one_for_one", "one_for_all", "rest_for_one", got "one_for_al", did you mean "one_for_all"', "expected a list of children",
      'child 1: expected { "name", fn, ... }', 'child "a": restart: expected .* got "allways", did you mean "always"',
      'child "a": unknown option "redy_within", did you mean "ready_within"', 'child "a": the name is taken',
      "intensity: expected a whole number of 0 to 10000, got %-1", 'child "a": min: expected a number from 0.001 to 60000000, got 0',
      "ready: only inside a child of supervise",
    } do assert.matches(text, said[i]) end
  end)

  it("takes whole numbers for counts, and only seconds that can be waited for", function()
    local said = supervised [[
      local function try(options, child)
        child = child or { "a", print }
        local ok, e = pcall(stator.supervise, options, { child })
        print(ok, e)
      end
      for _, bad in ipairs { 1.5, 0 / 0, math.huge, -1, 1e300 } do try({ intensity = bad }) end
      for _, name in ipairs { "period", "min", "max", "ready_within", "stop_within" } do
        for _, bad in ipairs { 0 / 0, math.huge, 1e9 } do try({ [name] = bad }) end
      end
      try({ jitter = 0 / 0 })
      try({}, { "a", print, jitter = 2 })
      try({}, { "a", print, min = math.huge })
    ]]
    assert.equal(5 + 15 + 3, #said)
    for i = 1, 5 do assert.matches("^false\tmain.lua:%d+: supervise: intensity: expected a whole number of 0 to 10000, got", said[i]) end
    for i = 6, #said do assert.matches("^false\tmain.lua:%d+: supervise: .*: expected a number from %S+ to %d+, got", said[i]) end
  end)
end)

describe("detach", function()
  after_each(support.finish)

  it("D1 outlives the block and the task it was started in, and is cancelled when the script stops", function()
    local said, _, cell = supervised([[
      stator.try(stator.within, 1, function()
        stator.detach("lamp", server, "lamp")
        await(stator.sleep(1e6))
      end)
      print("task ends", at())
    ]], { seconds = 5 })
    assert.same({ "start\tlamp\t0", "task ends\t1" }, said)
    cell:stop "test"
    cell:advance(0.5)
    assert.matches("^end\tlamp\t", support.said(cell, "^end")[1])
  end)

  it("D1 is refused while the cell stops: nobody would cancel it", function()
    local said, _, cell = supervised([[
      stator.defer(function()
        local ok, e = stator.try(stator.detach, "late", function() await(stator.sleep(1e6)) end)
        print(ok, e.code, e.message)
      end)
      await(stator.sleep(1e6))
    ]], { seconds = 1 })
    assert.same({}, said)
    cell:stop "test"
    cell:advance(0.5)
    assert.matches("^false\tclosed\tmain.lua:%d+: detach: the cell is stopping", support.said(cell)[1])
  end)

  it("D2 is a fault when it fails; its future tells who awaits it", function()
    local said, faults = supervised [[
      local f = stator.detach("bad", function(a) await(stator.sleep(1)) stator.fail("io", "no " .. a) end, "lamp")
      local ok, e = stator.try(await, f)
      print(ok, e.code, at())
      print(await(stator.detach("good", function() return 1, 2 end)))
    ]]
    assert.same({ "false\tio\t1", "1\t2" }, { said[2], said[3] })
    assert.same({ "no lamp [scripts/main] (main.lua:17)" }, faults)
  end)

  it("D3 a second live one of a name is an error; the name is free once it has ended; scripts do not share names", function()
    local main = [[
local stator = require "stator"
stator.task("t", {}, function()
  stator.detach("lamp", function() stator.await(stator.sleep(1)) end)
  print(select(2, pcall(stator.detach, "lamp", print)))
  stator.await(stator.sleep(2))
  stator.detach("lamp", print, "again")
  for i, call in ipairs { function() stator.detach("", print) end, function() stator.detach("x") end, function() stator.detach("t", print) end,
    function() stator.detach(print) end } do print(i, select(2, pcall(call))) end
end)]]
    local cell = support.cell { scripts = { ["main.lua"] = main },
      scene = '{ "scripts": [ { "file": "main.lua", "as": "main1" }, { "file": "main.lua", "as": "main2" } ] }' }
    cell:advance(5)
    local said = support.said(cell)
    for _, text in ipairs {
      'detach: "lamp" runs already, since main.lua:3', "^again", "1\tmain.lua:7: detach: expected a name of 1 to 60 bytes, got \"\"",
      "2\t.*detach: expected a function, got nil", '3\t.*detach: "t" is the name of a task at main.lua:2', "4\t.*expected a name",
    } do
      local found = 0
      for _, line in ipairs(said) do found = found + (line:find(text) and 1 or 0) end
      assert.equal(2, found, text)
    end
  end)
end)
