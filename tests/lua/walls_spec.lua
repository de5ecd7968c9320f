-- The walls and the watchdog, from Lua: stray writes, views kept across awaits, writers' rows, scripts
-- that do not come back, heaps that fill up. What scripts cannot express gets ffi by way of eval.
local support = require "support"

local FAST = '"limits": { "slice_soft_ms": 1, "slice_ms": 4, "lost_vms": 3, "heap_mb": 32 }'
local PATIENCE = os.getenv "STATOR_PRESET" == "asan" and 10 or 2
-- a C function in which only the VM can be given up
local HANG = 'string.find(("a"):rep(60), ("a-"):rep(40) .. "b")\n'
local BEFORE = [[
local stator = require "stator"
local await, cmd = stator.await, stator.cmd
local Pose = stator.component("Pose", { "double x", "double y", "float joint[3]", "char label[8]", "entity other" })
local N = stator.component("N", { "double n", "bool go" })
local e, d = stator.entity "e", stator.entity "d"
]]
local ENTITIES = [=[ [ { "name": "e", "components": { "Pose": { "x": 1, "label": "abc" }, "N": {} } },
  { "name": "d", "components": { "Pose": { "x": 2 }, "N": {} } } ] ]=]

local function cell_of(main, options)
  options = options or {}
  return support.cell {
    main = BEFORE .. main, entities = ENTITIES, settings = options.settings or FAST,
    patience = options.patience or PATIENCE, walls = options.walls, virtual = options.virtual,
  }
end

--- Runs a task's body; answers what it printed, its faults, the cell.
local function run(body, options)
  local cell = cell_of((options and options.before or "") .. ('stator.task("t", {}, function(cmd)\n%s\nend)'):format(body), options)
  cell:advance(options and options.seconds or 1)
  return support.said(cell), support.faults(cell), cell
end

--- Runs code with the runtime's rights in a task of its own; answers the error's message and code.
local function attack(cell, code)
  cell:eval(([[
    local task, registry, ffi = require "stator.task", require "stator.registry", require "ffi"
    local Pose, Entity = registry.live.components.Pose, require("stator.entity").Entity
    local id = require("stator.abi").C.ecs_lookup(require("stator.abi").world, "e")
    package.loaded.attack = {}
    task.spawn({ name = "attack", order = registry.order(2, 1, 999), quiet = true }, function()
      local ok, e = xpcall(function() %s end, require("stator.err").handler)
      package.loaded.attack = { ok = ok, message = ok and "" or e.message, code = ok and "" or e.code }
    end)]]):format(code))
  cell:advance(0.05)
  return cell:eval "local a = package.loaded.attack or { code = 'lost' } return a.message, a.code"
end

local names = { "faults", "warned", "stopped", "abandoned", "refused", "lost", "moves", "walls" }
local function guard(cell)
  local out = {}
  for i, value in ipairs { cell:guard() } do out[names[i]] = value end
  return out
end

--- What scripts printed: no faults, no notes of the host.
local function printed(cell)
  local out = {}
  for _, line in ipairs(cell:logs()) do
    local text = line:match("^%S+ info  main[^:]*: (.*)$")
    if text then out[#out + 1] = text end
  end
  return out
end

local function logged(cell, pattern)
  local found = {}
  for _, line in ipairs(cell:logs()) do
    if line:find(pattern) then found[#found + 1] = line end
  end
  return found
end

describe("O10: a view kept across an await", function()
  after_each(support.finish)

  for what, take in pairs {
    ["from get"] = "e:get(Pose)",
    ["a row of each"] = "(function() for _, row in q:each() do return row end end)()",
    ["a row of a box"] = "(function() for first, _, box in q:chunks() do return box[first] end end)()",
    ["from first"] = "select(2, q:first())",
  } do
    it(what .. " raises at the line that uses it, once something was written", function()
      local said, faults, cell = run(([[
        local kept = %s
        cmd:set(d, Pose, { x = 5 })
        await(cmd:commit())
        print(pcall(function() return kept.x end))
        await(stator.sleep(0.01))
        print(e:get(Pose).x, d:get(Pose).x)
      ]]):format(take), { before = "local q = stator.query { read = { Pose } }\n" })
      assert.matches("^false\tmain.lua:11: stale view: it was taken before an await", said[1])
      assert.same({ "1\t5" }, { said[2] })
      assert.same({}, faults)
      assert.is_true(guard(cell).moves > 0)
      assert.equal(1, guard(cell).faults)
    end)
  end

  it("is a fault with its line when the script does not catch it", function()
    local _, faults = run [[
      local kept = e:get(Pose)
      cmd:set(d, Pose, { x = 5 })
      await(stator.sleep(0.01))
      cmd:set(e, Pose, { x = kept.x })
    ]]
    assert.same({ "stale view: it was taken before an await; take it again [scripts/main] (main.lua:10)" }, faults)
  end)

  it("as a box or a loop raises by its epoch, whether anything was written or not", function()
    local said = run([[
      local kept
      for _, _, box in q:chunks() do kept = box end
      await(stator.sleep(0.01))
      print(pcall(function() return kept[0] end))
      print(pcall(function() for _ in q:each() do await(stator.sleep(0.01)) end end))
      print(pcall(function() for _ in q:chunks() do await(stator.sleep(0.01)) end end))
    ]], { before = "local q = stator.query { read = { Pose } }\n" })
    assert.matches("^false\t.*Pose: this view was taken before an await", said[1])
    assert.matches("^false\t.*this loop over a query went on after an await", said[2])
    assert.matches("^false\t.*this loop over a query went on after an await", said[3])
  end)

  it("stale compiled loops raise too", function()
    local said = run [[
      local function sum(view) local s = 0 for _ = 1, 1000 do s = s + view.x end return s end
      for _ = 1, 20 do sum(e:get(Pose)) end
      local kept = e:get(Pose)
      cmd:set(d, Pose, { x = 5 })
      await(stator.sleep(0.01))
      print(pcall(sum, kept))
      print(sum(e:get(Pose)))
    ]]
    assert.matches("^false\tmain.lua:%d+: stale view", said[1])
    assert.equal("1000", said[2])
  end)

  it("is not caught where maps cannot move, but boxes and loops are, and writes", function()
    local said, _, cell = run([[
      local kept = e:get(Pose)
      cmd:set(d, Pose, { x = 5 })
      await(stator.sleep(0.01))
      print(kept.x)
    ]], { walls = 1 })
    assert.same({ "1" }, said)
    assert.equal(0, guard(cell).moves)
    assert.matches("write through a read%-only view",
      (attack(cell, "ffi.cast('double *', ffi.cast('const void *', Entity.get(id, Pose)))[0] = 9")))
    assert.equal(1, cell:eval "return require('stator.entity').entity('e'):get(require('stator.registry').live.components.Pose).x")
  end)
end)

local STRAY = {
  ["an interpreted write"] = "p[0] = 9",
  ["a compiled write"] = "local function w(q, n) for i = 0, n do q[i % 3] = i end end for _ = 1, 60 do w(scratch, 99) end w(p, 99)",
  ["a copy by libc"] = "ffi.copy(p, scratch, 64)",
  ["a fill by libc of many pages"] = "ffi.fill(p, 900000)",
  ["a write under 50 pcalls"] = [[local function f(n) if n == 0 then p[0] = 9 return end
    local ok, e = pcall(f, n - 1) if not ok then error(e, 0) end end f(50)]],
  ["a write in a coroutine"] = [[local ok, e = coroutine.resume(coroutine.create(function() p[0] = 9 end)) if not ok then error(e, 0) end]],
  ["a write in table.sort"] = "table.sort({ 3, 1, 2 }, function(a, b) p[0] = 9 return a < b end)",
  ["a write in gsub"] = "local text = 'abc' text:gsub('.', function() p[0] = 9 end)",
  ["a write in a finalizer"] = [[local x = newproxy(true) getmetatable(x).__gc = function() p[0] = 9 end x = nil collectgarbage()]],
}

describe("W1: a stray write", function()
  after_each(support.finish)

  for _, walls in ipairs { 0, 2 } do
    for what, code in pairs(STRAY) do
      it(("(walls %d) as %s is an error at its line; the world stays as it was"):format(walls, what), function()
        local cell = cell_of("", { walls = walls })
        cell:advance(0.02)
        local before = cell:hash()
        for round = 1, 3 do
          local message, code_of = attack(cell, [[
            local scratch = ffi.new("double[?]", 200)
            local p = ffi.cast("double *", ffi.cast("const void *", Entity.get(id, Pose)))
          ]] .. code)
          assert.equal("read_only", code_of, what .. " " .. round .. ": " .. tostring(message))
          assert.matches("eval:%d+: write through a read%-only view", message)
          assert.equal(1, cell:eval "local r = require 'stator.registry' return require('stator.entity').entity('e'):get(r.live.components.Pose).x")
        end
        assert.equal(before, cell:hash())
        assert.is_nil(cell:check())
        assert.equal(0, guard(cell).lost)
      end)
    end
  end

  it("W2: costs the script its open batch, even when it caught the error, and says so", function()
    local cell = cell_of ""
    cell:advance(0.02)
    attack(cell, [[
      local cmd = require "stator.command"
      cmd:set(id, Pose, { y = 7 })
      pcall(function() ffi.cast("double *", ffi.cast("const void *", Entity.get(id, Pose)))[0] = 9 end)
      cmd:set(id, Pose, { y = 8 })
      task.await(cmd:commit())
      cmd:set(id, Pose, { x = 3 })]])
    assert.same({ 3, 0 }, { cell:eval [[
      local v = require('stator.entity').entity('e'):get(require('stator.registry').live.components.Pose) return v.x, v.y]] })
    assert.equal(1, #logged(cell, "caught the error of its stray access: what it had recorded"))
  end)

  it("W2: leaves cleanup its commands", function()
    local cell = cell_of [[
stator.task("t", {}, function(cmd)
  stator.on_failure(function() cmd:set(e, N, { n = 77 }) end)
  local kept = e:get(Pose)
  cmd:set(d, N, { n = 1 })
  await(cmd:commit())
  cmd:set(e, N, { n = 5 })
  print(kept.x)
end)]]
    cell:advance(0.1)
    assert.same({ 77, 1 }, { cell:eval [[local r, E = require 'stator.registry', require('stator.entity').entity
      return E('e'):get(r.live.components.N).n, E('d'):get(r.live.components.N).n]] })
  end)

  it("by a writer outside of its columns is one too, and what it wrote by right stays", function()
    local cell = cell_of [[
stator.system("w", { write = { N } }, function(cmd, q)
  for first, last, box in q:chunks() do
    for i = first, last do local n = box[i] n.n = n.n + 1 end
  end
  rawget(_G, "attack")()
end)]]
    cell:eval [[
      local registry, ffi = require "stator.registry", require "ffi"
      local Entity = require("stator.entity").entity
      rawset(getfenv(registry.live.systems[1].fn), "attack", function()
        ffi.cast("double *", ffi.cast("const void *", Entity("e"):get(registry.live.components.Pose)))[0] = 9
      end)]]
    cell:advance(0.05)
    assert.matches("write through a read%-only view", support.faults(cell)[1])
    assert.same({ 1, 1 }, { cell:eval [[local r, E = require 'stator.registry', require('stator.entity').entity
      return E('e'):get(r.live.components.N).n, E('e'):get(r.live.components.Pose).x]] })
  end)
end)

describe("W3: a writer's row", function()
  after_each(support.finish)

  for _, walls in ipairs { 0, 1 } do
    it(("(walls %d) is no good after its system: not in a task, not in the next tick"):format(walls), function()
      local cell = cell_of([[
local kept
stator.system("w", { write = { N } }, function(cmd, q)
  if kept then kept.n = 99 end
  for _, n in q:each() do kept = n n.n = n.n + 1 end
end)
stator.task("t", {}, function(cmd)
  await(stator.ticks(2))
  print(pcall(function() kept.n = 5 end))
  print(pcall(function() return kept.n end))
end)]], { walls = walls })
      cell:advance(0.05)
      local said = support.said(cell)
      assert.matches("^false\tmain.lua:%d+: a writer's row was used after its system had ended", said[1])
      assert.matches("^false\tmain.lua:%d+: a writer's row was used after its system had ended", said[2])
      local n = cell:eval "return require('stator.entity').entity('e'):get(require('stator.registry').live.components.N).n"
      if walls == 0 then
        assert.matches("a writer's row was used", support.faults(cell)[1])
        assert.equal(1, n)
      end
      assert.is_true(n < 99)
    end)
  end
end)

describe("W4: an index", function()
  after_each(support.finish)

  it("outside of rows, arrays and texts is an error, read and written, in tasks and in writers", function()
    local said = run([[
      await(stator.ticks(2))
      local view = e:get(Pose)
      for _, i in ipairs { 0, -1, 4, 1e9, -1e9, 0/0, 1/0 } do
        print(i, pcall(function() return view.joint[i] end))
      end
      for _, _, box in q:chunks() do
        for _, i in ipairs { -1, 1e9, -1e9, 0/0, 1/0, 2^31, 2^32, "x" } do print(i, pcall(function() return box[i].x end)) end
      end
      print("text", pcall(function() return view.label[1000].x end))
    ]], { before = [[
local q = stator.query { read = { Pose } }
stator.system("w", { write = { Pose } }, function(cmd, q, tick)
  if tick.n > 1 then return end
  for _, _, box in q:chunks() do
    local p = box[0]
    for _, i in ipairs { 0, -1, 4, 1e9, 0/0 } do
      print(i, pcall(function() p.joint[i] = 1 end))
      print(i, pcall(function() return p.joint[i] end))
    end
    for _, i in ipairs { -1, 1e9, 0/0, 2^31 } do print(i, pcall(function() box[i].x = 1 end)) end
    print("row", pcall(function() box[0] = 1 end))
    print("text", pcall(function() p.label = "longer than eight" end))
    print("text", pcall(function() p.label = 5 end))
    print("number", pcall(function() p.x = "five" end))
    p.label = "eight888"
    p.joint[3] = 3
  end
end)
]] })
    assert.is_true(#said > 30)
    for _, line in ipairs(said) do assert.matches("^[^\t]+\tfalse\t", line) end
  end)
end)

describe("W5: a slice that is long", function()
  after_each(support.finish)

  for what, loop in pairs {
    ["a compiled loop"] = "local n = 0 while true do n = n + 1 end",
    ["a loop that allocates"] = "while true do local _ = { {} } end",
    ["a loop of commands"] = "while true do cmd:set(e, N, { n = 1 }) end",
    ["a loop over a query"] = "while true do for _ in q:each() do end end",
    ["a for loop"] = "local n = 0 for i = 1, 1e15 do n = n + i end",
    ["a repeat loop"] = "local n = 0 repeat n = n + 1 until n < 0",
    ["a coroutine"] = "coroutine.wrap(function() while true do end end)()",
    ["a loop under pcall"] = "while true do pcall(function() while true do end end) end",
    ["a loop under xpcall"] = "while true do xpcall(function() while true do end end, print) end",
    ["a loop under try"] = "while true do stator.try(function() while true do end end) end",
    ["a comparator"] = "table.sort({ 3, 2, 1, 5 }, function() while true do end end)",
    ["a replacement"] = "local text = 'aaa' text:gsub('a', function() while true do end end)",
    ["a loop that loads code"] = "while true do load('return 1')() end",
    ["a loop as over rows"] = "local first, last, n = 1, 1e15, 0 for i = first, last do n = n + i end",
    ["a loop over many chunks"] =
      [[local function chunks() return 1, 1e5 end local n = 0 for first, last in chunks do for i = first, last do n = n + i end end]],
  } do
    it("as " .. what .. " is stopped with its line; the rest of the cell goes on", function()
      local cell = cell_of(([[
local q = stator.query { read = { Pose } }
stator.task("t", {}, function(cmd)
  stator.on_failure(function() cmd:set(e, N, { n = 3 }) end)
  cmd:set(d, N, { n = 3 })
  %s
end)
stator.task("good", {}, function() for _ in stator.every(0.1) do cmd:add(e, Pose, { x = 1 }) end end)]]):format(loop))
      cell:advance(1)
      local faults = support.faults(cell)
      assert.equal(1, #faults, table.concat(cell:logs(), "\n"))
      assert.matches("^stopped: it ran for %d+ ms without waiting %(limit: limits.slice_ms%) %[scripts/main%] %(main.lua:10%)", faults[1])
      assert.same({ 3, 0, 12 }, { cell:eval [[local r, E = require 'stator.registry', require('stator.entity').entity
        return E('e'):get(r.live.components.N).n, E('d'):get(r.live.components.N).n, E('e'):get(r.live.components.Pose).x]] })
      assert.equal(1, guard(cell).stopped)
      assert.equal(0, guard(cell).lost)
      assert.equal(1, #logged(cell, "warn  watchdog: main/t has run for more than %d+ ms without waiting; at %d+ ms it is stopped"))
    end)
  end

  for what, loop in pairs {
    ["a tail call"] = "local function f(n) return f(n + 1) end f(1)",
    ["a goto"] = "local n = 0 ::top:: n = n + 1 goto top",
    ["a pattern"] = HANG,
  } do
    it("W6: without a loop, as by " .. what .. ", costs the VM", function()
      local cell = cell_of(('stator.task("t", {}, function(cmd) %s end)'):format(loop))
      cell:advance(1)
      assert.same({ "it did not come back; its VM was given up" }, { support.faults(cell)[1]:match("^[^,%[]*[^,%[ ]") })
      assert.equal(1, guard(cell).lost)
    end)
  end

  for what, cleanup in pairs {
    ["a loop in its cleanup"] = "stator.defer(function() while true do end end) while true do end",
    ["a loop in the cleanup of an error"] = "stator.defer(function() while true do end end) error('no')",
    ["a loop in a handler"] = "while true do xpcall(error, function() while true do end end, 'x') end",
  } do
    it("is stopped again: " .. what .. " does not cost the VM", function()
      local cell = cell_of(([[
stator.task("t", {}, function(cmd)
  stator.defer(function() cmd:set(e, N, { n = 4 }) end)
  %s
end)
stator.task("good", {}, function() for _ in stator.every(0.1) do cmd:add(e, Pose, { x = 1 }) end end)]]):format(cleanup))
      cell:advance(1)
      assert.same({ 4, 12 }, { cell:eval [[local r, E = require 'stator.registry', require('stator.entity').entity
        return E('e'):get(r.live.components.N).n, E('e'):get(r.live.components.Pose).x]] })
      assert.equal(0, guard(cell).lost)
    end)
  end

  it("is stopped four times in all", function()
    local cell = cell_of [[
stator.task("t", {}, function(cmd)
  for _ = 1, 9 do stator.defer(function() while true do end end) end
  error "no"
end)]]
    cell:advance(1)
    assert.same({ 4, 1 }, { guard(cell).stopped, guard(cell).lost })
  end)

  it("of a system faults it, and no other", function()
    local cell = cell_of [[
stator.system("bad", {}, function() while true do end end)
stator.system("worse", { write = { N } }, function() while true do end end)
stator.system("good", { write = { Pose } }, function(cmd, q) for _, p in q:each() do p.y = p.y + 1 end end)]]
    cell:advance(0.5)
    assert.same({ "main/bad", "main/worse" }, { logged(cell, "fault:")[1]:match("main/bad"), logged(cell, "fault:")[2]:match("main/worse") })
    assert.equal(2, #support.faults(cell))
    assert.is_true(cell:eval "return require('stator.entity').entity('e'):get(require('stator.registry').live.components.Pose).y" > 40)
  end)

  it("by the wall clock, in a call that sleeps, is stopped too", function()
    local cell = cell_of ""
    local message, code = attack(cell, [[
      ffi.cdef "int usleep(unsigned);"
      local function sleep() for _ = 1, 1000 do ffi.C.usleep(5000) end end
      require("jit").off(sleep) -- a compiled loop that no script has made is never asked
      sleep()]])
    assert.equal("stopped", code)
    assert.matches("^eval:%d+: stopped", message)
  end)

  it("that a task awaits can be handled by whoever awaits it", function()
    local said, faults = run [[
      print(stator.try(function() await(stator.all { function() while true do end end }) end))
      print("goes on")
    ]]
    assert.matches("^false\tmain.lua:%d+: stopped: it ran", said[#said - 1])
    assert.equal("goes on", said[#said])
    assert.same({}, faults)
  end)
end)

describe("W7: a VM that is given up", function()
  after_each(support.finish)

  it("is replaced on the same world: what is persisted stays, what had ended stays so", function()
    local cell = cell_of([[
local runs = 0
stator.system("start", { phase = "startup" }, function() print("startup") end)
stator.system("faulty", { every = 0.1 }, function() print("faulty runs") error("no") end)
stator.task("once", {}, function() print("once") end)
stator.task("mine", { restart = "never" }, function() print("mine") await(stator.sleep(100)) end)
stator.task("good", {}, function(cmd)
  runs = runs + 1
  local n = stator.persist("starts", 0)
  cmd:persist("starts", n + 1)
  print("good", runs, n)
  await(stator.sleep(100))
end)
stator.task("bad", {}, function(cmd)
  print("bad")
  cmd:set(e, N, { n = 5 })
  await(stator.sleep(0.2))
  cmd:set(e, N, { n = 6 })
  ]] .. HANG .. [[
end)]])
    cell:advance(1)
    local log = table.concat(cell:logs(), "\n")
    assert.equal(1, guard(cell).lost, log)
    assert.equal(1, guard(cell).abandoned)
    assert.same({ "once", "mine", "good\t1\t0", "bad", "startup", "faulty runs", "good\t1\t1" }, printed(cell))
    assert.equal(5, cell:eval "return require('stator.entity').entity('e'):get(require('stator.registry').live.components.N).n")
    assert.matches("error watchdog: the scripts' VM is given up: it did not come back, last seen at main.lua:23; world and links stay", log)
    assert.matches("error main/bad: fault: it did not come back; its VM was given up, last seen at main.lua:23 %[scripts/main%]", log)
    assert.equal(2, cell:eval "return require('stator.core.task').faults()")
    assert.is_nil(cell:check())
  end)

  it("because of a task with a restart policy starts that again after its pause", function()
    local cell = cell_of([[
stator.task("bad", { restart = { min = 0.3, max = 1 } }, function(cmd)
  local n = stator.persist("n", 0)
  cmd:persist("n", n + 1)
  await(cmd:commit())
  print(n, stator.now() >= 0.3 * n)
  if n < 2 then ]] .. HANG .. [[ end
end)]])
    cell:advance(3)
    assert.same({ "0\ttrue", "1\ttrue", "2\ttrue" }, printed(cell))
    assert.equal(2, guard(cell).lost)
  end)

  for what, bad in pairs {
    ["a system"] = 'stator.system("bad", {}, function() print("bad") %s end)',
    ["a writer"] = 'stator.system("bad", { write = { N } }, function() print("bad") %s end)',
    ["an observer"] = [[stator.observer("bad", { changed = N }, function() print("bad") %s end)
      stator.task("t", {}, function(cmd) cmd:set(e, N, { n = 1 }) await(stator.sleep(0.3)) cmd:set(e, N, { n = 2 }) end)]],
    ["an async system"] = 'stator.async_system("bad", { every = 0.1 }, function() print("bad") %s end)',
  } do
    it("because of " .. what .. " does not run that again", function()
      local cell = cell_of(bad:format(HANG) .. [[

stator.task("good", {}, function() for _ in stator.every(0.1) do cmd:add(e, Pose, { x = 1 }) end end)]])
      cell:advance(2)
      assert.same({ "bad" }, printed(cell), table.concat(cell:logs(), "\n"))
      assert.equal(1, guard(cell).lost)
      assert.matches("main/bad: fault: it did not come back", table.concat(cell:logs(), "\n"))
      assert.is_true(cell:eval "return require('stator.entity').entity('e'):get(require('stator.registry').live.components.Pose).x" > 15)
    end)
  end

  it("because of the task of one entity starts the others' again", function()
    local cell = cell_of([[
stator.per_entity("each", { with = { Pose } }, function(cmd, me)
  print(me:name())
  if me:name() == "d" then ]] .. HANG .. [[ end
  await(stator.sleep(100))
end)]])
    cell:advance(1)
    assert.same({ "e", "d", "e" }, printed(cell))
    assert.matches("fault: it did not come back; its VM was given up, last seen at main.lua:8 %[d%]", table.concat(cell:logs(), "\n"))
  end)

  it("leaves no gap and no leap in the time of the systems", function()
    local cell = cell_of([[
stator.system("integrate", { write = { Pose } }, function(cmd, q, tick) for _, p in q:each() do p.x = p.x + tick.dt_s end end)
stator.system("slow", { every = 1, write = { N } }, function(cmd, q, tick) for _, n in q:each() do n.n = n.n + tick.dt_s end end)
stator.async_system("waits", { every = 0.5 }, function(cmd, q, tick) cmd:add(d, Pose, { y = tick.dt_s }) await(stator.sleep(0.1)) end)
stator.task("bad", { restart = { min = 1.3, max = 1.3 } }, function() await(stator.sleep(1.7)) ]] .. HANG .. [[ end)]],
      { settings = '"limits": { "slice_ms": 4, "lost_vms": 1000 }' })
    cell:advance(20)
    assert.is_true(guard(cell).lost >= 5)
    local x, n, y, now = cell:eval [[local E, r = require("stator.entity").entity, require("stator.registry").live.components
      return E("e"):get(r.Pose).x, E("e"):get(r.N).n, E("d"):get(r.Pose).y, require("stator.core.task").now()]]
    assert.is_true(math.abs(x - (1 + now)) < 0.03, ("%g, %g"):format(x, now))
    assert.is_true(math.abs(n - now) < 1.1, ("%g, %g"):format(n, now))
    assert.is_true(math.abs(y - now) < 0.6, ("%g, %g"):format(y, now))
  end)

  it("twice, by two scripts, starts neither again", function()
    local cell = cell_of([[
stator.task("one", {}, function() print("one") await(stator.sleep(0.2)) ]] .. HANG .. [[ end)
stator.system("two", { every = 0.5 }, function(cmd, q, tick) print("two") if tick.now_s > 0.4 then ]] .. HANG .. [[ end end)
stator.per_entity("three", { with = { N } }, function(cmd, me)
  print("three", me:name())
  if me:name() == "e" then return end
  await(stator.sleep(100))
end)]])
    cell:advance(3)
    assert.equal(2, guard(cell).lost)
    assert.same({ "one", "three\te", "three\td", "two", "three\td", "two", "three\td" }, printed(cell))
  end)

  it("W8: three times in a row leaves the scripts stopped, until the cell is started again", function()
    local cell = cell_of([[
stator.task("bad", { restart = { min = 0.1, max = 0.1 } }, function() print("bad") ]] .. HANG .. [[ end)
stator.system("count", { write = { Pose } }, function(cmd, q) for _, p in q:each() do p.y = p.y + 1 end end)]])
    cell:advance(2)
    assert.same({ "bad", "bad", "bad" }, printed(cell))
    assert.equal(1, #logged(cell, "FAULTED: 3 VMs lost in a row. Links stay up, no script runs"))
    local y = cell:eval "return require('stator.entity').entity('e'):get(require('stator.registry').live.components.Pose).y"
    cell:advance(5)
    assert.equal(y, cell:eval "return require('stator.entity').entity('e'):get(require('stator.registry').live.components.Pose).y")
    assert.equal(3, guard(cell).lost)
  end)

  it("W8: scripts that cannot be loaded again stay stopped, and it is told", function()
    local cell = cell_of([[
if stator.persist("x", 0) == 1 then error("cannot go on") end
stator.task("bad", { restart = { min = 0.1, max = 0.1 } }, function()
  cmd:persist("x", 1)
  await(cmd:commit())
  ]] .. HANG .. [[ end)]])
    cell:advance(2)
    assert.equal(1, #logged(cell, "FAULTED: 1 VM lost in a row, and the scripts cannot be loaded again"), table.concat(cell:logs(), "\n"))
    assert.equal(1, guard(cell).lost)
  end)

  it("W8: simulated devices count, and stay away then too", function()
    local cell = support.cell {
      main = 'local stator = require "stator"\nstator.task("t", {}, function() stator.await(stator.sleep(100)) end)', settings = FAST, patience = PATIENCE,
      links = '{ "plc": { "driver": "modbus_tcp", "simulate": "sim.lua" } }',
      files = { ["sim.lua"] = "return function() print('simulates') " .. HANG .. " end" },
    }
    cell:advance(2)
    assert.equal(1, #logged(cell, "FAULTED: 3 VMs lost in a row"), table.concat(cell:logs(), "\n"))
    assert.equal(3, #logged(cell, "simulates"))
    assert.equal(1, #logged(cell, "link plc: its simulated device is a script, and stays stopped with them"))
    assert.same({}, logged(cell, "nil"))
    assert.equal(3, guard(cell).lost)
  end)

  it("W7: costs no startup system its run", function()
    local cell = cell_of([[
stator.system("s1", { phase = "startup" }, function() print("s1") ]] .. HANG .. [[ end)
stator.system("s2", { phase = "startup" }, function() print("s2") end)]])
    cell:advance(1)
    assert.same({ "s1", "s2" }, printed(cell))
  end)

  it("W7: does not start a task that has ended for an entity, whatever happens to that", function()
    local cell = cell_of([[
stator.observer("o", { changed = N }, function() end)
stator.per_entity("p", { with = { N } }, function(cmd, e) print("p") end)
stator.task("t", {}, function()
  for i = 1, 3 do cmd:set(e, N, { n = i }) await(stator.sleep(0.1)) end
end)]])
    cell:advance(1)
    assert.same({ "p", "p" }, printed(cell))
  end)

  it("W8: now and then does not: only losses close to each other count", function()
    local cell = cell_of([[
stator.task("bad", { restart = { min = 11, max = 11 } }, function() print("bad") ]] .. HANG .. [[ end)]])
    cell:advance(60)
    assert.same({ "bad", "bad", "bad", "bad", "bad", "bad" }, printed(cell))
    assert.same({}, logged(cell, "FAULTED"))
  end)

  it("runs the scripts as they were read, not as their files are now", function()
    local path, folder = support.scene {
      scripts = { ["main.lua"] = BEFORE .. 'local m = require "m"\nstator.task("t", {}, function() print(m.text) await(stator.sleep(100)) end)\n'
        .. 'stator.task("bad", {}, function() await(stator.sleep(0.1)) ' .. HANG .. " end)" },
      files = { ["m.lua"] = 'return { text = "old" }' }, entities = ENTITIES, settings = FAST,
    }
    local cell = support.cell { path = path, patience = PATIENCE }
    support.write(folder .. "/m.lua", "this is no Lua")
    os.remove(folder .. "/main.lua")
    os.remove(path)
    cell:advance(1)
    assert.same({ "old", "old" }, printed(cell))
  end)

  it("while the cell is stopping does not keep it from ending", function()
    local cell = cell_of([[
stator.task("t", {}, function()
  stator.defer(function() ]] .. HANG .. [[ end)
  await(stator.sleep(100))
end)]])
    cell:advance(0.1)
    cell:stop("test")
    cell:advance(1)
    assert.equal(0, (cell:counts()))
    assert.equal(1, guard(cell).lost)
  end)
end)

describe("W9: the scripts' heap", function()
  after_each(support.finish)

  it("at its limit is an error with a code; the others go on", function()
    local cell = cell_of([[
stator.task("bomb", {}, function()
  local list = {}
  for i = 1, 1e7 do list[i] = ("%08d"):format(i):rep(1000) end
end)
stator.task("good", {}, function() for _ in stator.every(0.1) do cmd:add(e, Pose, { x = 1 }) end end)]],
      { settings = '"limits": { "heap_mb": 16, "slice_ms": 10000 }', patience = 1 })
    cell:advance(1)
    assert.matches("^the scripts' heap is at its limit of 16 MB %(limits.heap_mb%) %[scripts/main%] %(main.lua:8%)", support.faults(cell)[1])
    assert.equal(1, #support.faults(cell))
    assert.equal(0, guard(cell).lost)
    assert.equal(12, cell:eval "return require('stator.entity').entity('e'):get(require('stator.registry').live.components.Pose).x")
  end)

  it("is not filled by one long text", function()
    local said = run([[
      for i, make in ipairs { function() return ("x"):rep(2e9) end, function() return string.rep(7, "2e9") end,
          function() return ("x"):rep(2, ("y"):rep(2e9)) end } do
        local ok, problem = pcall(make)
        print(i, ok, problem.code, problem.message)
      end
      print(("x"):rep(3, ","), ("x"):rep(-1), pcall(string.rep, "x"))]], { settings = '"limits": { "heap_mb": 16 }' })
    assert.matches("^1\tfalse\tmemory\tmain.lua:9: string.rep: a text of 1907 MB; limits.heap_mb is 16$", said[1])
    assert.matches("^2\tfalse\tmemory\tmain.lua:9:", said[2])
    assert.matches("^3\tfalse\tmemory\tmain.lua:8:", said[3])
    assert.matches("^x,x,x\t\tfalse\t.*bad argument #2", said[4])
  end)

  for what, call in pairs {
    ["a replacement"] = [[("x"):rep(1e6):gsub("x", ("y"):rep(1e4))]],
    ["a concatenation"] = [[local t, s = {}, ("y"):rep(1e6) for i = 1, 1e4 do t[i] = s end table.concat(t)]],
  } do
    it("goes with its VM when one call makes far more, as " .. what, function()
      local cell = cell_of('stator.task("bomb", {}, function() ' .. call .. " end)",
        { settings = '"limits": { "heap_mb": 16, "slice_ms": 10000 }', patience = 1 })
      cell:advance(1)
      assert.matches("^one call made far more than its heap may hold %(limits.heap_mb%); its VM was given up", support.faults(cell)[1])
      assert.equal(1, guard(cell).lost)
    end)
  end

  it("that stays full is given up with its VM", function()
    local cell = cell_of([[
local list = {}
stator.task("bomb", {}, function()
  for i = 1, 1e7 do list[i] = ("%08d"):format(i):rep(1000) end
end)
stator.task("good", {}, function() for _ in stator.every(0.1) do cmd:add(e, Pose, { x = 1 }) end end)]],
      { settings = '"limits": { "heap_mb": 16, "slice_ms": 10000 }', patience = 1 })
    cell:advance(1)
    assert.equal(1, guard(cell).lost)
    assert.equal(1, #logged(cell, "the scripts' VM is given up: its heap is full %(limits.heap_mb%)"))
    local x = cell:eval "return require('stator.entity').entity('e'):get(require('stator.registry').live.components.Pose).x"
    assert.is_true(x >= 11, tostring(x))
  end)

  it("is collected in time for scripts that make much garbage", function()
    local cell = cell_of([[
stator.system("churn", {}, function() local t = {} for i = 1, 200 do t[i] = ("x"):rep(10000) .. i end end)]],
      { settings = '"limits": { "heap_mb": 16, "slice_ms": 10000 }', patience = 1 })
    cell:advance(3)
    assert.same({}, support.faults(cell))
  end)

  it("has room for as many tasks as the scene allows", function()
    local said = run([[
      local ok, problem
      for i = 1, 40 do
        ok, problem = pcall(stator.spawn, function() await(stator.sleep(0.1)) end)
        if not ok then print(i > 10, problem.code, problem.message) break end
      end]], { settings = '"limits": { "tasks": 32 }' })
    assert.same({ "true\tlimit\tmore than 32 tasks (limits.tasks)" }, said)
  end)

  it("and deep recursion are errors, not ends", function()
    local said = run([[
      local function deep(n) return 1 + deep(n + 1) end
      print(pcall(deep, 1))
      local t = setmetatable({}, {}) getmetatable(t).__index = function(_, k) return t[k .. "x"] end
      print(pcall(function() return t.a end))
      print("end")
    ]], { settings = '"limits": { "slice_ms": 5000 }', patience = 5 })
    assert.matches("false\t.*stack overflow", said[1])
    assert.matches("false\t.*stack overflow", said[2])
    assert.equal("end", said[3])
  end)

  it("and deep recursion has the code stack, wherever it is caught", function()
    local said, faults = run([[
      local function deep(n) return 1 + deep(n + 1) end
      local t = setmetatable({}, {}) getmetatable(t).__index = function(_, k) return t[k + 1] end
      local function sort() table.sort({ 1, 2 }, function(a, b) sort() return a < b end) end
      for i, f in ipairs { deep, function() return t[1] end, sort, function() stator.within(1, deep, 1) end,
        function() await(stator.all { function() deep(1) end }) end,
        function() local ok, e = pcall(deep, 1) error(e, 0) end, function() local _, e = xpcall(deep, deep, 1) error(e, 0) end,
      } do
        local ok, e = stator.try(f, 1)
        print(i, ok, e.code, (e.message:find("stack overflow", 1, true) or e.message:find("error handling", 1, true)) ~= nil)
      end
      for i, text in ipairs { "a stack overflow", "stack overflows", "no stack overflow (not really)" } do
        print("own", i, select(2, stator.try(error, text)).code)
      end
      deep(1)
    ]], { settings = '"limits": { "slice_ms": 5000 }', patience = 5 })
    for i = 1, 7 do assert.equal(i .. "\tfalse\tstack\ttrue", said[i]) end
    for i = 1, 3 do assert.equal(("own\t%d\terror"):format(i), said[7 + i]) end
    assert.matches("stack overflow", faults[1])
  end)

  it("and an error handler that has no room itself leaves an error with its code", function()
    local cell = cell_of ""
    local function code_of(text)
      return cell:eval(('local e = require("stator.err").of(%q) return e.code .. ": " .. e.message'):format(text))
    end
    assert.equal("stack: error in error handling", code_of "error in error handling")
    assert.equal("stack: stack overflow", code_of "stack overflow")
    assert.equal("memory: not enough memory", code_of "not enough memory")
    assert.equal("error: other", code_of "other")
  end)

  for what, code in pairs {
    ["gsub"] = "local function f(s) return (s:gsub('.', f)) end print(pcall(f, 'a'))",
    ["gsub, interpreted"] = [[local function f(s) for _ in pairs { 1 } do return (s:gsub('.', function(c) for _ in pairs { 1 } do f(c) end end)) end end
      print(pcall(f, 'a'))]],
    ["sort"] = "local function f() table.sort({ 1, 2 }, function(a, b) f() return a < b end) end print(pcall(f))",
    ["coroutines"] = "local function f() return coroutine.wrap(f)() end print(pcall(f))",
    ["gsub, swallowing errors"] = [[local function f(s) return (s:gsub(".", function(c) pcall(f, c) end)) end print(pcall(f, "aaa"))]],
  } do
    it("and the C stack: recursion through " .. what .. " ends in an error or a new VM, never the cell", function()
      for _ = 1, 3 do
        local cell = cell_of(([[
stator.task("t", {}, function() %s end)
stator.task("good", {}, function() await(stator.sleep(0.5)) print("good") end)]]):format(code), { settings = '"limits": { "slice_ms": 5000 }' })
        cell:advance(2)
        local said = printed(cell)
        assert.equal("good", said[#said])
        assert.is_true(guard(cell).lost == 1 or said[1]:find("overflow") ~= nil or what:find("swallow") ~= nil, said[1])
        support.finish()
      end
    end)
  end
end)

describe("a persisted value", function()
  after_each(support.finish)

  it("is part of its batch: dropped, rolled back and rejected with it", function()
    local said = run [[
      cmd:persist("a", 1)
      print(stator.persist("a"), stator.persist("a", "default"))
      await(cmd:commit())
      print("applied", stator.persist("a"))
      stator.try(function() cmd:persist("a", 2) error("no") end)
      await(stator.sleep(0.01))
      print("rolled back", stator.persist("a"))
      cmd:persist("a", 3)
      cmd:set(d, Pose, { x = 1 })
      cmd:on_dead_target("strict")
      cmd:set(12345, Pose, { x = 1 })
      print(stator.try(function() await(cmd:commit()) end))
      print("rejected", stator.persist("a"))
      stator.try(function() await(stator.all { function() cmd:persist("a", 4) error("no") end }) end)
      print("failed", stator.persist("a"))
      await(stator.spawn(function() cmd:persist("a", { list = { 1, 2, 0.1 + 0.2 }, text = "x" }) end))
      await(stator.sleep(0.01))
      local copy = stator.persist("a")
      print(copy.list[3] == 0.1 + 0.2, copy.text, stator.persist("a") ~= copy)
      cmd:persist("a", 5)
      stator.try(function() error("no") end)
      await(cmd:commit())
      print("before a block that failed", stator.persist("a"))
    ]]
    assert.equal("nil\tdefault", said[1])
    assert.equal("applied\t1", said[2])
    assert.equal("rolled back\t1", said[3])
    assert.matches("^false", said[4])
    assert.equal("rejected\t1", said[5])
    assert.equal("failed\t1", said[6])
    assert.equal("true\tx\ttrue", said[7])
    assert.equal("before a block that failed\t5", said[8])
  end)

  it("is plain data", function()
    local said = run([[
      for _, value in ipairs { print, { a = { print } }, setmetatable({}, {}), { [{}] = 1 }, e } do
        print(select(2, pcall(cmd.persist, cmd, "x", value)))
      end
      print(select(2, pcall(cmd.persist, cmd, "", 1)))
      print(select(2, pcall(cmd.persist, cmd, "big", ("x"):rep(65 * 2^20))))
    ]], { settings = '"limits": { "slice_soft_ms": 1000, "slice_ms": 2000, "heap_mb": 512 }' })
    assert.matches("main.lua:%d+: persist: x is a function: only plain data can be kept", said[1])
    assert.matches("persist: x%[a%]%[1%] is a function", said[2])
    assert.matches("persist: x has a metatable", said[3])
    assert.matches("persist: x has a table as a key", said[4])
    assert.matches("persist: x has a metatable", said[5])
    assert.matches("persist: expected a name", said[6])
    assert.matches("main.lua:%d+: persist: at most 64 MiB", said[7])
  end)
end)
