local support = require "support"

local BEFORE = [[
local Mode = stator.enum("Mode", { "idle", "auto", "fault" })
local Motor = stator.component("Motor", {
  "double speed_rpm = 5", "float temp_c", "bool running", "char label[6] = \"m1\"", "entity drive",
  "uint8_t level", "int16_t signed_value", "Mode mode = auto", "double joint[3]", "entity slots[2]",
})
local Tag = stator.component("Tag", {})
local e, d = stator.entity "e", stator.entity "d"
]]
local ENTITIES = [=[[ { "name": "e", "components": { "Motor": {}, "Tag": {} } }, { "name": "d" } ]]=]

local function run(body)
  local said, faults, cell = support.run_task(body, { before = BEFORE, entities = ENTITIES, seconds = 1 })
  assert.same({}, faults)
  return said, cell
end

describe("a component", function()
  after_each(support.finish)

  it("reads its defaults, text as a string, an entity 0 as nil, an enum as its ordinal", function()
    local said = run [[
      local m = e:get(Motor)
      print(m.speed_rpm, m.label, m.drive, m.mode == Mode.auto, m.joint[1], #m.joint, m.slots[2])
      cmd:set(e, Motor, { drive = d, label = "abcdef", mode = "fault", joint = { 1, 2, 3 }, slots = { d, 0 } })
      await(cmd:commit())
      m = e:get(Motor)
      print(m.label, m.drive == d:id(), Mode:name_of(m.mode), m.joint[3], m.slots[1] == d:id(), m.slots[2])
    ]]
    assert.same({ "5\tm1\tnil\ttrue\t0\t3\tnil", "abcdef\ttrue\tfault\t3\ttrue\tnil" }, said)
  end)

  it("refuses a write at its line, interpreted and compiled", function()
    local said = run [[
      local m = e:get(Motor)
      for i, write in ipairs {
        function() m.speed_rpm = 1 end, function() m.running = true end, function() m.label = "x" end,
        function() m.drive = d:id() end, function() m.joint[1] = 1 end, function() m.slots[1] = 1 end,
        function() m.joint = { 1, 2, 3 } end, function() m.mode = 2 end,
      } do print(i, pcall(write)) end
      local ok, problem
      for i = 1, 300 do ok, problem = pcall(function() for k = 1, 10 do if i == 300 then m.temp_c = k end end end) end
      print(ok, problem)
      print(e:get(Motor).speed_rpm, e:get(Motor).joint[1])
    ]]
    assert.equal(10, #said)
    for i = 1, 9 do
      assert.matches("false\t.*constant location", said[i])
      if i <= 8 then assert.matches("main.lua:%d+:", said[i]) end
    end
    assert.equal("5\t0", said[10])
  end)

  it("checks the index of an array, read and write", function()
    local said = run [[
      local m = e:get(Motor)
      for _, i in ipairs { 0, -1, 4, 1e9, 0/0, 1.5 } do print(pcall(function() return m.joint[i] end)) end
      print(pcall(function() return m.joint.x end))
    ]]
    for _, i in ipairs { 1, 2, 3, 4, 5, 7 } do assert.matches("^false\t.*joint: index .* is outside 1 to 3", said[i]) end
  end)

  it("names an unknown field with the nearest known one", function()
    local said = run [[
      print(pcall(function() return e:get(Motor).speed_rmp end))
      print(pcall(function() local v = { spead_rpm = 1 } cmd:set(e, Motor, v) end))
      print(pcall(function() local v = { labl = "x" } cmd:insert(e, Motor, v) end))
      print(pcall(function() return Mode.atuo end))
      print(pcall(function() return e:get(Motr) end))
    ]]
    assert.matches('Motor has no field "speed_rmp", did you mean "speed_rpm"', said[1])
    assert.matches('main.lua:%d+: Motor has no field "spead_rpm", did you mean "speed_rpm"', said[2])
    assert.matches('Motor has no field "labl", did you mean "label"', said[3])
    assert.matches('enum Mode has no member "atuo", did you mean "auto"', said[4])
    assert.matches('main.lua:%d+: unknown name "Motr"', said[5])
  end)

  it("refuses values that do not fit, and records nothing of them", function()
    local said = run [[
      for _, values in ipairs {
        { level = 256 }, { level = -1 }, { level = 1.5 }, { signed_value = 40000 }, { running = 1 }, { speed_rpm = "x" },
        { label = "too long" }, { mode = "nope" }, { mode = 7 }, { joint = { 1, 2 } }, { joint = 5 }, { drive = "e" },
      } do print(select(2, pcall(cmd.set, cmd, e, Motor, values))) end
      await(cmd:commit())
      local m = e:get(Motor)
      print(m.level, m.signed_value, m.running, m.speed_rpm, m.label, m.mode)
    ]]
    local expected = {
      "Motor.level: expected a whole number from 0 to 255, got 256", "got %-1", "got 1.5",
      "signed_value: expected a whole number from %-32768 to 32767, got 40000", "running: expected true or false, got 1",
      'speed_rpm: expected a number, got "x"', 'label: expected text of at most 6 bytes, got "too long"',
      '"nope" is no member of Mode', "expected a member of Mode, got 7", "joint: expected 3 values, got 2",
      "joint: expected 3 values, got number", 'drive: expected an entity, got "e"',
    }
    for i, pattern in ipairs(expected) do assert.matches(pattern, said[i]) end
    assert.equal("0\t0\tfalse\t5\tm1\t1", said[13])
  end)

  it("copies to plain values that outlive an await", function()
    local said = run [[
      local copy = e:copy(Motor)
      await(stator.sleep(0.1))
      print(copy.speed_rpm, copy.label, copy.joint[1], type(copy))
    ]]
    assert.same({ "5\tm1\t0\ttable" }, said)
  end)

  it("is found, missed and asked for by has, find and get", function()
    local said = run [[
      print(e:has(Motor), e:has(Tag), d:has(Tag), d:find(Motor))
      print(pcall(function() return d:get(Motor) end))
      print(pcall(function() return e:get(Tag) end))
      print(pcall(function() return (12345):get(Motor) end))
      print(pcall(function() return (5):gett(Motor) end))
    ]]
    assert.equal("true\ttrue\tfalse\tnil", said[1])
    assert.matches("main.lua:%d+: d has no Motor", said[2])
    assert.matches("Tag is a tag and has no values", said[3])
    assert.matches("entity 12345 does not exist", said[4])
    assert.matches('a number %(5%) has no field "gett", did you mean "get"', said[5])
  end)

  it("lies in the read-only mapping of the world", function()
    local _, cell = run "print(1)"
    local address = cell:eval [[
      local ffi = require "ffi"
      local Motor = require("stator.registry").live.components.Motor
      local id = require("stator.entity").entity("e"):id()
      return tonumber(ffi.cast("uintptr_t", require("stator.abi").C.ecs_view(require("stator.abi").world, id, Motor.id)))]]
    local view, _, bytes = cell:maps()
    assert.is_true(address >= view and address < view + bytes)
    local rights
    for line in support.read("/proc/self/maps"):gmatch("[^\n]+") do
      local from, to, flags = line:match("^(%x+)%-(%x+) (%S+)")
      if tonumber(from, 16) <= address and address < tonumber(to, 16) then rights = flags .. (line:match("memfd:%S+") or "") end
    end
    assert.equal("r--smemfd:stator-world", rights)
  end)

  it("kills a process that writes through a cast, in a child", function()
    local path = support.scene {
      scripts = { ["main.lua"] = 'local stator = require "stator"\n' .. BEFORE }, entities = ENTITIES,
    }
    local code = ([==[
      local harness = require "harness"
      local cell = harness.open { scene = %q, virtual = true }
      io.stdout:write("before\n") io.stdout:flush()
      cell:eval [=[
        local ffi, abi = require "ffi", require "stator.abi"
        local Motor = require("stator.registry").live.components.Motor
        ffi.cast("double *", abi.C.ecs_view(abi.world, require("stator.entity").entity("e"):id(), Motor.id))[0] = 66]=]
      io.stdout:write("after\n")]==]):format(path)
    local file = support.folder() .. "/cast_spec.lua"
    support.write(file, "it('writes', function() " .. code .. " end)")
    local out, rc = support.shell(("%s/build/%s/tests/stator_spec --ignore-lua %s 2>&1"):format(support.root,
      os.getenv("STATOR_PRESET") or "dev", file))
    assert.matches("before", out)
    assert.is_nil(out:find("after", 1, true))
    assert.is_true(rc ~= 0)
  end)

  it("has the layout that the core has", function()
    local _, cell = run "print(1)"
    assert.equal("ok", (cell:eval [[
      local ffi = require "ffi"
      for _, c in ipairs(require("stator.registry").live.component_list) do
        for _, t in ipairs { c.read_type, c.write_type, c.payload_type } do
          if ffi.sizeof(t) ~= c.size then return c.name .. " size " .. ffi.sizeof(t) end
        end
        for _, f in ipairs(c.fields or {}) do
          for _, t in ipairs { c.read_type, c.write_type, c.payload_type } do
            if ffi.offsetof(t, f.member) ~= f.offset then return c.name .. "." .. f.name end
          end
        end
      end
      return "ok"]]))
  end)

  it("has fields of any name that Lua can write, also words of C", function()
    local words = {}
    for word in ([[int double struct union enum const volatile signed unsigned short long float char void bool _Bool
      int8_t uint64_t size_t typedef static extern inline sizeof asm __attribute__ complex _Complex wchar_t register
      auto restrict switch case default continue intptr_t va_list __int64 _Alignas raw_x x]]):gmatch "%S+" do words[#words + 1] = word end
    for _, kind in ipairs { "double %s = 2", "uint8_t %s = 2", "int32_t %s = 2" } do
      local fields, sum = {}, 0
      for i, word in ipairs(words) do
        fields[i] = ("%q"):format(kind:format(word))
        sum = sum + 2 + i
      end
      local before = ([[ local C = stator.component("C", { %s })
        local order = stator.component("Order", { "char x[4]", "double raw_x" }) ]]):format(table.concat(fields, ", "))
      local said, faults = support.run_task(([[
        local words, values = { "%s" }, {}
        for i, word in ipairs(words) do values[word] = i end
        local w = stator.world
        cmd:insert(w, C) cmd:insert(w, order, { x = "ab", raw_x = 1.5 }) await(cmd:commit())
        cmd:add(w, C, values) await(cmd:commit())
        local n, copy = 0, w:copy(C)
        for _, word in ipairs(words) do assert(w:get(C)[word] == copy[word]) n = n + copy[word] end
        print(n, w:get(C).int, w:get(C).double, w:get(order).x, w:get(order).raw_x)
        cmd:set(w, C, { int = 9 }) await(cmd:commit())
        print(w:get(C).int, w:get(C).struct, select(2, pcall(function() w:get(C).int = 1 end)))]]):format(table.concat(words, '", "')),
        { before = before, seconds = 1 })
      assert.same({}, faults)
      assert.equal(("%d\t3\t4\tab\t1.5"):format(sum), said[1])
      assert.matches("^9\t5\tmain.lua:%d+: attempt to write to constant location", said[2])
    end
  end)

  it("has fields of other types whose names are words of C", function()
    local cell = support.cell [[
local stator = require "stator"
stator.struct("S", { "double struct = 1", "char union[3] = \"abc\"" })
local C = stator.component("C", { "float int[2]", "char char[4] = \"x\"", "entity const", "S static", "S void[2]", "bool long", "entity short[2]" })
stator.task("t", {}, function(cmd)
  local w = stator.world
  cmd:insert(w, C, { int = { 1, 2 }, const = w, void = { { struct = 5 }, {} }, long = true, short = { w, 0 } })
  stator.await(cmd:commit())
  local v = w:get(C)
  print(v.int[2], v.char, v.const == w:id(), v.static.struct, v.static.union, v.void[1].struct, v.void[2].struct, v.long, v.short[1] == w:id())
end)
stator.system("w", { write = { C } }, function(_, q)
  for _, row in q:each() do
    if row.int[1] == 1 then
      row.int[1], row.long, row.static.struct, row.static.union, row.const = 7, false, 8, "z", nil
      print(row.int[1], row.long, row.static.struct, row.static.union, row.const)
    end
  end
end)]]
    cell:advance(1)
    assert.same({}, support.faults(cell))
    local said = support.said(cell)
    table.sort(said)
    assert.same({ "2\tx\ttrue\t1\tabc\t5\t1\ttrue\ttrue", "7\tfalse\t8\tz\tnil" }, said)
  end)

  it("shares one ABI text between gcc and FFI", function()
    local _, cell = run "print(1)"
    local expected = support.shell(support.root .. "/build/" .. (os.getenv("STATOR_PRESET") or "dev") .. "/tests/test_abi --print")
    assert.is_true(#expected > 100)
    assert.equal(expected, (cell:eval(("local expected = %q\n"):format(expected) .. [[
      local ffi = require "ffi"
      require "stator.abi"
      return (expected:gsub("(%S+) %d+", function(name)
        local struct, member = name:match("^([^.]+)%.?(.*)$")
        return name .. " " .. tostring(member == "" and ffi.sizeof(struct) or ffi.offsetof(struct, member))
      end))]])))
  end)
end)

local STRUCTS = [[
local Mode = stator.enum("Mode", { "idle", "auto", "fault" })
stator.struct("Mark", { "uint8_t kind = 7", "Vec at", "Mode mode = auto" }) -- knows Vec, which comes later
stator.struct("Vec", { "double x = 1 [m]", "float y[2]", "char tag[4] = \"ab\"", "entity near" })
local Plan = stator.component("Plan", { "bool on", "Vec home", "Mark mark[2]", "int8_t last = -3" })
local e, d = stator.entity "e", stator.entity "d"
]]
local STRUCT_ENTITIES = [=[[ { "name": "e", "components": { "Plan": { "home": { "x": 4, "near": "d" },
  "mark": [ { "at": { "y": [5, 6] } }, { "mode": "fault" } ] } } }, { "name": "d" } ] ]=]

local function run_structs(body)
  local said, faults = support.run_task(body, { before = STRUCTS, entities = STRUCT_ENTITIES, seconds = 1 })
  assert.same({}, faults)
  return said
end

describe("a struct field", function()
  after_each(support.finish)

  it("is read at every level, with the scene's values and the defaults", function()
    assert.same({ "4\t0\tab\ttrue\t-3", "2\t7\t1\t6\tnil\ttrue", "fault\t1" }, run_structs [[
      local p = e:get(Plan)
      print(p.home.x, p.home.y[1], p.home.tag, p.home.near == d:id(), p.last)
      local m = p.mark[1]
      print(#p.mark, m.kind, m.at.x, m.at.y[2], m.at.near, m.mode == Mode.auto)
      local t = e:copy(Plan)
      print(Mode:name_of(t.mark[2].mode), t.mark[2].at.x)
    ]])
  end)

  it("refuses a write at every level, interpreted and compiled", function()
    local said = run_structs [[
      local p = e:get(Plan)
      local home, counts = p.home, {}
      for _, write in ipairs {
        function() p.home = home end, function() home.x = 2 end, function() home.y[1] = 2 end,
        function() home.tag = "x" end, function() home.near = 0 end, function() p.mark[1] = p.mark[2] end,
        function() p.mark[1].kind = 2 end, function() p.mark[1].at.x = 2 end, function() p.mark[1].at.y[2] = 2 end,
        function() p.mark[1].at = home end, function() p.mark[1].mode = 0 end, function() p.nope = 1 end,
        function() home.nope = 1 end,
      } do
        local refused = 0
        for _ = 1, 200 do if not pcall(write) then refused = refused + 1 end end
        counts[#counts + 1] = refused
      end
      print(table.concat(counts, " "))
      print(home.x, home.y[1], home.tag, p.mark[1].kind, p.mark[1].at.x)
      print(select(2, pcall(function() return home.nope end)), select(2, pcall(function() return p.mark[3] end)))
    ]]
    assert.equal(("200 "):rep(13), said[1] .. " ")
    assert.equal("4\t0\tab\t7\t1", said[2])
    assert.matches('Vec has no field "nope"', said[3])
    assert.matches("mark: index 3 is outside 1 to 2", said[3])
  end)

  it("is set as a whole: what is not named gets its default; a view is a value too", function()
    assert.same({ "9\t8\tab\tnil\t4", "1\t3\tcd\tauto", "9\t-3", "1" }, run_structs [[
      cmd:set(e, Plan, { home = { x = 9, y = { 7, 8 } } })
      await(cmd:commit())
      local p = e:get(Plan)
      print(p.home.x, p.home.y[2], p.home.tag, p.home.near, 4)
      cmd:set(e, Plan, { mark = { { kind = 1, mode = "auto", at = { tag = "cd", near = d } }, { at = p.home, kind = 3 } } })
      await(cmd:commit())
      p = e:get(Plan)
      print(p.mark[1].kind, p.mark[2].kind, p.mark[1].at.tag, Mode:name_of(p.mark[1].mode))
      print(p.mark[2].at.x, p.last)
      cmd:insert(e, Plan, {})
      await(cmd:commit())
      print(e:get(Plan).home.x)
    ]])
  end)

  it("says what is wrong with a value", function()
    local said = run_structs [[
      for _, values in ipairs { { home = 5 }, { home = { z = 1 } }, { home = { x = "a" } }, { home = { y = { 1 } } },
        { mark = { {} } }, { mark = { {}, { at = { tag = "12345" } } } }, { mark = { {}, { mode = "atuo" } } } } do
        print((select(2, pcall(cmd.set, cmd, e, Plan, values))))
      end
      print((select(2, pcall(cmd.add, cmd, e, Plan, { home = { x = 1 } }))))
      print((select(2, pcall(e.when, e, Plan, { home = 1 }))))
    ]]
    for i, text in ipairs { "Vec: expected a table of fields, got 5", 'Vec has no field "z"',
      'Vec.x: expected a number, got "a"', "Vec.y: expected 2 values, got 1", "Plan.mark: expected 2 values, got 1",
      'Vec.tag: expected text of at most 4 bytes, got "12345"', '"atuo" is no member of Mode, did you mean "auto"?',
      "Plan.home: struct cannot be added to", "Plan.home: a condition compares single numbers" } do
      assert.truthy(said[i]:find(text, 1, true), said[i])
    end
  end)

  it("is written by a system in place", function()
    local said, faults = support.run_task([[
      await(stator.next_tick())
      await(stator.next_tick())
      local p = e:get(Plan)
      print(p.home.x > 4, p.home.tag, p.mark[2].at.y[1] > 0, p.mark[2].at.near == d:id())
    ]], { entities = STRUCT_ENTITIES, seconds = 1, before = STRUCTS .. [[
      stator.system("grow", { write = { Plan } }, function(_, q)
        for first, last, plans in q:chunks() do
          for i = first, last do
            local p = plans[i]
            p.home.x = p.home.x + 1
            p.home.tag = "new"
            local at = p.mark[2].at
            at.y[1] = at.y[1] + 1
            at.near = d:id()
          end
        end
      end)
    ]] })
    assert.same({}, faults)
    assert.same({ "true\tnew\ttrue\ttrue" }, said)
  end)
end)

describe("a query", function()
  after_each(support.finish)

  it("with changed or added leaves out what is not new since its last walk", function()
    local said = support.run_task([[
      local function walk() local n = 0 for _ in q:each() do n = n + 1 end return n end
      local a = cmd:spawn { N { v = 1 } } cmd:spawn { N { v = 2 }, T {} } await(cmd:commit())
      print(q:count(), walk(), walk(), q:count())
      cmd:set(a, N, { v = 5 }) await(cmd:commit())
      print(walk(), walk(), #fresh:ids(), #fresh:ids())
      cmd:spawn { N {} } await(cmd:commit())
      for _ in q:each() do break end -- left early
      print(walk(), #fresh:ids())
    ]], { before = [[
local N, T = stator.component("N", { "double v" }), stator.component("T", {})
local q, fresh = stator.query { read = { N }, changed = { N } }, stator.query { read = { N }, added = { N } }]] })
    assert.same({ "2\t2\t0\t0", "1\t0\t2\t0", "2\t2" }, said)
  end)

  it("tells whose the newest write was", function()
    local said = support.run_task([[
      local a = cmd:spawn { N { v = 1 } } await(cmd:commit())
      print(a:provenance(N))
      await(stator.sleep(0.1))
      print(a:provenance(N))
      print(pcall(a.provenance, a, T))
    ]], { before = [[
local N, T = stator.component("N", { "double v" }), stator.component("T", {})
stator.system("w", { write = { N }, every = 0.05 }, function(cmd, q) for _, n in q:each() do n.v = 2 end end)]] })
    assert.matches("^main/t\tmain.lua:%d+\t%d+$", said[1])
    assert.matches("^main/w\tnil\t%d+$", said[2])
    assert.matches("^false\tmain.lua:%d+: provenance: the entity lacks T$", said[3])
  end)

  it("yields write, read, maybe columns; first, ids, count, copy", function()
    local said = support.run_task([[
      for i = 1, 40 do
        local id = cmd:spawn { A { v = i } }
        if i % 2 == 0 then cmd:insert(id, B, { w = -i }) end
        if i % 10 == 0 then cmd:insert(id, T) end
      end
      await(cmd:commit())
      local n, sum, bs = 0, 0, 0
      for e, a, b in q:each() do n, sum = n + 1, sum + a.v if b then bs = bs + b.w end end
      print(n, sum, bs, q:count(), #q:ids())
      local rows = 0
      for first, last, a, b in q:chunks() do
        for i = first, last do rows = rows + 1 end
        print(last + 1, #a, b and #b)
      end
      local e, a = q:first()
      print(a.v, q:copy()[1].A.v, q:copy()[1].entity == e)
      local total = 0
      for e1 in q:each() do for e2 in q:each() do total = total + 1 if e2 == e1 then break end end end
      print(total)
    ]], { before = [[
local A = stator.component("A", { "double v" })
local B = stator.component("B", { "double w" })
local T = stator.component("T", {})
local q = stator.query { read = { A }, maybe = { B }, without = { T } }]] })
    assert.same({ "36\t720\t-320\t36\t36", "20\t20\tnil", "16\t16\t16", "1\t1\ttrue", "666" }, said)
  end)

  it("gives a writer mutable rows: numbers, text, arrays; checked", function()
    local cell = support.cell {
      main = 'local stator = require "stator"\n' .. BEFORE .. [[
stator.system("w", { write = { Motor }, phase = "startup" }, function(_, q)
  for first, last, motors in q:chunks() do
    for i = first, last do
      local m = motors[i]
      m.speed_rpm, m.label, m.drive, m.joint[2], m.mode = 9, "new", d:id(), 4, Mode.fault
      print(pcall(function() m.label = "far too long" end))
      print(pcall(function() m.joint[4] = 1 end))
      print(pcall(function() m.nope = 1 end))
      print(pcall(function() motors[i] = m end))
      print(pcall(function() return motors[1] end))
    end
  end
end)
stator.system("r", { read = { Motor } }, function(_, q)
  for _, m in q:each() do print(m.speed_rpm, m.label, m.drive == d:id(), m.joint[2], m.mode) end
end)]],
      entities = ENTITIES,
    }
    cell:advance(0.0205)
    local said = support.said(cell)
    assert.equal("5\tm1\tfalse\t0\t1", said[1])
    assert.matches('"far too long" is longer than 6 bytes', said[2])
    assert.matches("index 4 is outside 1 to 3", said[3])
    assert.matches('no field "nope"', said[4])
    assert.matches("bind the row", said[5])
    assert.matches("row 1 is outside 0 to 0", said[6])
    assert.equal("9\tnew\ttrue\t4\t2", said[7])
  end)
end)

describe("a sparse component", function()
  after_each(support.finish)

  local SPARSE = [[
local N, Alarm = stator.component("N", { "double v" }), stator.component("Alarm", { "double level = 5" }, { sparse = true })
local with = stator.query { read = { N }, with = { Alarm } }
local without = stator.query { read = { N }, without = { Alarm } }
local function values(q) local t = {} for _, n in q:each() do t[#t + 1] = n.v end return table.concat(t, " ") end
]]

  it("comes and goes, is read by id, and is named in with and without", function()
    local said, faults = support.run_task([[
      local ids = {}
      for i = 1, 6 do ids[i] = cmd:spawn { N { v = i } } end
      for _, i in ipairs { 2, 3, 5 } do cmd:insert(ids[i], Alarm, { level = i * 10 }) end
      await(cmd:commit())
      print(values(with), "|", values(without), "|", with:count(), ids[3]:get(Alarm).level, ids[1]:has(Alarm))
      cmd:remove(ids[3], Alarm) cmd:insert(ids[4], Alarm) cmd:set(ids[5], Alarm, { level = 1 }) await(cmd:commit())
      print(values(with), "|", values(without), "|", ids[4]:get(Alarm).level, ids[5]:get(Alarm).level)
      for first, last, n in with:chunks() do print(first, last, n[first].v) end
    ]], { before = SPARSE })
    assert.same({}, faults)
    assert.same({ "2 3 5\t|\t1 4 6\t|\t3\t30\tfalse", "2 4 5\t|\t1 3 6\t|\t5\t1" },
      { said[1], said[2] })
    assert.same({ "0\t0\t2", "0\t1\t4" }, { said[3], said[4] })
  end)

  it("wakes what waits for it, starts and ends a task for each entity, and is observed", function()
    local said, faults = support.run_task([[
      local e = cmd:spawn { N {} } await(cmd:commit())
      cmd:insert(e, Alarm, { level = 1 }) await(e:when(Alarm, { level = 1 })) print "one"
      cmd:set(e, Alarm, { level = 2 }) await(e:when(Alarm, { level = 2 })) print "two"
      cmd:remove(e, Alarm) await(stator.sleep(0.1))
    ]], { before = SPARSE .. [[
stator.per_entity("watch", { with = { Alarm } }, function(cmd, me)
  stator.defer(function() print "ended" end)
  print "started"
  await(stator.sleep(60))
end)
stator.observer("a", { added = Alarm }, function() print "inserted" end)
stator.observer("r", { removed = Alarm }, function() print "removed" end)]] })
    assert.same({}, faults)
    table.sort(said)
    assert.same({ "ended", "inserted", "one", "removed", "started", "two" }, said)
  end)
end)
