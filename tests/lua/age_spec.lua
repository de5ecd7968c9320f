-- Values know their age: e:age(C), e:get(C, { max_age_s }).
local support = require "support"

local BEFORE = [[
local A = stator.component("A", { "double v", "bool on" }, { age = true })
local S = stator.component("S", { "double v" }, { age = true, sparse = true })
local B = stator.component("B", { "double v" })
local T = stator.component("T", {})
local e, f = stator.entity "e", stator.entity "f"
local function age(id, c) return ("%.3f"):format(id:age(c or A)) end
]]
local ENTITIES = [=[[ { "name": "e", "components": { "A": {}, "B": {}, "S": {} } }, { "name": "f", "components": { "A": {} } } ]]=]

local function run(body, before, seconds)
  return support.run_task(body, { before = BEFORE .. (before or ""), entities = ENTITIES, seconds = seconds })
end

describe("the age of a value", function()
  after_each(support.finish)

  it("A1 is that of the entity's last write, to whichever field, not of its chunk's", function()
    local said = run([[
      cmd:set(e, A, { v = 1 }) cmd:insert(f, A)
      await(stator.sleep(0.5))
      cmd:set(f, A, { on = true })
      await(stator.sleep(0.25))
      print(age(e), age(f))
      cmd:add(e, A, { v = 1 })
      await(cmd:commit())
      print(age(e), age(f))
      cmd:remove(e, A)
      await(cmd:commit())
      cmd:insert(e, A, { v = 3 })
      await(stator.sleep(0.1))
      print(age(e))
      local id = cmd:spawn({ A {}, S {} })
      await(stator.sleep(0.2))
      print(age(id), age(id, S), e:age(S))
      cmd:set(e, S, { v = 1 })
      await(stator.sleep(0.3))
      print(age(e, S))
    ]])
    assert.same({ "0.750\t0.250", "0.000\t0.250", "0.100", "0.200\t0.200\tinf", "0.300" }, said)
  end)

  it("A1 of what the scene gave is without end: nobody has seen it since", function()
    local said = run([[
      print(e:age(A), (select(2, pcall(e.get, e, A, { max_age_s = 1e6 })).message))
    ]])
    assert.same({ "inf\tmain.lua:11: A of e was not written since the cell started" }, said)
  end)

  it("A2 that is more than max_age_s raises stale, at the line", function()
    local said = run([[
      cmd:set(e, A, { v = 4 })
      await(stator.sleep(0.2))
      print(e:get(A, { max_age_s = 0.2 }).v, e:copy(A, { max_age_s = 0.5 }).v, e:get(A).v)
      await(stator.sleep(0.05))
      local ok, p = stator.try(function() return e:get(A, { max_age_s = 0.2 }) end)
      print(ok, p.code, p.message)
      ok, p = pcall(function() return e:copy(A, { max_age_s = 0 }) end)
      print(ok, p.code)
      print(e:id():get(A, { max_age_s = 1 }).v)
    ]])
    assert.same({ "4\t4\t4", "false\tstale\tmain.lua:15: A of e was last written 0.250 s ago, which is more than 0.2 s",
      "false\tstale", "4" }, said)
  end)

  it("A3 begins anew when the value is confirmed, and nobody is told of a change", function()
    local said = run([[
      cmd:set(e, A, { v = 1 })
      await(stator.sleep(0.5))
      cmd:confirm(e, A)
      await(stator.sleep(0.1))
      print(age(e))
      local ok = stator.try(function() cmd:confirm(e, A) error "no" end)
      await(stator.sleep(0.1))
      print(age(e))
      cmd:confirm(e, T)
      print((select(2, pcall(function() cmd:confirm(e, "A") end))))
    ]], [[stator.observer("o", { changed = A }, function() print "changed" end)]])
    assert.same({ "changed", "0.100", "0.200" }, { said[1], said[2], said[3] })
    assert.matches('confirm: expected a component, got "A", did you mean "A"', said[4])
  end)

  it("A4 counts a writer for the rows of the boxes that it did not skip", function()
    local said = run([[
      await(stator.sleep(0.055))
      print(age(e, A), age(f, A))
      print(e:age(S))
    ]], [[
stator.system("w", { write = { A }, with = { B } }, function(_, q)
  for first, last, a in q:chunks() do
    for i = first, last do a[i].v = a[i].v + 1 end
  end
end)
stator.system("skips", { write = { A }, without = { B } }, function(_, q)
  for _, _, a in q:chunks() do a:skip() end
end)]])
    assert.same({ "0.005\tinf", "inf" }, said)
  end)

  it("is refused for what has none", function()
    local said = run([[
      for i, bad in ipairs {
        function() e:age(B) end, function() e:age(T) end, function() f:age(B) end, function() e:get(B, { max_age_s = 1 }) end,
        function() e:get(A, { max_age = 1 }) end, function() e:get(A, { max_age_s = "x" }) end, function() e:age "A" end,
      } do print(i, (select(2, pcall(bad)))) end
    ]])
    for i, wanted in ipairs {
      "B does not keep its age: declare it with { age = true }", "T is a tag", "f has no B", "B does not keep its age",
      'get: unknown option "max_age", did you mean "max_age_s"', "get: max_age_s is seconds from 0 on", "expected a component",
    } do assert.matches(wanted, said[i], 1, true) end
    local ok = pcall(support.cell, { main = 'local stator = require "stator"\nstator.component("T", {}, { age = true })' })
    assert.is_false(ok)
  end)

  it("A5 of a component that input points fill is kept, and is as young as the last read", function()
    local cell = support.cell {
      virtual = false,
      scripts = {
        ["main.lua"] = [[
local stator = require "stator"
local await = stator.await
local Eye = stator.component("Eye", { "bool blocked" })
local eye, plc = stator.entity "eye", stator.link "plc"
stator.task("t", {}, function(cmd)
  print("before", (select(2, pcall(eye.get, eye, Eye, { max_age_s = 10 })).code))
  repeat await(stator.sleep(0.01)) until eye:age(Eye) < 1
  print("read", eye:get(Eye, { max_age_s = 1 }).blocked)
  local young, seen = 0, {}
  for _ = 1, 40 do -- the value stays the same; its age falls back with every read
    local age = eye:age(Eye)
    if seen.last and age < seen.last then young = young + 1 end
    seen.last = age
    await(stator.sleep(0.01))
  end
  print("again", young >= 2)
  await(plc:write_coil(0, true)) -- the device stops to answer
  repeat await(stator.sleep(0.02)) until eye:age(Eye) > 0.3
  print("stale", (select(2, pcall(eye.get, eye, Eye, { max_age_s = 0.2 })).code))
end)]], },
      files = { ["sim.lua"] = [[
local stator = require "stator"
return function(plc)
  for _ in stator.every(0.01) do
    if plc.coils[0] then plc.answers = false end
  end
end]] },
      scene = [[{ "scripts": ["main.lua"],
        "links": { "plc": { "driver": "modbus_tcp", "simulate": "sim.lua", "scan_s": 0.05, "points": { "eye.Eye.blocked": "di 3" } } },
        "entities": [ { "name": "eye", "components": { "Eye": {} } } ] }]],
    }
    support.wait_for(cell, "stale\t")
    assert.same({ "before\tstale", "read\tfalse", "again\ttrue", "stale\tstale" }, support.said(cell, "^%a+\t"))
  end)
end)
