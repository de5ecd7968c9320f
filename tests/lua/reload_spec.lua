-- A reload: kinds of change in an idle cell, and what comes of them.
local reloading = require "reloading"
local support = require "support"

local ENTITIES = [=[[ { "name": "box", "components": { "Part": { "x": 3 } } } ]]=]
local PART = 'local Part = stator.component("Part", { "double x" })\n'
local TICK = PART .. [[
stator.task("t", {}, function()
  for _ in stator.every(0.1) do print("one", stator.now()) end
end)
]]
local BOX = "return require('stator.entity').at 'box'"

local function opened(main, options)
  options = options or {}
  options.main, options.entities = main or TICK, options.entities or ENTITIES
  return reloading.open(options)
end

describe("a reload", function()
  after_each(support.finish)

  it("RL1: runs the new code of the script that changed, and leaves the others alone", function()
    local r = reloading.open {
      scripts = { ["main.lua"] = TICK, ["other.lua"] = [[
        local n = 0
        stator.task("o", {}, function() for _ in stator.every(0.1) do n = n + 1 print("n", n) end end)
        stator.system("s", {}, function() end)]] },
      entities = ENTITIES,
    }
    r.cell:advance(0.45)
    local id, other = r:eval(BOX), r:tasks(true):match "other/o %d+"
    local lines = r:change((TICK:gsub('"one"', '"two"')))
    assert.matches("^revision 2, the spec: main %(main.lua changed%)\n", lines)
    assert.matches("\n  replaced: task main/t\n  cancels main/t at main.lua:%d, which waits for ", lines)
    local said = r:says()
    table.sort(said)
    assert.same({ "main/t: two", "other/o: n" }, said)
    local counts = r:lines "other/o: n\t%d+$"
    assert.is_true(tonumber(counts[#counts]:match "%d+$") >= 7) -- it goes on
    assert.equal(other, r:tasks(true):match "other/o %d+")
    assert.equal(id, r:eval(BOX))
    assert.equal(3, r:value("box", "Part", "x"))
    assert.equal(2, r:revision())
    r:as_fresh()
  end)

  it("RL1: nothing has changed: nothing is done", function()
    local r = opened()
    local before = r:state()
    local ok, message = r:ask "reload"
    assert.same({ true, "nothing has changed" }, { ok, message })
    assert.equal(before, r:state())
  end)

  -- what a new text brings: its lines of the plan; afterwards the cell is as a fresh one
  local S = "stator.system(%q, {}, function() end)\n"
  local CHANGES = {
    { "a system comes", PART, PART .. S:format "a", "added: system main/a" },
    { "a system goes", PART .. S:format "a", PART, "removed: system main/a" },
    { "systems change places", PART .. S:format "a" .. S:format "b", PART .. S:format "b" .. S:format "a",
      "replaced: system main/b, system main/a" },
    { "a system becomes a writer", PART .. S:format "a",
      PART .. 'stator.system("a", { write = { Part } }, function() end)\n', "replaced: system main/a" },
    { "a task comes", PART, TICK, "added: task main/t" },
    { "a task goes", TICK, PART, "removed: task main/t\n  cancels main/t" },
    { "a task becomes one of entities", TICK,
      PART .. 'stator.per_entity("t", { with = { Part } }, function() await(stator.sleep(1e6)) end)\n',
      "added: per_entity main/t\n  removed: task main/t" },
    { "an async system comes", PART,
      PART .. 'stator.async_system("a", { every = 0.05 }, function() await(stator.sleep(1e6)) end)\n',
      "added: async_system main/a" },
    { "an observer comes", PART, PART .. 'stator.observer("o", { changed = Part }, function() end)\n',
      "added: observer main/o" },
    { "an observer goes", PART .. 'stator.observer("o", { changed = Part }, function() end)\n', PART,
      "removed: observer main/o" },
    { "a service comes", PART, PART .. 'stator.service("ask", function() return 1 end)\n', "added: service main/ask" },
    { "a service goes", PART .. 'stator.service("ask", function() return 1 end)\n', PART,
      "removed: service main/ask" },
    { "a machine comes", PART,
      PART .. 'stator.machine("m", { on = stator.entity "box", start = "a" }, { a = function() await(stator.sleep(1e6)) end })\n',
      "added: " },
    { "a machine goes",
      PART .. 'stator.machine("m", { on = stator.entity "box", start = "a" }, { a = function() await(stator.sleep(1e6)) end })\n',
      PART, "removed: " },
    { "an event and an inbox come", PART,
      PART .. 'local E = stator.event("E", { "int32_t n" })\nlocal inbox = stator.inbox(E)\n', "event E: added" },
    { "an event and an inbox go",
      PART .. 'local E = stator.event("E", { "int32_t n" })\nlocal inbox = stator.inbox(E)\n', PART, "event E: removed" },
    { "a query comes", PART, PART .. "local q = stator.query { read = { Part } }\n", "pause" },
    { "a component comes", PART, PART .. 'stator.component("New", { "double y" })\n', "component New: added" },
    { "a tag comes", PART, PART .. 'stator.component("New", {})\n', "component New: added" },
    { "a component that nobody carries goes", PART .. 'stator.component("New", { "double y" })\n', PART,
      "component New: removed" },
    { "a struct comes, and a component of it", PART,
      PART .. 'stator.struct("V", { "double a" })\nstator.component("New", { "V v" })\n', "struct V: added" },
    { "a struct goes, and the component of it", PART .. 'stator.struct("V", { "double a" })\nstator.component("New", { "V v" })\n',
      PART, "struct V: removed" },
    { "an enum comes", PART, PART .. 'stator.enum("M", { "a", "b" })\nstator.component("New", { "M m = b" })\n',
      "enum M: added" },
    { "an enum goes", PART .. 'stator.enum("M", { "a", "b" })\nstator.component("New", { "M m = b" })\n', PART,
      "enum M: removed" },
  }
  for _, case in ipairs(CHANGES) do
    it("RL4: " .. case[1] .. ", there and back", function()
      local r = opened(case[2])
      local lines = r:change(case[3])
      assert.truthy(lines:find(case[4], 1, true), lines)
      r.cell:advance(0.2)
      r:as_fresh()
      assert.equal(3, r:value("box", "Part", "x"))
      r:change(case[2])
      r.cell:advance(0.2)
      r:as_fresh()
      r:change(case[3])
      r.cell:advance(0.2)
      r:as_fresh()
      assert.same({}, support.faults(r.cell))
    end)
  end

  it("RL1: a file that a script requires is one of its own, also through another", function()
    local r = reloading.open {
      scripts = {
        ["main.lua"] = 'local a = require "a"\nstator.task("t", {}, function() print(a()) await(stator.sleep(1e6)) end)\n',
        ["other.lua"] = 'stator.task("o", {}, function() await(stator.sleep(1e6)) end)\n',
      },
      files = { ["a.lua"] = 'local b = require "b"\nreturn function() return "a" .. b end\n', ["b.lua"] = "return 1\n" },
    }
    assert.same({ "main/t: a1" }, r:said())
    local other = r:tasks(true):match "other/o %d+"
    r:write("b.lua", "return 2\n")
    local lines = r:change()
    assert.matches("main %(b.lua changed%)", lines)
    r.cell:advance(0.1)
    assert.same({ "main/t: a2" }, r:said())
    assert.equal(other, r:tasks(true):match "other/o %d+")
    -- one that is gone is a problem, and nothing happens; it comes back and goes on
    support.shell("rm " .. r.folder .. "/b.lua")
    local message = r:refused()
    assert.matches('require "b": b.lua: ', message)
    r:write("b.lua", "return 3\n")
    r:change()
    r.cell:advance(0.1)
    assert.same({ "main/t: a3" }, r:said())
  end)

  it("RL2: a module that is missing and then comes", function()
    local r = opened()
    local new = PART .. 'local m = require "late"\nstator.task("t", {}, function() print(m) await(stator.sleep(1e6)) end)\n'
    assert.matches('require "late": late.lua: ', r:refused(new))
    r:write("late.lua", "return 'late'\n")
    r:change()
    r.cell:advance(0.1)
    local said = r:said()
    assert.equal("main/t: late", said[#said])
    r:as_fresh()
  end)

  local BAD = {
    { "does not compile", "local x = = 1\n", "main.lua:%d+: unexpected symbol" },
    { "fails in its body", PART .. "error 'no luck'\n", "no luck" },
    { "fails in its body after it has declared much",
      PART .. 'stator.component("New", { "double y" })\nstator.struct("V", { "double a" })\n' ..
      'stator.enum("M", { "a" })\nstator.event("E", { "double x" })\n' ..
      'stator.task("n", {}, function() end)\nlocal x = nil + 1\n', "arithmetic" },
    { "waits in its body", PART .. "await(stator.sleep(1))\n", "operations are made inside a task" },
    { "calls in its body", PART .. "local x = stator.inbox(1)\n", "" },
    { "names a component that is declared nowhere", PART .. 'stator.component "Prat"\n', "declared nowhere" },
    { "declares a bad field", 'stator.component("Part", { "doubel x" })\n', "doubel" },
    { "declares a bad field of a new component", PART .. 'stator.component("New", { "doubel x" })\n', "doubel" },
    { "declares a bad struct", PART .. 'stator.struct("V", { "Nix x" })\n', "Nix" },
    { "reads a field that is not there",
      PART .. 'stator.task("t", {}, function(cmd) cmd:spawn { Part { nix = 1 } } end)\n', 'has no field "nix"' },
    { "declares a name twice", PART .. 'stator.task("t", {}, function() end)\nstator.task("t", {}, function() end)\n', "t" },
    { "makes a text too long", PART .. "local s = ('x'):rep(2 ^ 40)\n", "MB" },
    { "records in its body", PART .. "cmd:spawn {}\n", "" },
  }
  for _, case in ipairs(BAD) do
    it("RL2: a script that " .. case[1] .. " changes nothing", function()
      local r = opened()
      r.cell:advance(0.3)
      local message = r:refused(case[2])
      assert.matches(case[3], message)
      assert.same({ "main/t: one" }, r:says())
      -- and once it is mended, it is as if nothing had been
      r:change(TICK .. "-- mended\n")
      r.cell:advance(0.1)
      r:as_fresh()
    end)
  end

  it("RL2: one of two scripts has a problem: neither runs", function()
    local r = reloading.open { scripts = { ["a.lua"] = TICK, ["b.lua"] = TICK }, entities = ENTITIES }
    r:save((TICK:gsub('"one"', '"two"')), "a.lua")
    assert.matches("b.lua:%d+:", (r:refused("local x = = 1\n", "b.lua")))
    assert.same({ "a/t: one", "b/t: one" }, r:says())
    r:change((TICK:gsub('"one"', '"three"')), "b.lua")
    assert.same({ "a/t: two", "b/t: three" }, r:says())
  end)

  it("RL3: a body that hangs is stopped, and nothing has changed", function()
    local r = opened(nil, { settings = '"limits": { "slice_ms": 20 }', patience = 1 })
    local message = r:refused(PART .. "while true do end\n")
    assert.matches("stopped: it ran for", message)
    assert.same({ "main/t: one" }, r:says())
  end)

  it("RL1: two uses of a script run again together, and a parameter is that of each", function()
    local text = 'local p = stator.params { n = 1 }\nstator.task("t", {}, function() print(p.n, 1) await(stator.sleep(1e6)) end)\n'
    local r = reloading.open {
      scripts = { ["main.lua"] = text },
      scene = '{ "reload": { "watch": "off", "probation_s": 0 }, "scripts": ["main.lua", { "file": "main.lua", "as": "two", "params": { "n": 2 } }] }',
    }
    assert.same({ "main/t: 1\t1", "two/t: 2\t1" }, r:said())
    r:change((text:gsub(", 1%) await", ", 2) await")))
    r.cell:advance(0.1)
    assert.same({ "main/t: 1\t2", "two/t: 2\t2" }, r:said())
    r:as_fresh()
  end)

  it("RL1: a parameter that a body reads starts its script again, one that is read later is just set", function()
    local function scene(a, b)
      return ('{ "reload": { "watch": "off", "probation_s": 0 }, "scripts": [{ "file": "main.lua", "params": { "a": %d, "b": %d } }] }'):format(a, b)
    end
    local r = reloading.open { scene = scene(1, 1), scripts = { ["main.lua"] = [[
      local p = stator.params { a = 0, b = 0 }
      local a = p.a
      stator.task("t", {}, function() for _ in stator.every(0.1) do print(a, p.b, stator.now()) end end)]] } }
    r.cell:advance(0.1)
    local before = r:tasks(true)
    r:write("scene.json", scene(1, 2))
    local ok, message = r:ask "reload"
    assert.same({ true, "no script runs again" }, { ok, message })
    assert.equal(before, r:tasks(true))
    assert.same({ "main/t: 1\t2" }, r:says())
    r:write("scene.json", scene(5, 2))
    assert.matches("its body reads the parameter a, which changed", r:change())
    assert.same({ "main/t: 5\t2" }, r:says())
  end)

  it("RL4: --plan tells and does nothing", function()
    local r = opened()
    r:save(PART .. 'stator.component("New", { "double y" })\n')
    local before, hash = r:state(), r.cell:hash()
    local ok, message, _, lines = r:ask("reload", { plan = true })
    assert.same({ true, "planned; nothing was done" }, { ok, message })
    assert.matches("removed: task main/t", lines)
    r.cell:advance(0.1)
    assert.equal(before, r:state())
    assert.equal(hash, r.cell:hash())
    assert.equal(lines, r:change())
  end)

  it("RL2: a scene with reload locked refuses, but plans", function()
    local r = opened(nil, { reload = '"lock": true' })
    local message, code = r:refused(PART)
    assert.same({ "the scene has reload locked", "locked" }, { message, code })
    assert.is_true((r:ask("reload", { plan = true })))
  end)

  it("RL5: startup systems that have run do not run again, new ones do", function()
    local text = PART .. 'stator.system("s", { phase = "startup" }, function() print("start") end)\n'
    local r = opened(text)
    assert.same({ "main/s: start" }, r:said())
    r:change(text .. 'stator.system("s2", { phase = "startup" }, function() print("start 2") end)\n')
    r.cell:advance(0.3)
    assert.same({ "main/s2: start 2" }, r:said())
  end)
end)
