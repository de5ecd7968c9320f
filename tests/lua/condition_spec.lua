-- Conditions: when, rising, falling, changed, added, removed, despawned, when_count, and their options.
local support = require "support"

local BEFORE = [[
local Mode = stator.enum("Mode", { "idle", "auto" })
local N = stator.component("N", { "bool on", "int32_t v", "Mode mode", "double list[2]" })
local T = stator.component("T", {})
local all, tagged = stator.query { with = { N } }, stator.query { with = { T }, without = { N } }
local e = stator.entity "e"
-- sets fields at times: { seconds, values }, ...
local function plan(...)
  for _, item in ipairs { ... } do
    stator.spawn(function()
      await(stator.sleep(item[1]))
      if type(item[2]) == "function" then item[2]() else cmd:set(e, N, item[2]) end
    end)
  end
end
local function ends(op)
  local ok, p = stator.try(function() await(op) end)
  return ok and ("%.3f"):format(stator.now()) or p.code
end
]]
local ENTITIES = [=[[ { "name": "e", "components": { "N": {} } } ]]=]

local function run(body, before, seconds)
  return support.run_task(body, { before = BEFORE .. (before or ""), entities = ENTITIES, seconds = seconds or 5 })
end

--- Runs the body with conditions of C, then the same ones as functions of the view.
local function both(name, body, expected)
  for _, cond in ipairs { '"on"', "{ on = true }", "function(n) return n.on end" } do
    it(name .. " (" .. cond .. ")", function()
      assert.same(expected, (run("local ON = " .. cond .. "\n" .. body)))
      support.finish()
    end)
  end
end

describe("conditions", function()
  after_each(support.finish)

  both("K1 when is level: at once when it holds", [[
    plan({ 0.1, { on = true } })
    print(ends(e:when(N, ON)), ends(e:when(N, ON)))
  ]], { "0.100\t0.100" })

  both("K1 rising and falling are edges", [[
    plan({ 0.1, { on = true } }, { 0.2, { on = false } }, { 0.3, { on = true } })
    await(stator.sleep(0.15))
    print(ends(e:rising(N, ON)))
    plan({ 0.1, { on = false } })
    print(ends(e:falling(N, ON)))
  ]], { "0.300", "0.400" })

  both("K2 hold_s: it stays so without a break", [[
    plan({ 0.1, { on = true } }, { 0.15, { on = false } }, { 0.2, { on = true } }, { 0.22, { v = 1 } })
    print(ends(e:when(N, ON, { hold_s = 0.1 })))
  ]], { "0.300" })

  both("K2 hold_s of an edge", [[
    plan({ 0.1, { on = true } }, { 0.15, { on = false } }, { 0.3, { on = true } })
    cmd:set(e, N, { on = true })
    await(cmd:commit())
    plan({ 0.05, { on = false } })
    print(ends(e:rising(N, ON, { hold_s = 0.1 })))
  ]], { "0.400" })

  both("K2 hold_s of falling", [[
    plan({ 0.1, { on = true } }, { 0.2, { on = false } }, { 0.25, { on = true } }, { 0.3, { on = false } })
    print(ends(e:falling(N, ON, { hold_s = 0.1 })))
  ]], { "0.400" })

  both("K2 hold_s ends with a value that falls in the apply in which the wait begins", [[
    cmd:set(e, N, { on = true })
    await(cmd:commit())
    plan({ 0, { on = false } }, { 0.05, { on = true } })
    await(stator.sleep(0))
    print(ends(e:when(N, ON, { hold_s = 0.02 })))
  ]], { "0.070" })

  it("K2 hold_s starts over for a value that flickers in the round of its wake-up", function()
    local said = run([[
      cmd:set(e, N, { on = true })
      await(cmd:commit())
      cmd:set(e, N, { on = false }) -- applied after the wait has begun: the await seals it
      stator.spawn(function() await(stator.sleep(0.01)) cmd:set(e, N, { on = true }) end)
      print(ends(e:when(N, "on", { hold_s = 0.1 })))
    ]])
    assert.same({ "0.110" }, said)
  end)

  both("K3 within gives up, with what it waits for", [[
    print(ends(e:when(N, ON, { within = 0.1 })), ends(e:rising(N, ON, { within = 0.1 })), stator.now())
    plan({ 0.05, { on = true } })
    print(ends(e:when(N, ON, { hold_s = 0.2, within = 0.1 })), stator.now())
    print(ends(e:falling(N, ON, { hold_s = 0.2, within = 0.1 })), stator.now())
  ]], { "timeout\ttimeout\t0.2", "timeout\t0.3", "timeout\t0.4" })

  both("K4 begins when the operation starts, not when it is made", [[
    plan({ 0.1, { on = true } }, { 0.2, { on = false } }, { 0.3, { on = true } })
    local rising, when = e:rising(N, ON), e:when(N, ON)
    await(stator.sleep(0.25))
    print(ends(rising), ends(when))
  ]], { "0.300\t0.300" })

  both("K5 does not see what begins and ends within one apply", [[
    plan({ 0.1, function() cmd:set(e, N, { on = true }) cmd:set(e, N, { on = false }) end }, { 0.2, { on = true } })
    print(ends(e:rising(N, ON)))
  ]], { "0.200" })

  both("K6 is told gone when the entity goes first, whatever it waits for", [[
    local op = { "when", "rising", "falling" }
    for i = 1, 6 do
      local name = op[(i - 1) % 3 + 1]
      local id = cmd:spawn({ N { on = name == "falling" } })
      await(cmd:commit())
      plan({ 0.05, function() cmd:despawn(id) end })
      print(i, ends(id[name](id, N, ON, { hold_s = i > 3 and 1 or nil })))
    end
  ]], { "1\tgone", "2\tgone", "3\tgone", "4\tgone", "5\tgone", "6\tgone" })

  both("K6 waits for an entity that is spawned in the same batch", [[
    for _, name in ipairs { "when", "rising", "falling" } do
      local id = cmd:spawn { N { on = name == "falling" } }
      plan({ 0.05, function() cmd:set(id, N, { on = name ~= "falling" }) end })
      print(name, ends(id[name](id, N, ON)))
    end
  ]], { "when\t0.050", "rising\t0.100", "falling\t0.150" })

  it("K6 waits for an entity that is spawned in the same batch: changed, added, removed, despawned", function()
    local said = run([[
      for _, name in ipairs { "changed", "added", "removed", "despawned" } do
        local id = cmd:spawn { N {} }
        plan({ 0.05, function() if name == "removed" then cmd:remove(id, N) else cmd:despawn(id) end end })
        print(name, ends(id[name](id, name ~= "despawned" and N or nil)))
        await(stator.sleep(0.1))
      end
    ]])
    assert.same({ "changed\t0.000", "added\t0.100", "removed\t0.250", "despawned\t0.400" }, said)
  end)

  it("K6 is told gone when the batch that spawns it is refused, dropped, or despawns it", function()
    local said = run([[
      for _, name in ipairs { "when", "despawned" } do
        local function wait(id) return stator.start(id[name](id, name == "when" and N or nil, name == "when" and "on" or nil)) end
        local dropped, refused
        stator.try(function() dropped = wait(cmd:spawn { N {} }) error "no" end)
        print("dropped", name, ends(dropped))
        stator.try(function()
          refused = wait(cmd:spawn { N {} })
          cmd:set(stator.world, N, { v = 1 })
          await(cmd:commit())
        end)
        print("refused", name, ends(refused))
        local id = cmd:spawn { N {} }
        cmd:despawn(id)
        print("both", name, ends(wait(id)))
      end
    ]])
    assert.same({ "dropped\twhen\tgone", "refused\twhen\tgone", "both\twhen\tgone", "dropped\tdespawned\t0.000",
      "refused\tdespawned\t0.000", "both\tdespawned\t0.000" }, said)
  end)

  it("K6 is told gone when the entity goes first: changed and added; removed and despawned end", function()
    local said = run([[
      for _, name in ipairs { "changed", "added", "removed", "despawned" } do
        local id = cmd:spawn(name == "added" and {} or { N {} })
        await(cmd:commit())
        local at = stator.now() + 0.05
        plan({ 0.05, function() cmd:despawn(id) end })
        print(name, ends(id[name](id, name ~= "despawned" and N or nil)) == ("%.3f"):format(at))
        print(name, ends(id[name](id, name ~= "despawned" and N or nil)) == "gone")
      end
    ]])
    assert.same({ "changed\tfalse", "changed\ttrue", "added\tfalse", "added\ttrue", "removed\ttrue", "removed\tfalse",
      "despawned\ttrue", "despawned\tfalse" }, said)
  end)

  both("K7 a component that goes counts as false, and may come back", [[
    cmd:set(e, N, { on = true })
    await(cmd:commit())
    plan({ 0.1, function() cmd:remove(e, N) end }, { 0.2, function() cmd:insert(e, N, { on = true }) end })
    print(ends(e:falling(N, ON)), ends(e:rising(N, ON)))
    plan({ 0.1, function() cmd:remove(e, N) cmd:insert(e, N, { on = true }) end }, { 0.2, { on = false } })
    print(ends(e:falling(N, ON)))
  ]], { "0.100\t0.200", "0.400" })

  it("K8 changed compares bytes, of all fields or one", function()
    local said = run([[
      plan({ 0.1, { on = false } }, { 0.2, { v = 1 } }, { 0.3, { mode = "auto" } }, { 0.4, { list = { 0, 1 } } })
      stator.scope(function()
        stator.spawn(function() print("any", ends(e:changed(N))) end)
        stator.spawn(function() print("mode", ends(e:changed(N, "mode"))) end)
        stator.spawn(function() print("list", ends(e:changed(N, "list"))) end)
      end)
    ]])
    assert.same({ "any\t0.200", "mode\t0.300", "list\t0.400" }, said)
  end)

  it("K9 added and removed are edges of having the component", function()
    local said = run([[
      plan({ 0.1, function() cmd:remove(e, N) end }, { 0.2, function() cmd:insert(e, N) end },
        { 0.3, function() cmd:remove(e, N) cmd:insert(e, N) end }, { 0.4, function() cmd:remove(e, N) end })
      stator.scope(function()
        stator.spawn(function() print("added", ends(e:added(N))) end)
        stator.spawn(function() print("removed", ends(e:removed(N)), ends(e:removed(N))) end)
      end)
      print(ends(e:when(N, nil, { within = 0.1 })))
    ]])
    assert.same({ "added\t0.200", "removed\t0.100\t0.400", "timeout" }, said)
  end)

  it("K10 when_count waits until a query's count fulfils it", function()
    local said = run([[
      local ids = {}
      plan({ 0.1, function() ids[1] = cmd:spawn({ N {} }) ids[2] = cmd:spawn({ N {} }) end }, { 0.2, function() cmd:despawn(ids[1]) end },
        { 0.3, function() cmd:remove(ids[2], N) end }, { 0.4, function() cmd:insert(ids[2], T) end })
      stator.scope(function()
        for _, n in ipairs { 1, 2, 3, { min = 2 }, { max = 2 }, { min = 3, max = 4 } } do
          stator.spawn(function() print(type(n) == "table" and (n.min or "") .. ".." .. (n.max or "") or n, ends(all:when_count(n))) end)
        end
        stator.spawn(function() print("tagged", ends(tagged:when_count(1)), ends(tagged:when_count(0, { within = 0.1 }))) end)
      end)
    ]])
    assert.same({ "1\t0.000", "..2\t0.000", "3\t0.100", "2..\t0.100", "3..4\t0.100", "2\t0.200", "tagged\t0.400\ttimeout" }, said)
  end)

  it("K10 when_count with hold_s, despawns and queries of all entities", function()
    local said = run([[
      local id
      plan({ 0.1, function() id = cmd:spawn({ N {} }) end }, { 0.15, function() cmd:despawn(id) end },
        { 0.2, function() cmd:spawn({ N {} }) end })
      print(ends(all:when_count(2, { hold_s = 0.1 })))
      local n = empty:count()
      plan({ 0.1, function() cmd:spawn({}) end })
      print(ends(empty:when_count(n + 1)))
    ]], "local empty = stator.query { without = { N } }")
    assert.same({ "0.300", "0.400" }, said)
  end)

  it("K10 counts again after a writer or an apply that touched what it names, not otherwise", function()
    local said, _, cell = run([[
      local count = 0
      plan({ 0.1, { v = 1 } }, { 0.2, function() cmd:spawn({ T {} }) end })
      print(ends(tagged:when_count(1)))
    ]])
    assert.same({ "0.200" }, said)
    assert.is_nil(cell:check())
  end)

  it("refuses what cannot be meant, at the line where it is made", function()
    local said = run([[
      for i, bad in ipairs {
        function() e:when(N, "v") end, function() e:when(N, "onn") end, function() e:when(N, { list = 1 }) end,
        function() e:when(N, 3) end, function() e:when(3) end, function() e:when(N, "on", { hold = 1 }) end,
        function() e:when(N, "on", { hold_s = -1 }) end, function() e:when(N, "on", { within = "x" }) end,
        function() e:when(N, { mode = "atuo" }) end, function() all:when_count() end, function() all:when_count(-1) end,
        function() all:when_count({}) end, function() all:when_count({ mim = 1 }) end, function() all:when_count({ min = 3, max = 1 }) end,
        function() past:when_count(1) end, function() e:changed(N, "vv") end,
      } do print(i, (select(2, pcall(bad)))) end
    ]], "local past = stator.query { with = { N }, changed = { N } }")
    for i, wanted in ipairs {
      "N.v is no bool: write { v = value }", 'N has no field "onn", did you mean "on"', "N.list: a condition compares single numbers",
      "expected a field name, a table of values or a function, got number", "expected a component, got number",
      'when: unknown option "hold", did you mean "hold_s"', "when: hold_s is seconds from 0 on, not -1", "when: within is seconds from 0 on",
      '"atuo" is no member of Mode, did you mean "auto"', "when_count: expected a count or", "when_count: expected a count or",
      "when_count: expected a count or", 'unknown option "mim", did you mean "min"', "min 3 is more than max 1",
      "a query with changed or added has no count of its own", 'N has no field "vv"',
    } do assert.matches(wanted, said[i], 1, true) end
  end)

  it("tells at the await when a function of the view fails", function()
    local said = run([[
      local ok, p = stator.try(function() await(e:when(N, function(n) return n.nothing end)) end)
      print(ok, p.message)
    ]])
    assert.matches('^false\t.*N has no field "nothing"', said[1])
  end)

  it("leaves no watch and no timer, whatever ends it at which await", function()
    local BODY = [[
      local n, at, mode = 0, %d, "%s"
      local function step(op)
        n = n + 1
        if n == at and mode == "fail" then stator.start(op) error("injected", 0) end
        if n == at and mode == "cancel" then cmd:set(other, N, { v = 1 }) end
        if n == at and mode == "despawn" then cmd:despawn(e) end
        if n == at and mode == "timeout" then return stator.within(0.001, function() return await(op) end) end
        return await(op)
      end
      local on = function(n) return n.on end
      local ok, p = stator.try(function()
        stator.scope(function()
          stator.cancel_when(other:when(N, { v = 1 }), "stop")
          stator.spawn(function()
            for i = 1, 100 do await(stator.sleep(0.01)) if e:alive() then cmd:set(e, N, { on = i %% 4 < 3, v = i }) end end
          end)
          step(e:when(N, "on", { hold_s = 0.02 }))
          step(e:falling(N, "on", { hold_s = 0.005 }))
          step(e:rising(N, on, { hold_s = 0.01, within = 1 }))
          step(e:falling(N, on, { hold_s = 0.005 }))
          step(all:when_count({ min = 1 }, { hold_s = 0.01 }))
          step(stator.race { e:when(N, "on", { hold_s = 5 }), e:changed(N), all:when_count(99), stator.sleep(0.1) })
          error("end", 0)
        end)
      end)
      print(n, ok, p and p.message)
    ]]
    local before = [[local other = stator.entity "other"]]
    local entities = [=[[ { "name": "e", "components": { "N": {} } }, { "name": "other", "components": { "N": {} } } ]]=]
    local function outcome(at, mode)
      local said, _, cell = support.run_task(BODY:format(at, mode), { before = BEFORE .. before, entities = entities, seconds = 3 })
      local tasks, watches, timers = cell:counts()
      assert.same({ 0, 0, 0 }, { tasks, watches, timers }, mode .. at)
      support.finish()
      return said[#said]
    end
    assert.equal("6\tfalse\tend", outcome(0, "none"))
    for _, mode in ipairs { "fail", "cancel", "despawn", "timeout" } do
      for at = 1, 6 do
        local wanted = { fail = "injected", cancel = "stop", despawn = "gone", timeout = "not done within" }
        local told = outcome(at, mode)
        if at < 5 then assert.matches(wanted[mode], told, 1, true) end
      end
    end
  end)
end)
