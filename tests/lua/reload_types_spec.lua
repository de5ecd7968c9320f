-- A reload that changes components, structs, enums and events: what becomes of their values.
local reloading = require "reloading"
local support = require "support"

local BOX = "return require('stator.entity').at 'box'"

local BARE = [=[[ { "name": "box" } ]]=]

--- A cell whose box carries Part with these values, which are not those of the scene.
local function opened(main, values, probation_s)
  local options = type(main) == "table" and main or { main = main }
  options.entities, options.reload = BARE, ('"probation_s": %d'):format(probation_s or 0)
  local r = reloading.open(options)
  r:set("box", "Part", values)
  return r
end

--- A script that keeps to itself.
local function of(fields, more, head)
  return ('%slocal Part = stator.component("Part", { %s }%s)\nstator.task("t", {}, function() await(stator.sleep(1e6)) end)\n')
    :format(head or "", fields, more or "")
end

local MIGRATE_TEXT = ', { migrate = function(old) return { x = tostring(old.x) } end }'

describe("a reload of types", function()
  after_each(support.finish)

  -- fields before, value of the entity, fields after, more of the options, what a field is then, and in the plan
  local FIELDS = {
    { "a field comes", '"double x"', '{ x = 3 }', '"double x", "double y = 7"', nil, { x = 3, y = 7 }, "+y" },
    { "a field goes", '"double x", "double y"', '{ x = 3, y = 4 }', '"double x"', nil, { x = 3 }, "-y" },
    { "fields change places", '"double x", "double y"', '{ x = 3, y = 4 }', '"double y", "double x"', nil,
      { x = 3, y = 4 }, "changed" },
    { "a field gets another name", '"double x"', '{ x = 3 }', '"double z"', nil, { z = 0 }, "+z, %-x" },
    { "a field gets another name, with migrate", '"double x"', '{ x = 3 }', '"double z"',
      ", { migrate = function(old) return { z = old.x } end }", { z = 3 }, "+z, %-x" },
    { "a type widens", '"float x"', '{ x = 3 }', '"double x"', nil, { x = 3 }, "~x" },
    { "a type narrows, and all values fit", '"double x"', '{ x = 3 }', '"int32_t x"', nil, { x = 3 }, "~x" },
    { "a whole number becomes a real one", '"int32_t x"', '{ x = 3 }', '"double x"', nil, { x = 3 }, "~x" },
    { "a number becomes a bool", '"int32_t x"', '{ x = 1 }', '"bool x"', nil, { x = true }, "~x" },
    { "a number becomes text, with migrate", '"double x"', '{ x = 3 }', '"char x[8]"', MIGRATE_TEXT, { x = "3" }, "!x" },
    { "text gets longer", '"char x[8]"', '{ x = "three" }', '"char x[16]"', nil, { x = "three" }, "~x" },
    { "text gets shorter, and fits", '"char x[16]"', '{ x = "three" }', '"char x[8]"', nil, { x = "three" }, "~x" },
    { "an array gets longer", '"double x[2]"', '{ x = {1, 2} }', '"double x[3]"', nil, { x = "1 2 0" }, "~x" },
    { "a default changes", '"double x", "double y = 1"', '{ x = 3 }', '"double x", "double y = 2"', nil,
      { x = 3, y = 1 }, "changed" },
    { "a unit changes", '"double x [m]"', '{ x = 3 }', '"double x [mm]"', nil, { x = 3 }, "changed" },
    { "a range changes", '"double x [m] (0..5)"', '{ x = 3 }', '"double x [m] (0..9)"', nil, { x = 3 }, "changed" },
    { "all fields go: it is a tag", '"double x"', '{ x = 3 }', "", nil, {}, "-x" },
    { "a tag gets fields", "", "{}", '"double x = 5"', nil, { x = 5 }, "+x" },
  }
  for _, case in ipairs(FIELDS) do
    local what, before, value, after, more, expected, plan = unpack(case, 1, 7)
    it("RL5: " .. what .. "; and back by hand", function()
      local r = opened(of(before), value, 1000)
      local id, first = r:eval(BOX), r.cell:hash()
      local lines = r:change(of(after, more))
      assert.matches("component Part: changed", lines)
      assert.matches(plan, lines)
      r.cell:advance(0.1)
      assert.equal(id, r:eval(BOX))
      assert.is_true(r:value("box", "Part"))
      for name, wanted in pairs(expected) do assert.equal(wanted, r:value("box", "Part", name)) end
      assert.is_nil(r.cell:check())
      local ok, message = r:ask "revert"
      assert.is_true(ok, message)
      assert.equal("revision 1 is in force again", message)
      r.cell:advance(0.1)
      assert.equal(id, r:eval(BOX))
      r:save(of(before))
      local same, nothing = r:ask "reload"
      assert.same({ true, "nothing has changed" }, { same, nothing })
      r:as_fresh()
      assert.is_truthy(first)
      assert.same({}, support.faults(r.cell))
    end)
  end

  it("RL6: fields that went have their values again after a revert, others what they became", function()
    local r = opened(of '"double x", "double y"', '{ x = 3, y = 4 }', 1000)
    r:change(of '"double x"')
    r:set("box", "Part", "{ x = 30 }")
    assert.is_true((r:ask "revert"))
    r.cell:advance(0.1)
    assert.same({ 30, 4 }, { r:value("box", "Part", "x"), r:value("box", "Part", "y") })
  end)

  it("RL6: after accept they are gone", function()
    local r = opened(of '"double x", "double y"', '{ x = 3, y = 4 }', 1000)
    assert.matches("what goes is kept until the reload is accepted", r:change(of '"double x"'))
    assert.is_true((r:ask "accept"))
    local ok, message, code = r:ask "revert"
    assert.same({ false, "there is no revision to go back to", "not_found" }, { ok, message, code })
    r:change(of '"double x", "double y"')
    assert.same({ 3, 0 }, { r:value("box", "Part", "x"), r:value("box", "Part", "y") })
    assert.is_nil(r.cell:check())
  end)

  it("RL6: over two revisions the copies of the first stay, also of a field that came and went", function()
    local r = opened(of '"double x", "double y"', '{ x = 3, y = 4 }', 1000)
    r:change(of '"double x", "double z = 1"')
    r:change(of '"double z", "double w = 2"')
    assert.same({ 1, 2 }, { r:value("box", "Part", "z"), r:value("box", "Part", "w") })
    local _, message = r:ask "revert"
    assert.equal("revision 1 is in force again", message)
    assert.same({ 3, 4 }, { r:value("box", "Part", "x"), r:value("box", "Part", "y") })
    assert.is_nil(r.cell:check())
  end)

  local REFUSED = {
    { "a number becomes text without migrate", '"double x"', '{ x = 3 }', '"char x[8]"', nil, "Part.x: .*migrate" },
    { "text becomes a number", '"char x[8]"', '{ x = "a" }', '"double x"', nil, "Part.x: .*migrate" },
    { "a value does not fit a narrower type", '"double x"', '{ x = 3.5 }', '"int32_t x"', nil, "box" },
    { "a value does not fit a shorter text", '"char x[16]"', '{ x = "0123456789" }', '"char x[8]"', nil, "box" },
    { "a value is outside of a new range", '"double x [m] (0..5)"', '{ x = 3 }', '"double x [m] (0..2)"', nil, "box" },
    { "migrate fails", '"double x"', '{ x = 3 }', '"double z"', ", { migrate = function() error 'no way' end }",
      "migrate: box: .*no way" },
    { "migrate answers a number", '"double x"', '{ x = 3 }', '"double z"', ", { migrate = function() return 1 end }",
      "migrate: box: .*expected a table" },
    { "migrate answers an unknown field", '"double x"', '{ x = 3 }', '"double z"',
      ", { migrate = function() return { q = 1 } end }", "migrate: box: .*q" },
    { "migrate answers text for a number", '"double x"', '{ x = 3 }', '"double z"',
      ", { migrate = function() return { z = 'a' } end }", "migrate: box: .*z" },
    { "it becomes sparse", '"double x"', '{ x = 3 }', '"double x"', ", { sparse = true }", "sparse" },
    { "a field is named by a word of Lua", '"double x"', '{ x = 3 }', '"double end"', nil, "end" },
    { "a field has two declarations", '"double x"', '{ x = 3 }', '"double x", "double x"', nil, "x" },
  }
  for _, case in ipairs(REFUSED) do
    local what, before, value, after, more, why = unpack(case, 1, 6)
    it("RL7: is refused when " .. what .. ", and nothing has changed", function()
      local r = opened(of(before), value)
      assert.matches(why, (r:refused(of(after, more))))
      r:change(of(before) .. "-- another\n")
      r:as_fresh()
    end)
  end

  it("RL7: a component that is carried and not declared any more needs --drop", function()
    local r = opened(of '"double x"', '{ x = 3 }', 1000)
    local message, code = r:refused 'stator.task("u", {}, function() await(stator.sleep(1e6)) end)\n'
    assert.equal("component Part is declared nowhere any more, but 1 entities carry it: declare it, or reload with --drop Part",
      message)
    assert.equal("invalid", code)
    r:refused(nil, nil, { drop = "Prat" })
    local ok, why = r:ask("reload", { drop = "Part" })
    assert.is_true(ok, why)
    r.cell:advance(0.1)
    assert.is_nil(r:value("box", "Part"))
    assert.is_nil(r.cell:check())
    assert.is_true((r:ask "revert"))
    assert.equal(3, r:value("box", "Part", "x"))
  end)

  it("RL7: one that came with a reload that was refused may have other fields in the next", function()
    local r = opened(of '"double x"', '{ x = 3 }')
    r:refused(of '"double x"' .. 'stator.component("New", { "double a" })\nstator.component("Bad", { "doubel a" })\n')
    r:refused(of '"double x"' .. 'stator.component("New", { "double a", "int32_t n" })\nstator.component "Nix"\n')
    r:change(of '"double x"' .. 'local New = stator.component("New", { "char b[4]" })\n'
      .. 'stator.task("n", {}, function(cmd) cmd:insert(stator.entity "box", New, { b = "ok" }) await(stator.sleep(1e6)) end)\n')
    r.cell:advance(0.1)
    assert.equal("ok", r:value("box", "New", "b"))
    r:as_fresh()
  end)

  it("RL7: one that came and went comes back with other fields, and migrate", function()
    local r = opened(of '"double x"' .. 'stator.component("New", { "double a" })\n', "{ x = 3 }")
    r:change(of '"double x"')
    r:change(of '"double x"' .. 'stator.component("New", { "char a[4]" }, { migrate = function() return { a = "m" } end })\n')
    r:as_fresh()
    r:change(of '"double x"')
    r:change(of '"double x"' .. 'stator.component("New", { "double a" })\n')
    r:as_fresh()
  end)

  it("RL7: two scripts that share a component change together, and not by halves", function()
    local r = opened({ scripts = {
      ["a.lua"] = of '"double x"',
      ["b.lua"] = 'local Part = stator.component "Part"\nstator.task("u", {}, function() for _ in stator.every(0.1) do local p = '
        .. 'stator.entity("box"):find(Part) if p then print(p.x, stator.now()) end end end)\n',
      ["c.lua"] = 'stator.task("v", {}, function() await(stator.sleep(1e6)) end)\n',
    } }, "{ x = 3 }")
    local other = r:tasks(true):match "c/v %d+"
    local lines = r:change(of '"float y", "int32_t x"', "a.lua")
    assert.matches("b %(it names component Part, which is changed%)", lines)
    assert.equal(other, r:tasks(true):match "c/v %d+")
    assert.same({ "b/u: 3" }, r:says())
    r:as_fresh()
    -- the other one reads a field that goes: both stay as they are
    r:save('local Part = stator.component "Part"\nstator.task("u", {}, function(cmd) cmd:insert(stator.entity "box", Part { x = 4 }) end)\n', "b.lua")
    r:change()
    assert.matches('b.lua:%d+: Part has no field "x"', (r:refused(of '"double y"', "a.lua")))
    -- and both may declare it, with the same fields only
    r:save(of('"double y"'), "a.lua")
    assert.matches("other fields", (r:refused(of('"double y", "double z"'), "b.lua")))
  end)

  local ENUM = 'local Mode = stator.enum("Mode", { %s })\n'
  local function enum(members, more)
    return ENUM:format(members) .. 'local Part = stator.component("Part", { "Mode m" }'
      .. (more or "") .. ')\nstator.task("t", {}, function() for _ in stator.every(0.1) do local p = stator.entity("box"):find(Part) if p then '
        .. 'print(Mode:name_of(p.m), stator.now()) end end end)\n'
  end
  local ENUMS = {
    { "a member comes", '"a", "b"', '"a", "b", "c"' },
    { "a member comes first", '"a", "b"', '"z", "a", "b"' },
    { "members change places", '"a", "b"', '"b", "a"' },
    { "a member that nobody has goes", '"a", "b"', '"b"' },
  }
  for _, case in ipairs(ENUMS) do
    it("RL8: " .. case[1] .. ": values keep their names; and back", function()
      local r = opened(enum(case[2]), "{ m = 1 }", 1000)
      assert.same({ "main/t: b" }, r:says())
      local lines = r:change(enum(case[3]))
      assert.matches("enum Mode: changed", lines)
      assert.same({ "main/t: b" }, r:says())
      r:as_fresh()
      assert.is_true((r:ask "revert"))
      assert.same({ "main/t: b" }, r:says())
      r:save(enum(case[2]))
      r:as_fresh()
    end)
  end

  it("RL8: a member that a value has does not go", function()
    local r = opened(enum '"a", "b"', "{ m = 1 }")
    assert.matches("box", (r:refused(enum '"a", "c"')))
    assert.same({ "main/t: b" }, r:says())
  end)

  it("RL8: a struct changes: the components of it change with it", function()
    local function struct(fields, reads)
      return ('local V = stator.struct("V", { %s })\nlocal Part = stator.component("Part", { "V v", "double k" })\n'):format(fields)
        .. ('stator.task("t", {}, function() for _ in stator.every(0.1) do local p = stator.entity("box"):find(Part) if p then print(p.v.%s, p.k, '
          .. 'stator.now()) end end end)\n'):format(reads)
    end
    local r = opened(struct('"double a", "double b"', "b"), "{ v = { a = 1, b = 2 }, k = 3 }", 1000)
    local lines = r:change(struct('"double c", "float b"', "b"))
    assert.matches("struct V: changed\n  component Part: changed", lines)
    assert.same({ "main/t: 2\t3" }, r:says())
    r:as_fresh()
    assert.is_true((r:ask "revert"))
    assert.same({ "main/t: 2\t3" }, r:says())
    assert.equal(1, r:eval [[local e = require "stator.entity"
      return e.Entity.get(e.at "box", require("stator.registry").live.components.Part).v.a]])
  end)

  it("RL8: an event changes: who sends and who hears run again", function()
    local function event(fields, sent) return ('local E = stator.event("E", { %s })\nstator.task("t", {}, function(cmd) for _ in stator.every(0.1) do '
      .. 'cmd:send(E, { %s }) end end)\n'):format(fields, sent) end
    local hear = 'local E = stator.event "E"\nlocal inbox = stator.inbox(E)\nstator.task("u", {}, function() for ev in inbox:each() do print(ev.n, '
      .. 'ev.text, stator.now()) end end)\n'
    local r = reloading.open { scripts = { ["a.lua"] = event('"int32_t n"', "n = 1"), ["b.lua"] = hear } }
    assert.same({ "b/u: 1\tnil" }, r:says())
    assert.matches("b %(it names event E, which is changed%)", r:change(event('"char text[8]", "int32_t n"', "n = 2, text = 'x'"), "a.lua"))
    assert.same({ "b/u: 2\tx" }, r:says())
    r:as_fresh()
    assert.same({}, support.faults(r.cell))
  end)

  it("RL7: a migration of 5,000 rows with a script's function, in slices", function()
    local r = reloading.open { main = [[
      local Part = stator.component("Part", { "double x" })
      stator.task("t", {}, function(cmd) for i = 1, 5000 do cmd:spawn { Part { x = i } } end end)]] }
    r:change 'stator.component("Part", { "char x[8]" }, { migrate = function(old) return { x = tostring(old.x) } end })\n'
    assert.equal(5000, r:eval [[
      local c, n = require("stator.registry").live.components.Part, 0
      local Entity = require("stator.entity").Entity
      for _, id in ipairs((require("stator.core.world").entities())) do
        if Entity.has(id, c) and tonumber(Entity.get(id, c).x) then n = n + 1 end
      end
      return n]])
    assert.is_nil(r.cell:check())
  end)
end)
