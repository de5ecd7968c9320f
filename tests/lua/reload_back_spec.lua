-- A reload on probation: accepted, or back to what was accepted last.
local reloading = require "reloading"
local support = require "support"

local ENTITIES = [=[[ { "name": "box", "components": { "Part": { "x": 3 } } } ]]=]
local PART = 'local Part = stator.component("Part", { "double x" })\n'
local GOOD = PART .. 'stator.task("t", {}, function() for _ in stator.every(0.1) do print("good", stator.now()) end end)\n'

local function opened(main, options)
  options = options or {}
  if not options.scripts then options.main = main or GOOD end
  options.entities = options.entities or ENTITIES
  options.reload = options.reload or '"probation_s": 10, "max_faults": 3'
  return reloading.open(options)
end

describe("a reload on probation", function()
  after_each(support.finish)

  it("RL13: is accepted when its time is over, and by hand", function()
    local r = opened()
    r:change(PART .. "-- two\n")
    assert.equal("probation", r:phase())
    r.cell:advance(9)
    assert.equal("probation", r:phase())
    r.cell:advance(1.5)
    assert.equal("idle", r:phase())
    assert.equal(1, #r:lines "revision 2 is accepted: its probation is over")
    assert.is_false((r:ask "revert"))
    r:change(PART .. "-- three\n")
    local ok, message = r:ask "accept"
    assert.same({ true, "revision 3 is accepted" }, { ok, message })
    assert.equal("idle", r:phase())
    assert.is_false((r:ask "revert"))
    ok, message = r:ask "accept"
    assert.same({ true, "there is nothing to accept" }, { ok, message })
  end)

  it("RL14: goes back by hand: code, tasks, files to compare with, and revision", function()
    local r = opened()
    local shape = r:shape()
    r:change(PART .. 'stator.component("New", { "double y" })\nstator.task("u", {}, function() await(stator.sleep(1e6)) end)\n')
    assert.is_true((r:ask "revert"))
    assert.same({ "main/t: good" }, r:says())
    assert.equal(shape, r:shape())
    assert.equal(1, r:revision())
    assert.equal("idle", r:phase())
    -- the file is still the new one: nobody loads it by himself, a request does, with a new number
    r.cell:advance(5)
    assert.equal(shape, r:shape())
    r:change()
    assert.equal(3, r:revision())
    r:as_fresh()
  end)

  -- what faults, how, and whether one is enough
  local FAULTS = {
    { "a task in its first run", 'stator.task("t", {}, function() error "bang" end)\n', false },
    { "a task that starts again", 'stator.task("t", { restart = { min = 0.1, max = 0.2 } }, function() error "bang" end)\n', true },
    { "tasks of entities", 'stator.per_entity("e", { with = { Part } }, function() error "bang" end)\n', false },
    { "a system", 'stator.system("s", {}, function() error "bang" end)\n', true },
    { "a writer", 'stator.system("s", { write = { Part } }, function() error "bang" end)\n', true },
    { "an async system", 'stator.async_system("s", { every = 0.1 }, function() error "bang" end)\n', true },
    { "a system after a while", 'local n = 0\nstator.system("s", {}, function() n = n + 1 if n > 100 then error "bang" end end)\n', true },
    { "an observer", 'stator.observer("o", { changed = Part }, function() error "bang" end)\n' ..
      'stator.task("w", {}, function(cmd) for i in stator.every(0.1) do cmd:set(stator.entity "box", Part, { x = stator.now() }) end end)\n', true },
    { "a writer that writes before it fails", 'stator.system("s", { write = { Part } }, function(_, q) for _, row in q:each() do row.x = 77 end error '
      .. '"bang" end)\n', true },
    { "a task that runs too long", 'stator.task("t", { restart = { min = 0.1, max = 0.2 } }, function() while true do end end)\n', true },
  }
  for _, case in ipairs(FAULTS) do
    it("RL14: " .. case[1] .. " that faults " .. (case[3] and "too often: it goes back" or "less: it stays"), function()
      local r = opened(nil, { settings = '"limits": { "slice_ms": 20 }', patience = 1 })
      r:change(PART .. case[2])
      r.cell:advance(5)
      if case[3] then
        assert.equal(1, r:revision())
        assert.equal("idle", r:phase())
        assert.same({ "main/t: good" }, r:says())
        assert.is_true(#r:lines "goes back to revision 1: %d faults? on probation, the last one of main/" == 1)
        assert.is_true(#r:lines "revision 1 is in force again" == 1)
      else
        assert.equal(2, r:revision())
        assert.equal("probation", r:phase())
        r.cell:advance(10)
        assert.equal("idle", r:phase())
        assert.equal(2, r:revision())
      end
      assert.is_nil(r.cell:check())
    end)
  end

  it("RL14: faults of a script that did not run again do not count", function()
    local r = opened(nil, { scripts = { ["a.lua"] = GOOD,
      ["b.lua"] = 'stator.task("f", { restart = { min = 0.1, max = 0.1 } }, function() error "old" end)\n' } })
    r:change(GOOD .. "-- two\n", "a.lua")
    r.cell:advance(9)
    assert.equal(2, r:revision())
    assert.equal("probation", r:phase())
  end)

  it("RL14: faults of a child with a name of its own count for its script", function()
    local r = opened()
    r:change(PART .. [[
      stator.task("t", {}, function()
        for _ in stator.every(0.1) do stator.detach("aside", function() error "bang" end) end
      end)]])
    r.cell:advance(5)
    assert.equal(1, r:revision())
  end)

  it("RL14: over two revisions, to the one that was accepted last", function()
    local r = opened(nil, { scripts = { ["a.lua"] = GOOD, ["b.lua"] = GOOD, ["c.lua"] = GOOD } })
    local shape = r:shape()
    local other = r:tasks(true):match "c/t %d+"
    r:change(PART .. "-- two\n", "a.lua")
    r.cell:advance(9)
    r:change(PART .. 'stator.task("v", {}, function() error "x" end)\n', "b.lua")
    assert.equal(3, r:revision())
    r.cell:advance(9) -- its own probation began anew
    assert.equal("probation", r:phase())
    local ok, message = r:ask "revert"
    assert.same({ true, "revision 1 is in force again" }, { ok, message })
    assert.equal(shape, r:shape())
    assert.equal(other, r:tasks(true):match "c/t %d+")
    r:change()
    assert.equal(4, r:revision())
  end)

  for _, mode in ipairs { "off", "poll", "events" } do
    it("RL14: going back does not take up old saves again, watch = " .. mode, function()
      local r = opened(nil, { entities = "[]", scripts = { ["main.lua"] = GOOD, ["b.lua"] = "-- b\n" },
        scene = ('{ "reload": { "watch": "%s", "probation_s": 1000 }, "scripts": ["main.lua", "b.lua"] }'):format(mode) })
      r:save("local x = = 1\n")
      assert.is_false((r:ask "reload"))
      r:save("-- b\n", "b.lua")
      r:save((GOOD:gsub('"good"', '"two"')))
      assert.is_true((r:ask "reload"))
      r.cell:advance(3)
      assert.equal(2, r:revision())
      assert.is_true((r:ask "revert"))
      r.cell:advance(3)
      assert.equal(1, r:revision())
      assert.same({ "main/t: good" }, r:says())
    end)
  end

  it("RL14: after accept only the newest goes back", function()
    local r = opened()
    r:change((GOOD:gsub('"good"', '"two"')))
    r:ask "accept"
    r:change((GOOD:gsub('"good"', '"three"')))
    assert.is_true((r:ask "revert"))
    assert.same({ "main/t: two" }, r:says())
    assert.equal(2, r:revision())
  end)

  it("RL14: modules and parameters go back as well", function()
    local function scene(n)
      return ('{ "reload": { "watch": "off", "probation_s": 10 }, "scripts": [{ "file": "main.lua", "params": { "a": %d } }] }'):format(n)
    end
    local main = 'local p, m = stator.params { a = 0 }, require "m"\nlocal a = p.a\nstator.task("t", {}, function() for _ in stator.every(0.1) do '
      .. 'print(a, m, stator.now()) end end)\n'
    local r = opened(nil, { scene = scene(1), scripts = { ["main.lua"] = main }, files = { ["m.lua"] = "return 'm1'\n" } })
    r:write("scene.json", scene(2))
    r:write("m.lua", "return require 'n'\n")
    r:write("n.lua", "return 'n2'\n")
    r:change()
    assert.same({ "main/t: 2\tn2" }, r:says())
    r:write("n.lua", "return 'n3'\n")
    r:change()
    assert.same({ "main/t: 2\tn3" }, r:says())
    support.shell("rm " .. r.folder .. "/n.lua " .. r.folder .. "/m.lua")
    assert.is_true((r:ask "revert"))
    assert.same({ "main/t: 1\tm1" }, r:says())
  end)

  -- ---- persist ------------------------------------------------------------------------------

  local function counting(mark, options)
    local text = [[
      local n = stator.persist("n", 0OPTIONS)
      print("body MARK", n)
      stator.task("t", {}, function(cmd)
        stator.defer(function() cmd:persist("n", n) end)
        for _ in stator.every(0.1) do n = n + 1 cmd:persist("n", n) end
      end)
    ]]
    return (text:gsub("MARK", mark):gsub("OPTIONS", options or ""))
  end
  local function kept(r) return r:eval [[local bytes = require("stator.core.keep").get "persist:n"
    local parts = require("string.buffer").new():put(bytes)
    return parts:decode(), #parts > 0 and parts:decode() or 1]] end

  it("RL15: a body reads what the code before it kept last, also in its cleanup", function()
    local slow = counting("1"):gsub('function%(%) cmd:persist%("n", n%) end', function()
      return 'function() await(stator.sleep(0.5)) n = n + 1000 cmd:persist("n", n) end'
    end)
    local r = opened(slow, { entities = "[]" })
    r.cell:advance(1)
    r:change(counting "2")
    local n
    for _, line in ipairs(r.cell:logs()) do n = line:match "body 2\t(%d+)" or n end
    r.cell:advance(0.05)
    assert.is_true(tonumber(n) >= 1010)
    local before = kept(r)
    r.cell:advance(1)
    assert.equal(before + 10, kept(r))
  end)

  it("RL15: a value that a refused reload would have read with another version stays as it was", function()
    local r = opened(counting "1", { entities = "[]" })
    r.cell:advance(1)
    r:save(counting("2", ", { version = 2, migrate = function(v) return v * 100 end }") .. "\nerror 'no'\n")
    assert.is_false((r:ask "reload"))
    r.cell:advance(1)
    local n, version = kept(r)
    assert.is_true(n >= 20 and n < 40)
    assert.equal(1, version)
  end)

  it("RL15: values that a revision on probation has written go back with it, and so does their version", function()
    local r = opened(counting "1", { entities = "[]", reload = '"probation_s": 1000' })
    r.cell:advance(1)
    r:change(counting("2", ", { version = 2, migrate = function(v) return v * 1000 end }"))
    r.cell:advance(1)
    local n, version = kept(r)
    assert.is_true(n > 10000)
    assert.equal(2, version)
    assert.is_true((r:ask "revert"))
    r.cell:advance(1)
    n, version = kept(r)
    assert.is_true(n >= 20 and n < 40, tostring(n))
    assert.equal(1, version)
    assert.same({}, support.faults(r.cell))
  end)

  it("RL15: values of scripts that did not run again stay", function()
    local r = opened(nil, { entities = "[]", reload = '"probation_s": 1000', scripts = { ["a.lua"] = counting "1",
      ["b.lua"] = 'stator.task("u", {}, function(cmd) await(stator.sleep(2)) cmd:persist("m", 5) await(stator.sleep(1e6)) end)\n',
      ["c.lua"] = 'stator.task("v", {}, function(cmd) await(stator.sleep(1e6)) end)\n' } })
    r:change('stator.task("v", {}, function(cmd) cmd:persist("c", 1) await(stator.sleep(1e6)) end)\n', "c.lua")
    r.cell:advance(3)
    local before = kept(r)
    assert.is_true((r:ask "revert"))
    r.cell:advance(0.1)
    assert.is_true(kept(r) >= before)
    assert.same({ true, false }, { r:eval [[local keep = require("stator.core.keep")
      return keep.get "persist:m" ~= nil, keep.get "persist:c" ~= nil]] })
  end)

  -- ---- a swap that cannot be done ----------------------------------------------------------------

  it("RL2: a value that comes while tasks clean up and does not fit: nothing has changed, tasks start again", function()
    local main = [[
      local Part = stator.component("Part", { "TYPE x" })
      stator.service("ask", { at_once = 1 }, function() return "MARK" end)
      stator.task("t", {}, function(cmd)
        print "MARK"
        stator.defer(function() await(stator.sleep(0.5)) cmd:set(stator.entity "box", Part, { x = 3.5 }) end)
        await(stator.sleep(1e6))
      end)]]
    local r = opened(nil, { scripts = { ["main.lua"] = main:gsub("TYPE", "double"):gsub("MARK", "one"),
      ["other.lua"] = 'stator.task("o", {}, function() await(stator.sleep(1)) print(await(stator.call "ask")) await(stator.sleep(1e6)) end)\n' } })
    local shape = r:shape()
    r:said()
    r:save(main:gsub("TYPE", "int32_t"):gsub("MARK", "two"), "main.lua")
    r.cell:advance(0.7 - r:eval "return require('stator.core.task').now()") -- the call comes while main cleans up
    local ok, message = r:ask "reload"
    assert.is_false(ok)
    assert.matches("Part.x: 3.5 is not a whole number", message)
    r.cell:advance(0.5)
    assert.same({ "main/t: one", "other/o: one" }, r:said())
    assert.equal(shape, r:shape())
    assert.equal(1, r:revision())
    assert.equal("idle", r:phase())
    assert.equal(3.5, r:value("box", "Part", "x"))
    assert.is_nil(r.cell:check())
    assert.equal(0, r:eval "return #require('stator.core.schema').saved()")
  end)

  it("RL2: the same on probation: the one before it stays on probation, and can go back", function()
    local function main(kind, x)
      return ('local Part = stator.component("Part", { "%s x" })\nstator.task("t", {}, function(cmd) stator.defer(function() await(stator.sleep(0.5)) '
        .. 'cmd:set(stator.entity "box", Part, { x = %s }) end) await(stator.sleep(1e6)) end)\n'):format(kind, x)
    end
    local r = opened(main("double", 4), { reload = '"probation_s": 1000' })
    r:change(main("float", 5.5))
    r:save(main("int32_t", 6))
    local ok, message = r:ask "reload"
    assert.is_false(ok)
    assert.matches("5.5 is not a whole number", message)
    assert.same({ "probation", 2 }, { r:phase(), r:revision() })
    assert.is_true((r:ask "revert"))
    r.cell:advance(0.1)
    assert.equal(5.5, r:value("box", "Part", "x"))
    r:save(main("double", 4))
    assert.equal("nothing has changed", (select(2, r:ask "reload")))
  end)

  -- ---- inside and out ---------------------------------------------------------------------------

  it("RL13: people see it: component, log, revision and hash of each script", function()
    local r = opened()
    assert.equal("idle", r:value("scripts", "Reload", "state"))
    r:change(PART .. "-- two\n")
    r.cell:advance(0.05)
    assert.equal("probation", r:value("scripts", "Reload", "state"))
    assert.same({ 2, 2 }, { r:value("scripts", "Reload", "revision"), r:value("scripts", "Reload", "newest") })
    assert.equal(2, r:value("scripts/main", "Script", "revision"))
    assert.equal("the spec", r:value("scripts/main", "Script", "reason"))
    assert.equal(16, #r:value("scripts/main", "Script", "hash"))
    r:change(PART .. 'stator.task("t", {}, function() error "x" end)\n')
    r.cell:advance(0.05)
    assert.same({ 3, 1 }, { r:value("scripts", "Reload", "revision"), r:value("scripts", "Reload", "faults") })
    r:ask "revert"
    r.cell:advance(0.05)
    assert.same({ 1, 3 }, { r:value("scripts", "Reload", "revision"), r:value("scripts", "Reload", "newest") })
    assert.equal(1, r:value("scripts/main", "Script", "revision"))
  end)

  it("RL13: a cell that ends in the middle of a reload ends in order", function()
    local main = PART .. 'stator.task("t", {}, function() stator.defer(function() await(stator.sleep(0.5)) end) stator.no_reload "x" '
      .. 'await(stator.sleep(1e6)) end)\n'
    for _, force in ipairs { false, true } do
      local r = opened(main)
      r:save(main .. "-- two\n")
      r:begin("reload", { force = force })
      r.cell:advance(0.2)
      assert.equal(force and "draining" or "waiting", r:phase())
    end
  end)
end)
