-- The task tree, counts and histograms: what somebody who looks at a running cell sees.
local support = require "support"

--- The tree as lines: depth, name, state, place, what it waits for.
local TREE = [[
local lines = {}
local function walk(rows, depth)
  for _, r in ipairs(rows) do
    lines[#lines + 1] = ("%s%s %s %s [%s]%s%s"):format((" "):rep(depth), r.name, r.state, r.place or "-", r.waits_for or "",
      r.deadline_s and (" deadline %.3g"):format(r.deadline_s) or "", r.owner and " of " .. r.owner or "")
    walk(r.children or {}, depth + 1)
  end
end
walk(require("stator.inspect").tree(), 0)
return table.concat(lines, "\n")]]

local function tree_of(main, seconds, entities)
  local cell = support.cell { main = main, entities = entities }
  cell:advance(seconds or 0.1)
  return cell:eval(TREE), cell
end

describe("the task tree", function()
  after_each(support.finish)

  it("L1 shows the script's line, what a task waits for, its deadline, and its children below it", function()
    local text = tree_of([[
local stator = require "stator"
local await = stator.await
local Safety = stator.component("Safety", { "bool estop", "double level" })
local cell = stator.entity "cell"
stator.task("pick", {}, function(cmd)
  stator.within(12, function()
    stator.spawn(function()
      await(stator.sleep(0.41))
    end)
    await(cell:when(Safety, "estop"))
  end)
end)
stator.task("watch", {}, function()
  await(cell:rising(Safety, { level = 2.5, estop = false }))
end)
stator.task("two", {}, function()
  await(stator.ticks(100))
end)
]], 0.11, '[ { "name": "cell", "components": { "Safety": {} } } ]')
    assert.equal([[
main/pick waiting main.lua:10 [condition Safety.estop of cell] deadline 11.9 of scripts/main
 main/pick waiting main.lua:8 [sleep 0.3 s left] deadline 11.9 of scripts/main
main/watch waiting main.lua:14 [rising Safety.estop = false and Safety.level = 2.5 of cell] of scripts/main
main/two waiting main.lua:17 [89 ticks] of scripts/main]], (text:gsub("%[90 ticks%]", "[89 ticks]")))
  end)

  it("names the members of race, all and any, and the child or the end that is waited for", function()
    local text = tree_of([[
local stator = require "stator"
local await = stator.await
local Tool = stator.component("Tool", { "bool closed" })
local tool = stator.entity "tool"
stator.task("race", {}, function()
  await(stator.race { done = tool:when(Tool, "closed"), late = stator.sleep(0.5) })
end)
stator.task("all", {}, function()
  await(stator.all { stator.sleep(1), function() await(tool:changed(Tool)) end })
end)
stator.task("join", {}, function()
  local f = stator.spawn(function() await(tool:removed(Tool)) end)
  await(f)
end)
stator.task("scope", {}, function()
  stator.scope(function() stator.spawn(function() await(tool:despawned()) end) end)
end)
]], 0.1, '[ { "name": "tool", "components": { "Tool": {} } } ]')
    assert.equal([[
main/race waiting main.lua:6 [race of 2: done: condition Tool.closed of tool, late: sleep 0.4 s left] of scripts/main
main/all waiting main.lua:9 [all of 2: sleep 0.9 s left, child main/all] of scripts/main
 main/all waiting main.lua:9 [changed Tool of tool] of scripts/main
main/join waiting main.lua:13 [child main/join] of scripts/main
 main/join waiting main.lua:12 [removed Tool of tool] of scripts/main
main/scope waiting main.lua:16 [end of child main/scope] of scripts/main
 main/scope waiting main.lua:16 [despawned tool] of scripts/main]], text)
  end)

  it("L1 shows a condition that has to hold as the script wrote it, and for how long it has held", function()
    local text = tree_of([[
local stator = require "stator"
local await = stator.await
local Tool = stator.component("Tool", { "bool closed" })
local tool = stator.entity "tool"
local HOLD = { hold_s = 0.5 }
stator.task("when", {}, function() await(tool:when(Tool, "closed", HOLD)) end)
stator.task("rising", {}, function() await(tool:rising(Tool, "closed", HOLD)) end)
stator.task("opens", {}, function() await(tool:when(Tool, { closed = false }, HOLD)) end)
stator.task("falling", {}, function() await(tool:falling(Tool, { closed = false }, HOLD)) end)
stator.task("both", {}, function() await(stator.race { tool:when(Tool, "closed", HOLD), stator.sleep(9) }) end)
stator.task("turn", {}, function(cmd)
  await(stator.sleep(0.1))
  cmd:set(tool, Tool, { closed = true })
end)
]], 0.3, '[ { "name": "tool", "components": { "Tool": {} } } ]')
    assert.equal([[
main/when waiting main.lua:6 [condition Tool.closed of tool, held for 0.2 of 0.5 s] of scripts/main
main/rising waiting main.lua:7 [rising Tool.closed of tool, held for 0.2 of 0.5 s] of scripts/main
main/opens waiting main.lua:8 [condition Tool.closed = false of tool, held for 0 of 0.5 s] of scripts/main
main/falling waiting main.lua:9 [falling Tool.closed = false of tool, held for 0.2 of 0.5 s] of scripts/main
main/both waiting main.lua:10 [race of 2: condition Tool.closed of tool, held for 0.2 of 0.5 s, sleep 8.7 s left] of scripts/main]],
      text)
  end)

  it("L1 shows the count of a query that is waited for", function()
    local text = tree_of([[
local stator = require "stator"
local Tool = stator.component("Tool", { "bool closed" })
local tools = stator.query { with = { Tool } }
local function task(name, n, options)
  stator.task(name, {}, function() stator.await(tools:when_count(n, options)) end)
end
task("range", { min = 2, max = 5 })
task("open", { min = 2 })
task("number", 3)
task("held", { max = 4 }, { hold_s = 0.5 })
]], 0.2, '[ { "name": "tool", "components": { "Tool": {} } } ]')
    local waits = {}
    for name, what in text:gmatch "main/(%l+) waiting %S+ (%b[])" do waits[name] = what end
    assert.same({ range = "[count of a query in 2..5]", open = "[count of a query in 2..]", number = "[count of a query = 3]",
      held = "[count of a query in 0..4, held for 0.2 of 0.5 s]" }, waits)
  end)

  it("comes in the order of T2, whatever was spawned or woken first", function()
    local body = [[
local stator = require "stator"
for _, n in ipairs { "b", "a" } do
  stator.task(n, {}, function() while true do stator.await(stator.sleep(n == "a" and 0.01 or 0.03)) end end)
end
stator.per_entity("each", { with = { stator.component "Tag" } }, function() stator.await(stator.sleep(9)) end)]]
    local cell = support.cell {
      scene = [[{ "scripts": [ { "file": "z.lua", "as": "main2" }, { "file": "y.lua", "as": "main1" } ],
        "entities": [ { "name": "e2", "components": { "Tag": {} } }, { "name": "e1", "components": { "Tag": {} } } ] }]],
      scripts = { ["z.lua"] = body .. '\nstator.component("Tag", {})', ["y.lua"] = body },
    }
    cell:advance(0.2)
    local names = {}
    for name in cell:eval(TREE):gmatch("(%S+) waiting") do names[#names + 1] = name end
    assert.same({ "main2/b", "main2/a", "main2/each[e2]", "main2/each[e1]", "main1/b", "main1/a", "main1/each[e2]",
      "main1/each[e1]" }, names)
  end)

  it("shows who is being cancelled, and finds the line of what a tail call awaits", function()
    local text = tree_of [[
local stator = require "stator"
local await = stator.await
stator.task("slow", {}, function()
  stator.within(0.05, function()
    stator.defer(function() await(stator.sleep(0.5)) end)
    await(stator.sleep(100))
  end)
end)
stator.task("tail", {}, function() return await(stator.sleep(9)) end)]]
    assert.matches("^main/slow %S+ main.lua:5 %[sleep 0.45 s left%]", text)
    assert.matches("main/tail waiting main.lua:9 %[sleep 8.9 s left%]", text)
  end)

  it("names the channel, lock, inbox, service or socket that is waited for", function()
    local text = tree_of [[
local stator = require "stator"
local await = stator.await
local Part = stator.event("Part", {})
local parts, jobs, full = stator.inbox(Part), stator.channel { cap = 1, name = "jobs" }, stator.channel { cap = 1, name = "full" }
local arm, seats = stator.mutex "arm", stator.semaphore(1, "seats")
stator.service("grip", { at_once = 1 }, function() await(stator.sleep(9)) end)
local function task(name, fn) stator.task(name, {}, function() fn() await(stator.sleep(9)) end) end
task("holds", function() await(arm:lock()) end)
task("arm", function() await(arm:lock()) end)
task("sits", function() await(seats:acquire()) end)
task("seats", function() await(seats:acquire()) end)
task("next", function() await(parts:next()) end)
task("receive", function() await(jobs:receive()) end)
task("datagram", function() await(stator.net.udp {}:receive()) end)
task("send", function() await(full:send(1)) await(full:send(2)) end)
task("call", function() await(stator.call "grip") end)
task("line", function() await(stator.call "grip") end)
task("race", function() await(stator.race { job = jobs:receive(), part = parts:next() }) end)
]]
    local waits = {}
    for name, what in text:gmatch "main/(%l+) waiting %S+ (%b[])" do waits[name] = what end
    assert.same({ holds = "[sleep 8.9 s left]", sits = "[sleep 8.9 s left]", grip = "[sleep 8.9 s left]", arm = '[mutex "arm"]', seats = '[semaphore "seats"]',
      next = "[inbox main/Part]", datagram = "[datagram receive]", receive = '[receive from channel "jobs"]', send = '[send to channel "full"]',
      call = '[service "grip"]', line = '[service "grip", 1 in line]',
      race = '[race of 2: job: receive from channel "jobs", part: inbox main/Part]' }, waits)
  end)

  it("says that a link's request is queued or on its way", function()
    local cell = support.cell {
      virtual = false,
      main = [[
local stator = require "stator"
local plc = stator.link "plc"
stator.task("ask", {}, function()
  while true do
    stator.try(function() stator.await(plc:read_holding(100, 2, { timeout = 60 })) end)
    stator.await(stator.sleep(0.01))
  end
end)]],
      links = '{ "plc": { "driver": "modbus_tcp", "simulate": "sim.lua" } }',
      files = { ["sim.lua"] = 'local stator = require "stator"\nreturn function() stator.await(stator.sleep(1e6)) end' },
    }
    support.wait_for(cell, "link plc: up")
    local text
    cell:eval [[ -- its replies are not looked at any more
      local l = require("stator.link").by_name.plc
      l.session.feed = function(_, bytes) return {}, #bytes end]]
    for _ = 1, 500 do
      cell:advance(0.01)
      text = cell:eval(TREE)
      if text:find("main/ask waiting main.lua:5 [read", 1, true) then break end
    end
    assert.matches("main/ask waiting main.lua:5 %[read_holding.- of link plc, sent %S+ s ago%]", text)
    assert.matches("link plc waiting %S+ %[stream read%]", text)
  end)
end)

describe("counts and histograms", function()
  after_each(support.finish)

  --- "name runs skipped missed late_max [bucket:count ...]" of systems and loops.
  local SYSTEMS = [[
local out = {}
local function late_of(list)
  local parts = {}
  for i, n in ipairs(list) do if n > 0 then parts[#parts + 1] = i .. ":" .. n end end
  return table.concat(parts, " ")
end
local answer = require("stator.control").systems()
for _, s in ipairs(answer.systems) do
  out[#out + 1] = ("%s %d %d %d %.3f [%s]"):format(s.name, s.runs, s.skipped, s.missed, s.late_max_s, late_of(s.late))
end
for _, l in ipairs(answer.loops) do
  out[#out + 1] = ("%s %s %d %d %.3f [%s]"):format(l.name, l.place, l.runs, l.missed, l.late_max_s, late_of(l.late))
end
return table.concat(out, "\n")]]

  it("L4 sensors at 100 Hz, control at 20 Hz and actuators at 50 Hz side by side, each at its rate", function()
    local cell = support.cell [[
local stator = require "stator"
stator.task("sense", {}, function() for _ in stator.every(0.01) do end end)
stator.system("control", { every = 0.05 }, function() end)
stator.async_system("act", { every = 0.02 }, function() stator.await(stator.sleep(0.001)) end)
stator.task("drive", {}, function() for _ in stator.every(0.02) do end end)]]
    cell:advance(10.001)
    assert.equal([[
main/control 201 0 0 0.000 [1:201]
main/act 501 0 0 0.000 [1:501]
main/sense main.lua:2 1000 0 0.000 [1:1000]
main/drive main.lua:5 500 0 0.000 [1:500]
]], (cell:eval(SYSTEMS) .. "\n"):gsub("(sense %S+) 1001 0 0.000 %[1:1001%]", "%1 1000 0 0.000 [1:1000]"):gsub(
      "(drive %S+) 501 0 0.000 %[1:501%]", "%1 500 0 0.000 [1:500]"))
  end)

  it("tells what was late, skipped and missed, by how much", function()
    local cell = support.cell {
      main = [[
local stator = require "stator"
stator.async_system("slow", { every = 0.02 }, function() stator.await(stator.sleep(0.05)) end)
stator.system("between", { every = 0.015 }, function() end)
stator.system("fast", { every = 0.004 }, function() end)
stator.task("loop", {}, function()
  for tick in stator.every(0.01) do
    if tick.n == 3 then stator.await(stator.sleep(0.035)) end
  end
end)]],
      settings = '"tick_hz": 100, "react": "tick"',
    }
    cell:advance(0.1001)
    local text = cell:eval(SYSTEMS)
    -- ticks 1 to 10; due at 0, 20, 40 ...: it runs at 10, 60 and 110 ms at best
    assert.matches("main/slow 2 4 0 0.000 %[1:6%]", text)
    -- due at 0, 15, 30, 45, 60, 75, 90: late by 5 ms every second time
    assert.matches("main/between 7 0 0 0.005 %[1:4 14:3%]", text)
    -- one tick in 10 ms, two or three turns of 4 ms each
    assert.matches("main/fast 10 0 14 0.002 %[1:6 12:4%]", text)
    -- turns at 10, 20, 30; 65 is seen at 70: 40, 50, 60 are gone
    assert.matches("main/loop main.lua:6 7 3 0.000 %[1:7%]", text)
  end)

  it("go on when a loop starts again, and do not grow with tasks", function()
    local cell = support.cell [[
local stator = require "stator"
stator.task("again", {}, function()
  for _ = 1, 600 do
    for tick in stator.every(0.001) do if tick.n == 3 then break end end
  end
end)]]
    cell:advance(3)
    assert.equal("main/again main.lua:4 1800 0 0.000 [1:1800]", (cell:eval(SYSTEMS)))
  end)
end)

describe("a step's budget", function()
  after_each(support.finish)

  local TASKS = [[
local stator = require "stator"
for i = 1, %d do
  stator.task("t" .. i, {}, function() for turn = 1, 3 do print(i) stator.await(stator.next_tick()) end end)
end]]

  --- What ran, by the step in which it did: one line a tick.
  local function by_tick(main, settings, ticks)
    local cell = support.cell { main = main, settings = '"tick_hz": 100, "react": "tick", "limits": ' .. settings }
    local out, seen = {}, 0
    for i = 1, ticks do
      cell:advance(0.01)
      local said = support.said(cell)
      out[i] = table.concat(said, " ", seen + 1)
      seen = #said
    end
    return out, cell
  end

  it("BU1 tells it once a second at the time zero, too", function()
    local cell = support.cell { settings = '"tick_hz": 100, "limits": { "tick_slices": 1 }', main = [[
local stator = require "stator"
for i = 1, 40 do
  stator.task("t" .. i, {}, function() for _ = 1, 5 do stator.await(stator.sleep(0)) end end)
end]] }
    cell:advance(0.1)
    assert.equal(1, select(2, table.concat(cell:logs(), "\n"):gsub("carried over", "")))
  end)

  it("BU1 carries what does not fit over to the next step, the longest waiting first, then T2", function()
    local out, cell = by_tick(TASKS:format(5), '{ "tick_slices": 2 }', 9)
    assert.same({ "1 2", "3 4", "5 1", "2 3", "4 1", "5 2", "3", "4", "5" }, out) -- each ends in a fourth, silent one
    local said = table.concat(cell:logs(), "\n")
    assert.matches("warn  budget: 3 ready tasks are carried over to the next step: the step's budget is spent %(limits.tick_slices; 1 step",
      said)
    assert.equal(1, select(2, said:gsub("carried over", ""))) -- once a second
    local _, _, _, _, _, _, carried = cell:counts()
    assert.is_true(carried >= 3)
    assert.equal(9, (cell:eval 'return require("stator.core.inspect").stats().over_budget'))
  end)

  it("BU1 starves nobody: one that is always ready lets those behind it run", function()
    local out = by_tick([[
local stator = require "stator"
stator.task("greedy", {}, function(cmd) for i = 1, 9 do print("greedy " .. i) stator.await(cmd:commit()) end end)
stator.task("late", {}, function() print "late" end)
stator.task("last", {}, function() print "last" end)]], '{ "tick_slices": 1 }', 4)
    assert.same({ "greedy 1", "late", "last", "greedy 2" }, out)
  end)

  it("BU2 holds no system, writer or observer back, and what was recorded is applied", function()
    local out = by_tick([[
local stator = require "stator"
local N = stator.component("N", { "double v" })
local e = stator.entity "e"
stator.system("read", { read = { N } }, function(_, q) for _, n in q:each() do print("read " .. n.v) end end)
stator.system("write", { write = { N } }, function(_, q) for _, n in q:each() do n.v = n.v + 10 end end)
stator.observer("seen", { changed = N }, function(_, id) print("seen " .. id:get(N).v) end)
for i = 1, 3 do stator.task("t" .. i, {}, function(cmd) cmd:set(e, N, { v = i }) end) end]],
      '{ "tick_slices": 1 }, "entities": [ { "name": "e", "components": { "N": {} } } ]', 3)
    assert.same({ "read 0 seen 11", "read 11 seen 12", "read 12 seen 13" }, out)
  end)

  it("BU3 of time counts on the real clock: a step ends after it, not before one task ran", function()
    local cell = support.cell {
      virtual = false,
      main = [[
local stator = require "stator"
for i = 1, 4 do
  stator.task("t" .. i, {}, function()
    local x = 0
    for k = 1, 3e6 do x = x + k % 7 end
    print(i)
  end)
end]],
      settings = '"tick_hz": 10, "react": "tick", "limits": { "tick_lua_ms": 0.001, "slice_soft_ms": 60000, "slice_ms": 60000 }',
    }
    support.wait_for(cell, "main/t4: 4")
    assert.equal(3, (cell:eval 'return require("stator.core.inspect").stats().over_budget'))
    assert.same({ "1", "2", "3", "4" }, support.said(cell))
  end)

  it("BU3 of time is off under virtual time, and none is set by default", function()
    assert.same({ "1 2 3 4 5" }, (by_tick(TASKS:format(5), '{ "tick_lua_ms": 0.0001 }', 1)))
    assert.same({ "1 2 3 4 5" }, (by_tick(TASKS:format(5), "{}", 1)))
  end)

  it("BU1 keeps a cancellation for a task that was carried", function()
    local _, faults, cell = support.run_task([[
      local done = {}
      stator.scope(function()
        local ok, e = stator.try(function()
          stator.within(0.005, function()
            for i = 1, 5 do stator.spawn(function() stator.defer(function() done[#done + 1] = i end) await(stator.sleep(1)) end) end
          end)
        end)
        print(e.code)
      end)
      print(table.concat(done, " "))
    ]], { settings = '"tick_hz": 100, "limits": { "tick_slices": 2 }' })
    assert.same({}, faults)
    local said = support.said(cell)
    assert.equal("timeout", said[1])
    assert.equal(9, #said[2])
  end)
end)

describe("an answer of the control socket", function()
  after_each(support.finish)

  it("is bounded, and a part is had by its name", function()
    local cell = support.cell [[
local stator = require "stator"
for i = 1, 400 do stator.task(("t%03d"):format(i), {}, function() stator.await(stator.sleep(1e4)) end) end]]
    cell:advance(0.1)
    local ask = [[
local line, name = ...
local text = require("stator.control").answer(line, {}, {})
local _, rows = text:gsub('"name"', "")
return rows, text:match('"count":(%d+)'), text:match('"left_out":(%d+)')]]
    assert.same({ 250, "400", "150" }, { cell:eval(ask, '{"cmd":"tasks"}') })
    assert.same({ 100, "400" }, { cell:eval(ask, '{"cmd":"tasks","arg":"main/t3"}') })
  end)

  it("is JSON whatever the values are: no number is null, no UTF-8 is shown", function()
    local cell = support.cell { main = [[
local stator = require "stator"
local Odd = stator.component("Odd", { "double nan", "double inf[2]", "char text[8]" })
stator.task("t", {}, function(cmd)
  cmd:insert(stator.entity "e", Odd, { nan = 0 / 0, inf = { math.huge, 1.5 }, text = "a\255\n" })
end)]], entities = '[ { "name": "e" } ]' }
    cell:advance(0.1)
    local ask = [[return (require("stator.control").answer('{"cmd":"entities","arg":"e"}', {}, {}))]]
    assert.matches('"values":{"Odd":{"inf":[null,1.5],"nan":null,"text":"a?\\n"}}', cell:eval(ask), 1, true)
  end)

  it("to what is no request is an error with a code, and the client is closed", function()
    local cell = support.cell "local stator = require 'stator'"
    local function ask(line)
      return cell:eval([[local text, follows = require("stator.control").answer(..., {}, {})
        return text:match('"code":"([%w_]+)"'), follows]], line)
    end
    for _, line in ipairs { "", "x", "[]", "3", "null", "{}", '{"cmd":1}', '{"cmd":"tasks","arg":[]}', '{"cmd":"\\u0000"', "\0\255",
      ("["):rep(5000) } do
      assert.same({ "bad_request", "close" }, { ask(line) })
    end
    assert.same({ "unknown", "close" }, { ask '{"cmd":"reboot"}' })
    assert.same({ "not_found" }, { ask '{"cmd":"entities","arg":"nobody"}' })
  end)
end)

describe("the log", function()
  after_each(support.finish)

  it("shows a zero byte, and tells long texts apart that differ only at their end", function()
    local cell = support.cell { main = [[
local stator = require "stator"
stator.task("t", {}, function()
  print("a\0b", "\0")
  stator.log.info("x\0y")
  print(("x"):rep(1500) .. "one")
  print(("x"):rep(1500) .. "two")
end)]] }
    cell:advance(0.05)
    local said = support.said(cell)
    assert.equal("a\\0b\t\\0", said[1])
    assert.equal("x\\0y", said[2])
    assert.matches("one$", said[3])
    assert.matches("two$", said[4])
  end)
end)
