-- Services: calls from one script to another, by value.
local support = require "support"

local HEAD = 'local stator = require "stator"\nlocal await, cmd = stator.await, stator.cmd\n'

local function cell(service, caller, options)
  options = options or {}
  local made = support.cell {
    scripts = { ["a.lua"] = HEAD .. service, ["main.lua"] = HEAD .. 'stator.task("t", {}, function(cmd)\n' .. caller .. "\nend)",
      ["z.lua"] = options.third and HEAD .. options.third or nil },
    settings = options.settings, entities = options.entities, patience = options.patience,
  }
  made:advance(options.seconds or 5)
  return support.said(made), made
end

describe("a service", function()
  after_each(support.finish)

  it("Q1 answers with its results, copies of plain data", function()
    local said = cell([[
local kept
stator.service("ask", function(t, x, y)
  await(stator.sleep(0.1))
  if kept then return kept.n, t.n end
  kept = t
  t.n = t.n + 1
  return t, x, y, nil
end)]], [[
local mine = { n = 1, list = { 1, "two", true } }
local t, x, y = await(stator.call("ask", mine, nil, "y"))
print(t ~= mine, mine.n, t.n, t.list[2], x, y, stator.now())
t.n = 50
print(await(stator.call("ask", mine)))
print(select("#", await(stator.call("ask", { n = 1 }))))]])
    assert.same({ "true\t1\t2\ttwo\tnil\ty\t0.1", "2\t1", "2" }, said)
  end)

  it("Q1 refuses what is no plain data, both ways", function()
    local said = cell([[
stator.service("ask", function(what) if what == "fn" then return print end return setmetatable({}, {}) end)
]], [[
for i, bad in ipairs { print, stator.entity "world", setmetatable({}, {}), { { print } } } do
  print(i, (select(2, pcall(stator.call, "ask", bad))))
end
for _, what in ipairs { "fn", "meta" } do
  print((select(2, stator.try(function() await(stator.call("ask", what)) end))).message)
end]])
    assert.matches('main.lua:5: call: service "ask": argument 1 is a function: only plain data can go', said[1])
    assert.matches("argument 1 has a metatable", said[2])
    assert.matches("argument 1 has a metatable", said[3])
    assert.matches("argument 1%[1%]%[1%] is a function", said[4])
    assert.matches('service "ask": result 1 is a function', said[5])
    assert.matches('service "ask": result 1 has a metatable', said[6])
  end)

  it("Q2 raises its error, with the traces of both sides; the rival's trace is lost at the border", function()
    local said = cell([[
stator.service("ask", function()
  await(stator.sleep(0.1))
  stator.fail("grip", "no part")
end)]], [[
local function asks() local answer = await(stator.call("ask")) return answer end
local ok, e = stator.try(asks)
print(ok, e.code, e.message, e.task)
print((e.trace:gsub("\n", "|")))]])
    assert.equal("false\tgrip\tno part\ta/ask", said[1])
    assert.matches('a.lua:5: in function.*|in service "ask", called by main/t at main.lua:4|.*main.lua:4: in function', said[2])
  end)

  it("Q2 that fails is told to its caller only, unless nobody handles it", function()
    local _, c = cell([[stator.service("ask", function() error "broken" end)]], [[await(stator.call("ask"))]])
    local faults = support.faults(c)
    assert.equal(1, #faults)
    assert.matches("broken", faults[1])
  end)

  it("Q3 cancels the call with its caller, and waits for its cleanup", function()
    local said, c = cell([[
stator.service("ask", function(x)
  stator.defer(function() await(stator.sleep(0.1)) print "main: cleaned" end)
  await(stator.sleep(10))
end)]], [[
print(select(2, stator.try(stator.within, 0.2, function() await(stator.call("ask")) end)).code, stator.now())
print(await(stator.race { a = stator.call("ask"), b = stator.sleep(0.2) }), stator.now())]])
    assert.same({ "timeout\t0.3", "b\t0.6" }, said)
    local _, cleaned = table.concat(c:logs(), "\n"):gsub("cleaned", "")
    assert.equal(2, cleaned)
  end)

  it("Q3 leaves a call that goes on for 1 s after it was cancelled, which is a fault", function()
    local said, c = cell([[
stator.service("ask", function() stator.shield(function() await(stator.sleep(3)) end) end)]], [[
print(select(2, stator.try(stator.within, 0.2, function() await(stator.call("ask")) end)).code, stator.now())]])
    assert.equal("timeout\t1.2", said[#said])
    assert.matches('service "ask" went on for 1 s after it was cancelled', support.faults(c)[1])
  end)

  it("Q3 takes back what an abandoned call holds", function()
    local said = cell([[
local m = stator.mutex()
stator.service("ask", function() m:with(function() stator.shield(function() await(stator.sleep(3)) end) end) end)
stator.service("owner", function() return (m:owner()) end)]], [[
stator.try(stator.within, 0.2, function() await(stator.call("ask")) end)
print(stator.now(), await(stator.call("owner")))]])
    assert.same({ "1.2\tnil" }, said)
  end)

  it("Q4 runs so many at once, lets so many wait, in order, and refuses the rest", function()
    local said = cell([[
local running, most = 0, 0
stator.service("ask", { at_once = 2, waiting = 2 }, function(i)
  running = running + 1
  most = math.max(most, running)
  stator.defer(function() running = running - 1 end)
  await(stator.sleep(0.1))
  return i, most
end)]], [[
stator.scope(function()
  for i = 1, 5 do
    stator.spawn(function()
      local ok, n, most = stator.try(function() return await(stator.call("ask", i)) end)
      print(i, ok and n or n.code, ok and most or n.message, stator.now())
    end)
  end
end)]])
    assert.same({
      '5\tbusy\tservice "ask": 2 calls run and 2 wait\t0', "1\t1\t2\t0.1", "2\t2\t2\t0.1", "3\t3\t2\t0.2", "4\t4\t2\t0.2",
    }, said)
  end)

  it("Q4 takes a call that still waits out of the line", function()
    local said = cell([[
stator.service("ask", { at_once = 1 }, function(i) print("main runs", i) await(stator.sleep(0.1)) return i end)]], [[
stator.start(stator.call("ask", 1))
await(stator.sleep(0))
stator.try(stator.within, 0.05, function() await(stator.call("ask", 2)) end)
print(await(stator.call("ask", 3)), stator.now())]])
    assert.same({ "3\t0.2" }, said)
  end)

  it("Q5 names the nearest one when there is none of that name", function()
    local said = cell([[stator.service("grip", function() end)]], [[print((select(2, pcall(stator.call, "grib"))))]])
    assert.same({ 'main.lua:4: call: there is no service "grib", did you mean "grip"?' }, said)
  end)

  it("Q5 declared twice names both places, in whatever script", function()
    local out = support.shell(("cd %s && cat > a.lua <<'X'\n%s\nX\ncat > b.lua <<'X'\n%s\nX\n"
      .. "echo '{ \"scripts\": [\"a.lua\", \"b.lua\"] }' > scene.json && %s check scene.json 2>&1"):format(
      support.folder(), HEAD .. 'stator.service("x", function() end)', HEAD .. '\nstator.service("x", function() end)',
      support.binary))
    assert.matches('b.lua:4: service "x": the name is taken at a.lua:3', out)
  end)

  it("Q5 is declared in a body, with options that are known", function()
    for _, bad in ipairs {
      'stator.service("", function() end)', 'stator.service("x", {})', 'stator.service("x", { at_onec = 1 }, function() end)',
      'stator.service("x", { at_once = 0 }, function() end)', 'stator.service(3, function() end)',
    } do
      assert.is_false(pcall(support.cell, { main = HEAD .. bad }), bad)
    end
  end)

  it("Q6 answers the cleanup of a cell that stops", function()
    local c = support.cell { main = HEAD .. [[
stator.service("ask", function() await(stator.sleep(0.1)) return 1 end)
stator.task("t", {}, function()
  stator.defer(function()
    local ok, e = stator.try(function() return await(stator.call("ask")) end)
    print(ok, e)
  end)
  await(stator.sleep(100))
end)]] }
    c:advance(0.1)
    c:stop("test")
    c:advance(1)
    assert.same({ "true\t1" }, support.said(c, "^true"))
  end)

  it("Q6 a call that runs when the cell stops ends as cancelled", function()
    local c = support.cell { main = HEAD .. [[
stator.service("ask", function() stator.defer(function() print "cleaned" end) await(stator.sleep(10)) end)
stator.task("t", {}, function()
  stator.shield(function()
    local ok, e = stator.try(function() return await(stator.call("ask")) end)
    print(ok, e.code)
  end)
end)]] }
    c:advance(0.1)
    c:stop("test")
    c:advance(1)
    assert.same({ "cleaned", "false\tcancelled" }, { support.said(c, "cleaned")[1], support.said(c, "false")[1] })
  end)

  it("Q6 whose task was running when its VM was lost is told as faulted", function()
    local c = support.cell {
      main = HEAD .. [[
stator.service("ask", function(x)
  if x == 1 then ("x"):rep(4000):find(("x*"):rep(40) .. "y") end
  return x
end)
stator.service("other", function(x) return x end)
stator.task("t", { restart = { min = 0.1, max = 1 } }, function()
  local first = stator.persist("first", true)
  cmd:persist("first", false)
  await(cmd:commit())
  if first then await(stator.call("ask", 1)) end
  print("again", await(stator.call("other", 2)))
  local ok, e = stator.try(function() return await(stator.call("ask", 2)) end)
  print(ok, e.code, e.message)
end)]], settings = '"limits": { "slice_soft_ms": 2, "slice_ms": 20 }', virtual = false, patience = 1,
    }
    support.wait_for(c, "again")
    c:advance(0.05)
    assert.same({ "again\t2" }, support.said(c, "again"))
    assert.same({ 'false\tfaulted\tservice "ask" does not run: its task was running when a VM was lost' },
      support.said(c, "faulted"))
  end)

  it("is clean after failure, cancel, time-out and despawn at every await", function()
    local SERVICE = [[
stator.service("twice", { at_once = 1 }, function(x)
  stator.defer(function() await(stator.sleep(0.001)) end)
  await(stator.sleep(0.01))
  if x == 3 then error("three", 0) end
  return 2 * x
end)]]
    local CALLER = [[
  local n, at, mode = 0, %d, "%s"
  local function step(op)
    n = n + 1
    if n == at and mode == "fail" then stator.start(op) error("injected", 0) end
    if n == at and mode == "timeout" then return stator.within(0.005, function() return await(op) end) end
    return await(op)
  end
  local ok, p = stator.try(function()
    stator.scope(function()
      if mode == "cancel" then stator.cancel_when(stator.sleep(at * 0.006), "stop") end
      step(stator.call("twice", 1))
      step(stator.all { stator.call("twice", 1), stator.call("twice", 2) })
      step(stator.race { stator.call("twice", 1), stator.sleep(0.005) })
      stator.spawn(function() await(stator.call("twice", 2)) end)
      stator.try(function() step(stator.call("twice", 3)) end)
    end)
  end)
  await(stator.sleep(0.1))
  print(n, ok, p and p.message, await(stator.call("twice", 4)))]]
    assert.same({ "4\ttrue\tnil\t8" }, (cell(SERVICE, CALLER:format(0, "none"))))
    support.finish()
    for _, mode in ipairs { "fail", "timeout", "cancel" } do
      for at = 1, 4 do
        local said = cell(SERVICE, CALLER:format(at, mode))
        assert.matches("\t8$", said[#said], 1, false)
        support.finish()
      end
    end
  end)
end)
