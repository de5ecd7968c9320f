-- A reload and the tasks that run: where they wait, what they are told, and how they start again.
local reloading = require "reloading"
local support = require "support"

local ENTITIES = [=[[ { "name": "box", "components": { "Part": { "x": 3 } } }, { "name": "bin", "components": { "Part": { "x": 4 } } } ]]=]
local PART = 'local Part = stator.component("Part", { "double x" })\n'

local function opened(main, options)
  options = options or {}
  if not options.scripts then options.main = PART .. main end
  options.entities = options.entities or ENTITIES
  return reloading.open(options)
end

--- A task that waits, with a cleanup that tells.
local function task(waits, before, mark)
  return ('%s\nstator.task("t", {}, function()\n  stator.defer(function() print("cleanup %s") end)\n  %s\nend)\n')
    :format(before or "", mark or "one", waits)
end

describe("a reload with tasks", function()
  after_each(support.finish)

  local CHANNEL = 'local ch, m, s = stator.channel { cap = 1 }, stator.mutex(), stator.semaphore(1)\nlocal E = stator.event("E", {})\nlocal inbox = '
    .. 'stator.inbox(E)\n'
  local WAITS = {
    { "time", "await(stator.sleep(1e6))" },
    { "a tick", "while true do await(stator.next_tick()) end" },
    { "a loop's turn", "for _ in stator.every(5) do end" },
    { "a condition", 'await(stator.entity("box"):when(Part, function(p) return p.x > 1e6 end))' },
    { "a condition with hold_s", 'await(stator.entity("box"):when(Part, function(p) return p.x > 0 end, { hold_s = 1e6 }))' },
    { "an inbox", "await(inbox:next())" },
    { "a channel", "await(ch:receive())" },
    { "a full channel", "while true do await(ch:send(1)) end" },
    { "a mutex", "stator.spawn(function() m:with(function() await(stator.sleep(1e6)) end) end) await(stator.sleep(0.01)) m:with(function() end)" },
    { "I/O", 'local c = stator.net.listen { port = 0 } await(c:accept())' },
    { "a datagram", 'local u = stator.net.udp {} await(u:receive())' },
    { "children", "stator.spawn(function() await(stator.sleep(1e6)) end) stator.scope(function() stator.spawn(function() await(stator.sleep(1e6)) end) end)" },
    { "a race", "await(stator.race { a = stator.sleep(1e6), b = inbox:next(), c = ch:receive() })" },
    { "all", "await(stator.all { stator.sleep(1e6), ch:receive() })" },
    { "a block with a deadline", "stator.within(1e6, function() await(stator.sleep(1e6)) end)" },
    { "retries", "stator.retry({ tries = 1e6 }, function() stator.fail('x', 'again') end)" },
    { "a service", 'await(stator.call("ask"))', 'stator.service("ask", function() await(stator.sleep(1e6)) end)' },
  }
  for _, case in ipairs(WAITS) do
    it("RL9: a task that waits for " .. case[1] .. " is cancelled, cleans up, and starts again", function()
      local main = CHANNEL .. task(case[2], case[3])
      local r = opened(main)
      r.cell:advance(0.3)
      r:said()
      local lines = r:change(PART .. CHANNEL .. task(case[2], case[3], "two"))
      assert.matches("cancels main/t at main.lua:%d+, which waits for %S", lines)
      r.cell:advance(0.3)
      local said = r:said()
      assert.equal("main/t: cleanup one", said[1])
      assert.matches("main/t: reload", r:cancelled())
      assert.matches("main/t", r:tasks())
      r:as_fresh(0.3)
      assert.same({}, support.faults(r.cell))
    end)
  end

  it("RL9: an HTTP or TCP connection of the task that goes is closed", function()
    local r = opened(task 'local c = stator.net.listen { port = 0 } await(c:accept())')
    r:change(PART .. task('local c = stator.net.listen { port = 0 } await(c:accept())', nil, "1"))
    r.cell:advance(0.2)
    local _, _, _, handles = r.cell:counts()
    for i = 2, 6 do r:change(PART .. task('local c = stator.net.listen { port = 0 } await(c:accept())', nil, tostring(i))) end
    r.cell:advance(0.2)
    assert.equal(handles, (select(4, r.cell:counts())))
  end)

  it("RL9: cleanup that waits is waited for, and old systems go on until the swap", function()
    local main = PART .. [[
      stator.system("s", { every = 0.1 }, function() print("old", stator.now()) end)
      stator.task("t", {}, function()
        stator.defer(function() await(stator.sleep(2)) print "clean" end, { within = 3 })
        await(stator.sleep(1e6))
      end)]]
    local r = reloading.open { main = main, entities = ENTITIES }
    r:save((main:gsub('"old"', '"new"')))
    r:begin "reload"
    assert.same({ "main/s: old" }, r:says(1))
    assert.equal("draining", r:phase())
    assert.same({ "main/s: old", "main/t: clean", "main/s: new" }, r:says(1.5))
    assert.is_true((r:answer()))
  end)

  it("RL9: cleanup that does not end is given up after its time, and the reload goes on", function()
    local main = task("await(stator.sleep(1e6))"):gsub('print%("cleanup one"%)', "while true do await(stator.sleep(1)) end")
    local r = opened(main)
    r:change(PART .. task("await(stator.sleep(1e6))", nil, "two"))
    r.cell:advance(0.1)
    assert.equal("main/t", r:tasks())
    r:as_fresh()
  end)

  it("RL9: a task that goes on though it is cancelled is given up, and named", function()
    local r = opened(PART .. [[
      stator.task("t", {}, function()
        stator.shield(function() await(stator.sleep(4)) end)
      end)]])
    r:change(PART .. task("await(stator.sleep(1e6))", nil, "two"))
    assert.is_true(#r:lines "main/t went on for" > 0)
    assert.matches("main/t", r:tasks())
  end)

  it("RL9: tasks that had ended start again, in the order of T2, also those of entities", function()
    local function main(mark)
      return PART .. ([[
        stator.task("a", {}, function() print("a MARK") end)
        stator.per_entity("e", { with = { Part } }, function(cmd, me) print("e MARK") await(stator.sleep(1e6)) end)
        stator.task("b", {}, function() print("b MARK") await(stator.sleep(1e6)) end)]]):gsub("MARK", mark)
    end
    local r = opened(main "1")
    local first = r:said()
    assert.equal(4, #first)
    r:change(main "2")
    r.cell:advance(0.1)
    local again = r:said()
    for i, line in ipairs(first) do first[i] = line:gsub("1$", "2") end
    assert.same(first, again)
    r:as_fresh()
  end)

  it("RL9: an entity that goes while its task cleans up gets none, one that comes meanwhile does", function()
    local main = PART .. [[
      stator.per_entity("e", { with = { Part } }, function(cmd, me)
        print("here")
        stator.defer(function() await(stator.sleep(0.5)) end)
        await(stator.sleep(1e6))
      end)]]
    local r = opened(main)
    r:save(main .. "\n-- two")
    r:begin "reload"
    r.cell:advance(0.2)
    assert.equal("draining", r:phase())
    r:eval [[require("stator.task").spawn({ name = "person", order = require("stator.registry").order(3, 9, 9) }, function()
      local command, e = require "stator.command", require "stator.entity"
      command:despawn(e.at "bin")
      command:spawn { require("stator.registry").live.components.Part { x = 9 } }
    end)]]
    r.cell:advance(1)
    assert.is_true((r:answer()))
    local tasks = r:tasks()
    assert.matches("main/e%[box%]", tasks)
    assert.is_nil(tasks:find("bin", 1, true))
    assert.equal(2, select(2, tasks:gsub("main/e", "")))
    assert.is_nil(r.cell:check())
  end)

  local FINISH = PART .. [[
    stator.task("t", { on_reload = "finish"LIMIT }, function()
      print "begin MARK"
      await(stator.sleep(5))
      print "end MARK"
    end)]]
  local function finish(mark, limit) return (FINISH:gsub("MARK", mark):gsub("LIMIT", limit or "")) end

  it("RL10: a task that may finish does, on old code; its successor starts when it has ended", function()
    local r = opened(finish "1")
    r.cell:advance(1)
    r:said()
    assert.matches("lets finish main/t at main.lua:%d+, which waits for .*, for 30 s at most", r:change(finish "2"))
    r.cell:advance(2)
    assert.same({}, r:said())
    -- one more reload does not add a third: the newest starts
    assert.matches("cancels main/t", r:change(finish "3"))
    r.cell:advance(0.5)
    assert.same({ "main/t: begin 3" }, r:said())
    r.cell:advance(6)
    assert.same({ "main/t: end 3" }, r:said())
  end)

  it("RL10: a cell that ends meanwhile ends it, and starts nothing", function()
    local r = opened(finish "1")
    r:change(finish "2")
    r.cell:stop "spec"
    r.cell:advance(1)
    assert.equal(0, (r.cell:counts()))
  end)

  it("RL10: it is cancelled when its time is over", function()
    local r = opened(finish("1", ", finish_s = 2"))
    r:change(finish("2", ", finish_s = 2"))
    r:said()
    r.cell:advance(2.5)
    assert.same({ "main/t: begin 2" }, r:said())
  end)

  it("RL10: it ends well: its successor starts at once; nothing does when it is not declared any more", function()
    local r = opened(finish "1")
    r:change(finish "2")
    r:said()
    r.cell:advance(5.2)
    assert.same({ "main/t: end 1", "main/t: begin 2" }, r:said())
    r:change(PART)
    r.cell:advance(10)
    assert.same({ "main/t: end 2" }, r:said())
    assert.equal("", r:tasks())
  end)

  it("RL10: tasks of entities and async systems may finish as well", function()
    local function main(mark)
      return PART .. ([[
        stator.per_entity("e", { with = { Part }, on_reload = "finish" }, function() await(stator.sleep(1)) print "e MARK" end)
        stator.async_system("a", { every = 0.5, on_reload = "finish" }, function() await(stator.sleep(2)) print "a MARK" end)]]):gsub("MARK", mark)
    end
    local r = opened(main "1")
    r.cell:advance(0.6)
    local lines = r:change(main "2")
    assert.matches("lets finish main/e", lines)
    assert.matches("lets finish main/a", lines)
    r.cell:advance(6)
    local text = table.concat(r:said(), "\n")
    assert.equal(2, select(2, text:gsub("e 1", "")), text)
    assert.equal(2, select(2, text:gsub("e 2", "")), text)
    assert.equal(1, select(2, text:gsub("a 1", "")), text)
    assert.matches("a 1.*a 2", text)
    r:as_fresh(6.6)
  end)

  it("RL11: calls wait in line while the service is replaced, and are answered by the new one", function()
    local service = 'stator.service("ask", function() stator.defer(function() await(stator.sleep(0.5)) end) await(stator.sleep(1)) return MARK end)\n'
    local r = reloading.open { scripts = {
      ["a.lua"] = (service:gsub("MARK", "1")),
      ["b.lua"] = 'stator.task("t", {}, function() for _ in stator.every(0.1) do local ok, e = stator.try(function() return await(stator.call "ask") '
        .. 'end) print(ok, type(e) == "table" and e.code or e) end end)\n',
    } }
    r.cell:advance(0.5)
    local caller = r:tasks(true):match "b/t %d+"
    r:said()
    r:change((service:gsub("MARK", "2")), "a.lua")
    r.cell:advance(4)
    local said = table.concat(r:said(), "\n")
    assert.matches("b/t: false\tcancelled", said)
    assert.matches("b/t: true\t2", said)
    assert.equal(caller, r:tasks(true):match "b/t %d+")
  end)

  it("RL11: a service that is not declared any more: calls fail, and say so", function()
    local r = reloading.open { scripts = {
      ["a.lua"] = 'stator.service("ask", { at_once = 1 }, function() stator.defer(function() await(stator.sleep(0.5)) end) await(stator.sleep(1e6)) end)\n',
      ["b.lua"] = [[for i = 1, 3 do
        stator.task("t" .. i, {}, function() local _, e = stator.try(function() await(stator.call "ask") end) print(e.code, e.message) end)
      end]],
    } }
    r:change("-- none\n", "a.lua")
    r.cell:advance(1)
    local said = r:said()
    table.sort(said)
    assert.matches("b/t1: cancelled\treload", said[1])
    for i = 2, 3 do assert.equal(('b/t%d: closed\tservice "ask" is not declared any more'):format(i), said[i]) end
  end)

  it("RL11: an inbox keeps what waits in it, with the bounds that it is declared with now", function()
    local function hear(cap, mark)
      return ('local E = stator.event "E"\nlocal inbox = stator.inbox(E, { cap = %d })\nstator.task("h", {}, function() await(stator.sleep(%s)) for '
        .. 'ev in inbox:each() do print(ev.n) end end)\n'):format(cap, mark)
    end
    local r = reloading.open { scripts = {
      ["a.lua"] = 'local E = stator.event("E", { "int32_t n" })\nstator.task("t", {}, function(cmd) for i = 1, 5 do cmd:send(E, { n = i }) end end)\n',
      ["b.lua"] = hear(8, 1e6),
    } }
    r:change(hear(3, 0.1), "b.lua")
    r.cell:advance(0.2)
    assert.same({ "b/h: 1", "b/h: 2", "b/h: 3", "b/h: 4", "b/h: 5" }, r:said())
    r:change("-- none\n", "b.lua")
    r:as_fresh()
  end)

  it("RL11: an inbox that a task makes may have other bounds in the next revision", function()
    local function hear(options)
      return 'local E = stator.event("E", { "int32_t n" })\nstator.task("h", {}, function(cmd) local inbox = stator.inbox(E, { '
        .. options .. ' }) print(inbox:stats().cap) cmd:send(E, { n = 1 }) await(stator.sleep(1e6)) end)\n'
    end
    local r = reloading.open { main = hear "cap = 8" }
    r:change(hear "cap = 9")
    r.cell:advance(0.1)
    r:change(hear "cap = 7, full = 'reject'")
    r.cell:advance(0.1)
    assert.same({ "main/h: 8", "main/h: 9", "main/h: 7" }, r:said())
    assert.same({}, support.faults(r.cell))
  end)

  it("RL12: no_reload holds the reload of its script, until its block ends; the plan says for whom", function()
    local main = PART .. 'stator.task("t", {}, function() stator.scope(function() stator.no_reload "a motion" await(stator.sleep(5)) end) print '
      .. '"free" await(stator.sleep(1e6)) end)\n'
    local r = opened(main)
    r:save(main .. "-- two\n")
    r:begin "reload"
    r.cell:advance(1)
    assert.equal("waiting", r:phase())
    assert.equal(1, #r:lines "waits for main/t: a motion")
    assert.equal(1, r:revision())
    r.cell:advance(4)
    assert.is_true((r:answer()))
    assert.same({ "main/t: free" }, r:said())
    -- another script's is not held
    local two = reloading.open { scripts = { ["a.lua"] = main, ["b.lua"] = "-- b\n" }, entities = ENTITIES }
    two:change("-- c\n", "b.lua")
    assert.equal(2, two:revision())
  end)

  it("RL12: force goes over it, also later; a task that is cancelled holds nothing", function()
    local main = PART .. 'stator.task("t", {}, function() stator.no_reload "a motion" await(stator.sleep(1e6)) end)\n'
    local r = opened(main)
    r:save(main .. "-- two\n")
    assert.is_true((r:ask("reload", { force = true })))
    r:save(main .. "-- three\n")
    r:begin "reload"
    r.cell:advance(1)
    assert.equal("waiting", r:phase())
    assert.is_true((r:ask("reload", { force = true })))
    assert.equal(3, r:revision())
    assert.equal(1, r:eval "return #require('stator.reload').guards")
  end)

  it("RL12: what is saved while a reload waits goes with it", function()
    local main = PART .. 'stator.task("t", {}, function() print "MARK" stator.scope(function() stator.no_reload "a motion" await(stator.sleep(5)) '
      .. 'end) await(stator.sleep(1e6)) end)\n'
    local r = opened((main:gsub("MARK", "one")))
    r:save((main:gsub("MARK", "two")))
    r:begin "reload"
    r.cell:advance(1)
    r:save((main:gsub("MARK", "three")))
    r:begin "reload"
    r.cell:advance(1)
    assert.equal("waiting", r:phase())
    r.cell:advance(4)
    assert.is_true((r:answer()))
    assert.same({ "main/t: one", "main/t: three" }, r:said())
    assert.equal(2, r:revision())
    assert.equal("idle", r:phase())
  end)

  it("RL12: accept and revert do not wait for it", function()
    local main = PART .. 'stator.task("t", {}, function() print "MARK" stator.no_reload "a motion" await(stator.sleep(1e6)) end)\n'
    local r = opened((main:gsub("MARK", "one")), { reload = '"probation_s": 1000' })
    r:save((main:gsub("MARK", "two")))
    r:ask("reload", { force = true })
    r:save((main:gsub("MARK", "three")))
    r:begin "reload"
    r.cell:advance(1)
    assert.equal("waiting", r:phase())
    assert.is_true((r:ask "accept"))
    assert.equal("waiting", r:phase())
    assert.is_true((r:ask("reload", { force = true })))
    assert.equal(3, r:revision())
  end)

  it("RL9: a writer that runs each tick is replaced between two, and no value is lost", function()
    local function main(step)
      return PART .. ([[stator.system("w", { write = { Part } }, function(_, q)
        for _, row in q:each() do row.x = row.x + %s end
      end)]]):format(step)
    end
    local r = opened(main "1")
    r.cell:advance(1)
    local before = r:value("box", "Part", "x")
    assert.is_true(before > 50)
    r:change(main "1000")
    local value = r:value("box", "Part", "x")
    r.cell:advance(0.1)
    assert.equal(value + 10000, r:value("box", "Part", "x"))
    r:as_fresh()
  end)
end)
