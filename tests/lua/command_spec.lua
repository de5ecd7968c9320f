-- Commands that are misused: each is an error at its line, which names the value and what was expected.
local support = require "support"

local BEFORE = [[
local N = stator.component("N", { "double v" })
local Ref = stator.component("Ref", { "entity to", "entity list[2]" })
local Tag = stator.component("Tag", {})
local e, q = stator.entity "e", stator.query { with = { N } }
local function refused(fn)
  local ok, raised = pcall(fn)
  print(ok and "recorded" or type(raised) == "table" and raised.message or raised)
end]]
local ENTITIES = [=[[ { "name": "e", "components": { "N": { "v": 1 }, "Ref": {} } } ]]=]

local function run(body)
  local said, faults, cell = support.run_task(body, { before = BEFORE, entities = ENTITIES, seconds = 1 })
  assert.same({}, faults)
  return said, cell
end

--- Asserts for each line of `cases`, `command` = message, that the command raises it, at its line.
local function assert_refused(cases)
  local parts = {}
  for i, case in ipairs(cases) do parts[i] = ("refused(function() %s end)"):format(case[1]) end
  local said = run(table.concat(parts, "\n"))
  for i, case in ipairs(cases) do
    assert.equal(("main.lua:%d: %s"):format(11 + i, case[2]), said[i])
  end
  assert.equal(#cases, #said)
end

describe("a command", function()
  after_each(support.finish)

  it("needs a component and a table of its fields", function()
    assert_refused {
      { "cmd:set(e, nil, {})", "set: expected a component, got nil" },
      { "cmd:set(e, 'Reff', {})", 'set: expected a component, got "Reff", did you mean "Ref"?' },
      { "cmd:set(e, {}, {})", "set: expected a component, got a table" },
      { "cmd:set(e, stator, {})", "set: expected a component, got a table" },
      { "cmd:set(e, e, {})", "set: expected a component, got entity e" },
      { "cmd:set(e, N, nil)", "set: expected a table of fields of N, got nil" },
      { "cmd:set(e, Tag, {})", "set: Tag is a tag and has no fields: use insert" },
      { "cmd:add(e, N, nil)", "add: expected a table of fields of N, got nil" },
      { "cmd:add(e, N, 5)", "add: expected a table of fields of N, got 5" },
      { "cmd:add(e, nil, {})", "add: expected a component, got nil" },
      { "cmd:insert(e, N, 'x\\0y')", 'insert: expected a table of fields of N, got "x\\000y"' },
      { "cmd:insert(e, N, e:get(N))", "insert: expected a table of fields of N, got a view" },
      { "cmd:insert(e, Tag, { 1 })", "insert: Tag is a tag and has no fields" },
      { "cmd:insert(e, print)", "insert: expected a component, got a function" },
      { "cmd:remove(e, true)", "remove: expected a component, got true" },
      { "cmd:expect(e, 'N')", 'expect: expected a component, got "N", did you mean "N"?' },
      { "cmd:set('e', N, {})", 'expected an entity, got "e": write stator.entity(name)' },
      { "cmd:despawn(N)", "expected an entity, got component N" },
      { "cmd.despawn(e)", "expected an entity, got nil" },
      { "cmd.set(e, N, { v = 1 })", "set: expected a component, got a table" },
    }
  end)

  it("that spawns needs a list of components, and knows its options", function()
    local long = ("x"):rep(64)
    local name = 'spawn: expected a name of 1 to 63 bytes without "/" and zero bytes, got '
    assert_refused {
      { "cmd:spawn({}, { name = 5 })", name .. "5" },
      { "cmd:spawn({}, { name = '' })", name .. '""' },
      { "cmd:spawn({}, { name = 'a/b' })", name .. '"a/b"' },
      { "cmd:spawn({}, { name = 'a\\0b' })", name .. '"a\\000b"' },
      { ("cmd:spawn({}, { name = '%s' })"):format(long), name .. ('"%s..." (64 bytes)'):format(long:sub(1, 40)) },
      { "cmd:spawn({}, { nmae = 'x' })", 'spawn: unknown option "nmae", did you mean "name"?' },
      { "cmd:spawn({}, 'x')", 'spawn: expected a table of options, got "x"' },
      { "cmd:spawn({}, { parent = 'e' })", 'expected an entity, got "e": write stator.entity(name)' },
      { "cmd:spawn({}, { parent = false })", "expected an entity, got false" },
      { "cmd:spawn(5)", "spawn: expected a list of components, got 5: write { Pose { x_m = 1 } }" },
      { "cmd:spawn(N)", "spawn: expected a list of components, got component N: write { Pose { x_m = 1 } }" },
      { "cmd:spawn(N { v = 1 })", "spawn: expected a list of components, got one: write { Pose { x_m = 1 } }" },
      { "cmd:spawn { e }", "spawn: value 1 is no component: write { Pose { x_m = 1 } }" },
      { "cmd:spawn { N, 5 }", "spawn: value 2 is no component: write { Pose { x_m = 1 } }" },
    }
    local said = run [[
      local a = cmd:spawn({ N, Tag {} }, { name = ("x"):rep(63), parent = e })
      local b = cmd:spawn()
      await(cmd:commit())
      print(#a:name(), a:parent() == e:id(), a:has(Tag), a:get(N).v, b:alive())]]
    assert.same({ "63\ttrue\ttrue\t0\ttrue" }, said)
  end)

  it("on a handle: it is alive while there is an entity of its name, and no error before and after", function()
    local said = run [[
      local late = stator.entity "late"
      print(late:alive())
      local id = cmd:spawn({}, { name = "late" })
      await(cmd:commit())
      print(late:alive(), late:id() == id)
      cmd:despawn(late)
      await(cmd:commit())
      print(late:alive(), select(2, stator.try(late.name, late)).message:match "there is no entity.*")]]
    assert.same({ "false", "true\ttrue", 'false\tthere is no entity "late"' }, said)
  end)

  it("that names a policy knows the three, and a name has no zero bytes", function()
    assert_refused {
      { "cmd:on_dead_target('strcit')", 'on_dead_target: expected "warn", "strict" or "ignore", got "strcit", did you mean "strict"?' },
      { "cmd:persist('a\\0b', 1)", 'persist: expected a name of 1 to 200 bytes without zero bytes, got "a\\000b"' },
      { "cmd:on_dead_target()", 'on_dead_target: expected "warn", "strict" or "ignore", got nil' },
    }
  end)

  it("that spawns below a parent that is gone says so", function()
    local said, cell = run [[
      local gone = cmd:spawn {} await(cmd:commit())
      cmd:despawn(gone) await(cmd:commit())
      cmd:spawn({}, { parent = gone })
      await(cmd:commit())
      cmd:on_dead_target "strict"
      cmd:spawn({}, { parent = gone })
      print(select(2, stator.try(function() await(cmd:commit()) end)).message)
      cmd:spawn({}, { name = "e" })
      print(select(2, stator.try(function() await(cmd:commit()) end)).message)]]
    assert.matches("^1 command without effect: spawn of entity %d+ below entity %d+, which does not exist any more %(main.lua:14%)",
      support.said(cell, "without effect")[1])
    assert.matches("^main.lua:17: the batch was rejected whole: spawn of entity %d+ below entity %d+: its parent does not exist$", said[2])
    assert.matches('^main.lua:19: the batch was rejected whole: spawn of "e": name already taken$', said[3])
  end)

  it("stores nothing in an entity field that is no entity", function()
    local cases, wants = {}, "Ref.to: expected an entity, got "
    for value, shown in pairs { ["-1"] = "-1", ["0/0"] = 0 / 0, ["1/0"] = "inf", ["1e300"] = "1e+300", ["1.5"] = "1.5", ["2^32 + 0.5"] = 2 ^ 32 + 0.5,
      ["5"] = "5", ["N"] = "component N", ["{ id = 7 }"] = "a table", ["true"] = "true", ["'e'"] = '"e"' } do
      cases[#cases + 1] = { ("cmd:set(e, Ref, { to = %s })"):format(value), wants .. tostring(shown) }
      cases[#cases + 1] = { ("cmd:set(e, Ref, { list = { 0, %s } })"):format(value), "Ref.list: expected an entity, got " .. tostring(shown) }
      cases[#cases + 1] = { ("e:when(Ref, { to = %s })"):format(value), wants .. tostring(shown) }
    end
    assert_refused(cases)
    local said = run [[
      local id = cmd:spawn {}
      cmd:set(e, Ref, { to = e, list = { id, 0 } }) await(cmd:commit())
      print(e:get(Ref).to == e:id(), e:get(Ref).list[1] == id, e:get(Ref).list[2])
      cmd:set(e, Ref, { to = 0, list = { 0, e } }) await(cmd:commit())
      print(e:get(Ref).to, e:get(Ref).list[1], e:get(Ref).list[2] == e:id())]]
    assert.same({ "true\ttrue\tnil", "nil\tnil\ttrue" }, said)
  end)

  it("is no more lenient in a writer: an entity, or nil for none", function()
    local cell = support.cell {
      main = [[
local stator = require "stator"
local Ref = stator.component("Ref", { "entity to", "entity list[2]" })
local e = stator.entity "e"
stator.system("w", { write = { Ref }, phase = "startup" }, function(_, q)
  for _, row in q:each() do
    row.to, row.list[1], row.list[2] = e, e, nil
    print(row.to == e:id(), row.list[1] == e:id(), row.list[2])
    row.to = nil
    print(row.to)
    for _, v in ipairs { -1, 1.5, 1e300, 0 / 0 } do
      print(select(2, pcall(function() row.to = v end)))
      print(select(2, pcall(function() row.list[2] = v end)))
    end
    print(row.to, row.list[2])
  end
end)]],
      entities = [=[[ { "name": "e", "components": { "Ref": {} } } ]]=],
    }
    cell:advance(0.5)
    local said = support.said(cell)
    assert.equal(11, #said)
    assert.equal("true\ttrue\tnil", said[1])
    assert.equal("nil", said[2])
    assert.equal("main.lua:11: Ref.to: expected an entity, got -1", said[3])
    assert.equal("main.lua:12: list: expected an entity, got -1", said[4])
    for i = 3, 10 do assert.matches("^main.lua:1[12]: .*expected an entity, got", said[i]) end
    assert.equal("nil\tnil", said[11])
  end)
end)

describe("a bulk command", function()
  after_each(support.finish)

  it("spawns many entities, each field one value or a column", function()
    local said = run [[
      local ids = cmd:spawn_many(3, { N { v = { 1, 2, 3 } }, Ref { to = e, list = { e:id(), 0 } }, Tag })
      print(#ids, ids[1]:alive())
      await(cmd:commit())
      for i, id in ipairs(ids) do
        print(id:get(N).v, id:get(Ref).to == e:id(), id:get(Ref).list[1] == e:id(), id:get(Ref).list[2], id:has(Tag))
      end
      cmd:set_many(ids, N, { v = { 10, 20, 30 } })
      cmd:set_many({ ids[1], e }, Ref, { to = 0 })
      await(cmd:commit())
      print(ids[1]:get(N).v, ids[3]:get(N).v, ids[1]:get(Ref).to, ids[2]:get(Ref).to == e:id(), e:get(Ref).to)
      cmd:set_many({}, N, { v = 1 })
      local ok, p = stator.try(function()
        cmd:spawn_many(2, { N })
        cmd:set_many({ ids[1], cmd:spawn {} }, N, { v = 99 })
        await(cmd:commit())
      end)
      print(ok, p.code, ids[1]:get(N).v, q:count())
    ]]
    local row = "\ttrue\ttrue\tnil\ttrue"
    assert.same({ "3\tfalse", "1" .. row, "2" .. row, "3" .. row, "10\t30\tnil\ttrue\tnil",
      "false\tbatch_rejected\t10\t4" }, said)
  end)

  it("is checked whole before anything is recorded", function()
    assert_refused {
      { "cmd:spawn_many(0, { N })", "spawn_many: expected a count from 1 to 1000000, got 0" },
      { "cmd:spawn_many(2, N)", "spawn_many: expected a list of components: write { Pose { x_m = { 1, 2, 3 } } }" },
      { "cmd:spawn_many(2, { 3 })", "spawn_many: expected a component, got false" },
      { "cmd:spawn_many(2, { N { v = { 1 } } })", "spawn_many: N.v: expected 2 values, got 1" },
      { "cmd:spawn_many(2, { N { v = { 1, 'x' } } })", 'N.v: expected a number, got "x"' },
      { "local t = { x = 1 } cmd:spawn_many(2, { Tag(t) })", "spawn_many: Tag is a tag and has no fields" },
      { "cmd:set_many({ e }, N, { v = { 1, 2 } })", "set_many: N.v: expected 1 values, got 2" },
      { "local t = { v = 1, u = 2 } cmd:set_many({ e }, N, t)", 'N has no field "u", did you mean "v"?' },
      { "cmd:set_many({ 'e' }, N, { v = 1 })", 'expected an entity, got "e": write stator.entity(name)' },
      { "local t = { v = 1 } cmd:set_many({ e }, Tag, t)", "set_many: Tag is a tag and has no fields" },
    }
  end)
end)
