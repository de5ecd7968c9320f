-- stator.retry: what is tried again, when, and what never is.
local support = require "support"
local run = support.run_task

local COUNTER = [[
local N = stator.component("N", { "double v", "bool stop" })
local e = stator.entity "e"
]]
local ENTITY = [=[[ { "name": "e", "components": { "N": {} } } ]]=]

local function with_counter(body)
  return run(body, { before = COUNTER, entities = ENTITY })
end

describe("retry", function()
  after_each(support.finish)

  it("R1 runs it again after growing pauses on the clock, until it goes well", function()
    local said = run [[
      local n = 0
      print("got", stator.retry({ tries = 6, min = 0.1, max = 0.5 }, function(a, b)
        n = n + 1
        print(n, stator.now())
        if n < 5 then stator.fail("timeout", "no reply") end
        return a, b, nil
      end, 7, 8))
    ]]
    assert.same({ "1\t0", "2\t0.1", "3\t0.3", "4\t0.7", "5\t1.2", "got\t7\t8\tnil" }, said)
  end)

  it("R1 raises the last error with the count of tries and the error itself", function()
    local said = run [[
      local n = 0
      local ok, e = stator.try(stator.retry, { tries = 3, min = 0.01 }, function()
        n = n + 1
        stator.fail("io", "failure " .. n)
      end)
      print(ok, e.code, e.message, e.tries, e.cause.message)
      ok, e = stator.try(stator.retry, { tries = 1 }, function() stator.fail("io", "once") end)
      print(ok, e.code, e.message, e.tries)
    ]]
    assert.same({ "false\tio\tfailure 3 (after 3 tries)\t3\tfailure 3", "false\tio\tonce\tnil" }, said)
  end)

  it("R1 makes each try a block: cleanup, children and commands of a failed one are gone before the next", function()
    local said = with_counter [[
      local n = 0
      stator.retry({ min = 1 }, function()
        n = n + 1
        local mine = n
        stator.defer(function() print("cleanup", mine, stator.now()) end)
        stator.spawn(function() stator.defer(function() print("child ends", mine, stator.now()) end) await(stator.sleep(9)) end)
        await(cmd:commit()) await(cmd:commit())
        cmd:add(e, N, { v = 1 })
        if n == 1 then stator.fail("busy", "no") end
        stator.fail("closed", "end of it")
      end)
    ]]
    assert.same({ "child ends\t1\t0", "cleanup\t1\t0", "child ends\t2\t1", "cleanup\t2\t1" }, { said[1], said[2], said[3], said[4] })
    said = with_counter [[
      local n = 0
      stator.retry({ min = 1 }, function()
        n = n + 1
        cmd:add(e, N, { v = 1 })
        if n < 3 then stator.fail("busy", "no") end
      end)
      await(cmd:commit())
      print(e:get(N).v)
    ]]
    assert.same({ "1" }, said)
  end)

  it("R2 with `on` tries again after these codes only", function()
    local said = run [[
      for _, code in ipairs { "timeout", "link_down", "modbus.busy", "error" } do
        local n = 0
        local ok, e = stator.try(stator.retry, { tries = 3, min = 0.01, on = { "timeout", "modbus.busy", "error" } }, function()
          n = n + 1
          stator.fail(code)
        end)
        print(code, n, e.code)
      end
    ]]
    assert.same({ "timeout\t3\ttimeout", "link_down\t1\tlink_down", "modbus.busy\t3\tmodbus.busy", "error\t3\terror" }, said)
  end)

  it("R2 without `on` leaves mistakes of the script, limits and cancelled blocks alone", function()
    local said = run [[
      local n
      local function tries(fn)
        n = 0
        local ok, e = stator.try(stator.retry, { min = 0.01 }, function() n = n + 1 return fn() end)
        print(n, e.code)
      end
      tries(function() local nothing = nil return nothing.field end)
      tries(function() stator.fail("gone", "gone") end)
      tries(function() stator.cancel_when(stator.sleep(0.1), "e-stop") await(stator.sleep(1)) end)
      tries(function() stator.within(0.1, function() await(stator.sleep(1)) end) end)
    ]]
    assert.same({ "1\terror", "1\tgone", "1\tcancelled", "3\ttimeout" }, said)
  end)

  it("R3 never tries a cancellation from outside or an outer deadline again, not even when `on` names it", function()
    local said = run [[
      local n = 0
      local function fail_slowly() n = n + 1 await(stator.sleep(0.4)) stator.fail("timeout", "inner") end
      local ok, e = stator.try(stator.within, 1, stator.retry, { tries = 9, min = 0.01, on = { "timeout", "cancelled" } }, fail_slowly)
      print(n, e.code, e.message, e.tries, stator.now())
      n = 0
      ok, e = stator.try(stator.scope, function()
        stator.cancel_when(stator.sleep(0.1), "e-stop")
        stator.retry({ tries = 9, min = 0.01, on = { "timeout", "cancelled" } }, fail_slowly)
      end)
      print(n, e.code, e.message, e.tries, stator.now())
      -- the deadline ends in a pause
      n = 0
      ok, e = stator.try(stator.within, 1, stator.retry, { tries = 9, min = 5 }, fail_slowly)
      print(n, e.code, e.message)
    ]]
    assert.same({ "3\ttimeout\tnot done within 1 s\tnil\t1", "1\tcancelled\te-stop\tnil\t1.1", "1\ttimeout\tnot done within 1 s" }, said)
  end)

  it("R3 lets a stop by the watchdog pass", function()
    local said, faults = run([[
      local n = 0
      pcall(stator.retry, { tries = 3, min = 0.01, on = { "stopped" } }, function() n = n + 1 print("try", n) while true do end end)
    ]], { settings = '"limits": { "slice_soft_ms": 1, "slice_ms": 4 }' })
    assert.equal(1, #faults)
    assert.matches("stopped", faults[1])
    assert.same({ "try\t1" }, { said[1], said[2]:match "^try.*" })
  end)

  it("R4 does not repeat what may have been done: an error marked `unknown`, unless fn is idempotent", function()
    local said = run [[
      local n
      local function write() n = n + 1 stator.fail("timeout", "no answer", { unknown = true }) end
      for _, idempotent in ipairs { false, true } do
        n = 0
        local ok, e = stator.try(stator.retry, { tries = 3, min = 0.01, idempotent = idempotent, on = { "timeout" } }, write)
        print(n, e.code, e.unknown, e.tries)
      end
      n = 0
      local ok, e = stator.try(stator.retry, { min = 0.01 }, function() n = n + 1 error { code = "io", message = "x", unknown = true } end)
      print(n, e.code, e.unknown)
    ]]
    assert.same({ "1\ttimeout\ttrue\tnil", "3\ttimeout\ttrue\t3", "1\tio\ttrue" }, said)
  end)

  it("R4 a write that a link has sent and that nobody answered is such an error; a read, and a write never sent, are not", function()
    local cell = support.cell {
      virtual = false, main = [[
local stator = require "stator"
local await, plc, links = stator.await, stator.link "plc", stator.entity "links/plc"
local Link = stator.component "Link"
local function try(what, fn)
  local n = 0
  local ok, e = stator.try(stator.retry, { tries = 2, min = 0.001, on = { "timeout", "link_down" } }, function() n = n + 1 return fn() end)
  print(what, n, e.unknown)
end
stator.task("t", {}, function()
  print("down", select(2, stator.try(function() await(plc:write_coil(1, true)) end)).unknown)
  await(links:when(Link, { state = "up" }))
  try("write", function() await(plc:write_coil(1, true, { timeout = 0.05 })) end)
  await(links:when(Link, { state = "up" }))
  try("read", function() await(plc:read_holding(0, 1, { timeout = 0.05 })) end)
  print "done"
end)]],
      links = '{ "plc": { "driver": "modbus_tcp", "simulate": "sim.lua" } }',
      files = { ["sim.lua"] = "local stator = require 'stator' return function(plc) plc.answers = false stator.await(stator.sleep(1e6)) end" },
    }
    support.wait_for(cell, "done", 10)
    assert.same({ "down\tnil", "write\t1\ttrue", "read\t2\tnil" }, support.said(cell, "\t"))
  end)

  it("R5 takes jitter from names and numbers: tasks differ, runs do not", function()
    local function pauses()
      local cell = support.cell [[
local stator = require "stator"
for _, name in ipairs { "a", "b" } do
  stator.task(name, {}, function()
    local last, list = stator.now(), {}
    stator.try(stator.retry, { tries = 6, min = 1, max = 4, jitter = 0.5 }, function()
      list[#list + 1] = ("%.3f"):format(stator.now() - last)
      last = stator.now()
      stator.fail("io", "x")
    end)
    print(table.concat(list, " "))
  end)
end]]
      cell:advance(30)
      return support.said(cell)
    end
    local first = pauses()
    assert.equal(2, #first)
    assert.are_not.equal(first[1], first[2])
    assert.same(first, pauses())
    for _, line in ipairs(first) do
      local i = 0
      for pause in line:gmatch "%S+" do
        local full = i == 0 and 0 or math.min(4, 2 ^ (i - 1))
        assert.is_true(tonumber(pause) <= full and tonumber(pause) >= full / 2)
        i = i + 1
      end
      assert.equal(6, i)
    end
  end)

  it("refuses options it does not know and values that mean nothing", function()
    local said = run [[
      for i, call in ipairs {
        function() stator.retry({ trys = 2 }, print) end, function() stator.retry({ tries = 0 }, print) end,
        function() stator.retry({ min = 0 }, print) end, function() stator.retry({ min = 2, max = 1 }, print) end,
        function() stator.retry({ jitter = 2 }, print) end, function() stator.retry({ on = "timeout" }, print) end,
        function() stator.retry({ on = { 1 } }, print) end, function() stator.retry({}) end, function() stator.retry(print) end,
        function() stator.fail("a", "b", { unknwn = true }) end,
      } do print(i, select(2, pcall(call))) end
    ]]
    for i, text in ipairs {
      'retry: unknown option "trys", did you mean "tries"',
      "retry: tries: expected a whole number of 1 to 1000000000, got 0", "min: expected a number from 0.001 to 3600, got 0",
      "max: expected a number from 2 to 86400, got 1", "jitter: expected a number from 0 to 1, got 2",
      'on is a list of codes, such as { "timeout" }, not "timeout"',
      "on is a list of codes, this holds 1", "retry: expected a function, got nil", "retry: expected a table of options",
      'fail: unknown option "unknwn", did you mean "unknown"',
    } do assert.matches(text, said[i]) end
  end)

  it("takes whole numbers of tries, and numbers that mean something", function()
    local said = run [[
      for _, name in ipairs { "tries", "min", "max", "jitter" } do
        for _, bad in ipairs { 0 / 0, math.huge, -1, "1" } do print(pcall(stator.retry, { [name] = bad }, print)) end
      end
      print(pcall(stator.retry, { tries = 1.5 }, print))
    ]]
    assert.equal(17, #said)
    for _, text in ipairs(said) do assert.matches("^false\tmain.lua:%d+: retry: %a+: expected a .*number .*, got ", text) end
    assert.matches("tries: expected a whole number of 1 to 1000000000, got 1.5", said[17])
  end)
end)
