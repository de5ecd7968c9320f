-- The bindings of what a reload needs of the core: versions of types, plans, migrations with converters,
-- copies that outlive a VM, queries that are released. Scripts see none of it: eval has the host's rights.
local support = require "support"

local MAIN = [[
local stator = require "stator"
local await = stator.await
local Mode = stator.enum("Mode", { "idle", "auto" })
local Vec = stator.struct("Vec", { "double x", "double y" })
local Motor = stator.component("Motor", { "double speed", "Mode mode = auto", "Vec at" })
local moving = stator.query { read = { Motor } }
stator.task("t", {}, function(cmd)
  local made = {}
  for i = 1, 5 do made[i] = cmd:spawn { Motor { speed = i * 100, at = { x = i } } } end
  await(stator.sleep(1000))
end)
]]

local BEFORE = [[
local core, schema = require "stator.core.schema", require "stator.schema"
local ffi = require "ffi"
local world = require "stator.core.world"
local registry = require "stator.registry"
local C, pointer = require("stator.abi").C, require("stator.abi").world
local function motor() return registry.live.components.Motor.id end
local function speeds(type)
  local out = {}
  for _, id in ipairs(world.entities()) do
    local p = C.ecs_view(pointer, id, motor())
    if p ~= nil then out[#out + 1] = tonumber(ffi.cast(type, p)[0]) end
  end
  return table.concat(out, " ")
end
]]

local function opened(main, options)
  options = options or {}
  options.main = (main or MAIN)
  local cell = support.cell(options)
  cell:advance(0.1)
  return cell, function(code) return cell:eval(BEFORE .. code) end
end

describe("core.schema", function()
  after_each(support.finish)

  it("defines structs and enums in versions", function()
    local cell, run = opened()
    local vec, version, vec2, version2, again = run [[
      local a, av = core.struct("Vec", { "double x", "double y" })
      local b, bv = core.struct("Vec", { "double x", "double y", "double z" })
      return a, av, b, bv, (core.struct("Vec", { "double x", "double y" }))]]
    assert.is_true(vec ~= vec2 and version2 > version)
    assert.equal(vec, again)
    assert.equal(version, (run "return core.struct_version((core.struct('Vec', { 'double x', 'double y' })))"))
    local mode, mode2 = run [[return core.enum("Mode", { "idle", "auto" }), (core.enum("Mode", { "idle", "hand" }))]]
    assert.is_true(mode ~= mode2)
    local swept, again2, gone, gone2 = run [[
      core.enum("Mode", { "idle", "auto" })
      return core.sweep(), core.sweep(), core.struct_version(900), core.enum_version(900)]]
    assert.same({ 2, 0, 0, 0 }, { swept, again2, gone, gone2 })
    local _, message, code = run [[return core.struct("Vec", { "doubel x" })]]
    assert.matches('unknown type "doubel"', message)
    assert.equal("ECS_E_UNKNOWN", code)
    assert.same({ nil, 'no struct or enum "Nix"', "ECS_E_UNKNOWN" }, { run [[return core.retire "Nix"]] })
    assert.is_true((run [[core.struct("Other", { "double x" }) return core.retire "Other"]]))
    assert.is_nil(cell:check())
  end)

  it("registers components between steps", function()
    local cell, run = opened()
    local id, again = run [[return world.component("Late", { "double x" }), world.component("Apart", { "double x" }, true)]]
    assert.is_true(id > 0 and again > id)
    local _, message, code = run [[return world.component("Motor", { "double x" })]]
    assert.same({ "declared before with other fields", "ECS_E_CONFLICT" }, { message, code })
    assert.is_nil(cell:check())
  end)

  it("plans: what becomes of each field, and what it costs", function()
    local _, run = opened()
    local text, rows, bytes = run [[
      local plan, entries, rows, bytes = core.plan("Motor", { "float speed", "double fresh", "Vec at" })
      local out = {}
      for i, e in ipairs(entries) do out[i] = e.name .. " " .. e.change .. " " .. e.reason end
      core.drop(plan) core.drop(plan)
      return table.concat(out, "; "), rows, bytes]]
    assert.equal("speed converted double to float, where it fits; fresh added ; at kept ; mode dropped the field goes", text)
    assert.equal(5, rows)
    assert.equal(5 * (8 + 32), bytes)
    assert.same({ nil, 'no component "Nix"', "ECS_E_UNKNOWN" }, { run [[return core.plan("Nix", {})]] })
    local _, message, code = run [[return core.plan("Motor", { "x" })]]
    assert.matches("unknown type", message)
    assert.equal("ECS_E_UNKNOWN", code)
    local ok, gone = run [[
      local plan = core.plan("Motor", {})
      core.drop(plan)
      return pcall(core.check, plan, 1)]]
    assert.is_false(ok)
    assert.matches("the plan is gone", gone)
    -- plans that are forgotten are collected
    assert.equal("userdata", (run [[
      local plan, problem
      for i = 1, 3000 do
        plan, problem = core.plan("Motor", {})
        if i % 500 == 0 then collectgarbage() end
        if not plan then return problem end
      end
      return type(plan)]]))
    assert.equal('1024 plans are open: there is no room for "Motor"', (run [[
      collectgarbage()
      local all = {}
      for i = 1, 1025 do
        local plan, problem = core.plan("Motor", {})
        if not plan then return problem end
        all[i] = plan
      end]]))
  end)

  it("checks in slices and migrates", function()
    local cell, run = opened()
    local slices, rows = run [[
      local plan = core.plan("Motor", { "int16_t speed", "Mode mode = auto", "Vec at" })
      local slices = 0
      repeat
        local done, rows = schema.check(plan, 2)
        slices = slices + 1
      until done
      return slices, select(2, core.check(plan, 1))]]
    assert.same({ 3, 5 }, { slices, rows })
    local _, message, code, left = run [[
      local plan = core.plan("Motor", { "int8_t speed", "Mode mode = auto", "Vec at" })
      local done, message, code
      repeat done, message, code = schema.check(plan, 1) until done ~= false
      local ok, again = schema.migrate(plan)
      assert(not ok and again == message, again)
      return done, message, code, speeds "double *"]]
    assert.matches("^Motor.speed: 200 is not a whole number from %-128 to 127 %(entity %d+%)$", message)
    assert.same({ "ECS_E_INVALID", "100 200 300 400 500" }, { code, left })
    assert.equal("100 200 300 400 500", (run [[
      assert(schema.migrate((core.plan("Motor", { "int16_t speed", "Mode mode = auto", "Vec at" }))))
      return speeds "int16_t *"]]))
    assert.is_nil(cell:check())
  end)

  it("migrates with a converter, or changes nothing", function()
    local cell, run = opened()
    local ids, olds, now = run [[
      local ids, olds = {}, {}
      local function convert(old, new, id)
        ids[#ids + 1], olds[#olds + 1] = id, ffi.cast("double *", old)[0]
        ffi.cast("int8_t *", new)[0] = ffi.cast("double *", old)[0] / 10
      end
      local plan = core.plan("Motor", { "int8_t speed" })
      local done, slices = nil, 0
      repeat done, slices = schema.check(plan, 2, convert), slices + 1 until done
      assert(slices == 3)
      ids, olds = {}, {}
      assert(schema.migrate(plan, convert))
      return #ids, table.concat(olds, " "), speeds "int8_t *"]]
    assert.same({ 5, "100 200 300 400 500", "10 20 30 40 50" }, { ids, olds, now })
    local ok, problem, code, left, size = run [[
      local n = 0
      local ok, problem, code = schema.migrate((core.plan("Motor", { "double speed" })), function(old, new)
        n = n + 1
        ffi.cast("double *", new)[0] = n
        if n == 4 then error({ code = "mine", message = "no" }) end
      end)
      return ok, problem.code, code, speeds "int8_t *", select(2, world.fields(motor()))]]
    assert.same({ nil, "mine", "converter", "10 20 30 40 50", 1 }, { ok, problem, code, left, size })
    -- what waits, and what was planned before
    assert.matches("converter", (select(3, run [[
      return schema.migrate((core.plan("Motor", { "double speed" })), function() coroutine.yield() end)]])))
    local _, message, why = run [[
      local plan = core.plan("Motor", { "double speed" })
      assert(schema.migrate((core.plan("Motor", { "float speed" }))))
      return schema.migrate(plan, function() end)]]
    assert.same({ "Motor was migrated since the plan was made", "ECS_E_CONFLICT" }, { message, why })
    assert.is_nil(cell:check())
  end)

  it("stops a converter that does not come back, with nothing changed", function()
    local cell, run = opened(nil, {
      settings = '"limits": { "slice_soft_ms": 1, "slice_ms": 4, "lost_vms": 3 }',
      patience = os.getenv "STATOR_PRESET" == "asan" and 10 or 2,
    })
    run [[
      require("stator.task").spawn({ name = "converts", order = registry.order(2, 1, 999) }, function()
        schema.migrate((core.plan("Motor", { "double speed" })), function(_, new)
          ffi.cast("double *", new)[0] = 1
          while true do end
        end)
      end)]]
    cell:advance(0.1)
    assert.matches("VM is given up: it did not come back", table.concat(cell:logs(), "\n")) -- eval has no stops
    cell:advance(0.1)
    assert.matches("^100 200 300 400 500", (run [[return speeds "double *"]]))
    assert.equal(32, (run [[return select(2, world.fields(motor()))]]))
    assert.is_nil(cell:check())
  end)

  it("keeps no value of a walk that was not whole", function()
    local _, run = opened()
    assert.equal("100 200 300 400 500", (run [[
      local plan = core.plan("Motor", { "float speed", "Mode mode = auto", "Vec at" })
      for _ = 1, 3 do
        local _, new = core.value(plan, true)
        ffi.cast("float *", new)[0] = 7
      end
      assert(core.migrate(plan))
      return speeds "float *"]]))
  end)

  it("copies values and brings them back, after several migrations", function()
    local cell, run = opened()
    local bytes, saved, name, component, listed = run [[
      local bytes = core.bytes "Motor"
      local saved = core.save("reload 1", "Motor")
      local list = core.saved()
      return bytes, saved, list[1].name, list[1].component, list[1].bytes]]
    assert.equal(bytes, saved)
    assert.same({ "reload 1", "Motor", bytes }, { name, component, listed })
    local there, x = run [[
      assert(schema.migrate((core.plan("Motor", { "int8_t speed" })), function(_, new) ffi.cast("int8_t *", new)[0] = 5 end))
      assert(schema.migrate((core.plan("Motor", { "double other" })), function() end))
      assert(core.back "reload 1")
      local all = world.entities()
      return speeds "double *", ffi.cast("double *", C.ecs_view(pointer, all[#all], motor()))[2] ]]
    assert.equal("100 200 300 400 500", there)
    assert.equal(5, x)
    assert.same({ true, false }, { run [[return core.free "reload 1", core.free "reload 1"]] })
    assert.same({ nil, "no copy of values has that name", "ECS_E_UNKNOWN" }, { run [[return core.back "reload 1"]] })
    assert.same({ nil, 'no component "Nix"', "ECS_E_UNKNOWN" }, { run [[return core.save("a", "Nix")]] })
    assert.equal("ECS_E_LIMIT", (select(3, run [[return core.save(("n"):rep(128), "Motor")]])))
    assert.same({ 1, "Motor" }, { run [[
      core.save("a", "Motor") core.save("a", "Motor")
      return #core.saved(), core.saved()[1].component]] })
    assert.is_nil(cell:check())
  end)

  it("has the copies still when the VM is lost, and no plans", function()
    local cell = support.cell {
      settings = '"limits": { "slice_soft_ms": 1, "slice_ms": 4, "lost_vms": 3 }',
      patience = os.getenv "STATOR_PRESET" == "asan" and 10 or 2,
      main = MAIN .. [[
stator.task("bad", { restart = "never" }, function()
  await(stator.sleep(1))
  string.find(("a"):rep(60), ("a-"):rep(40) .. "b")
end)]],
    }
    cell:advance(0.1)
    cell:eval(BEFORE .. [[
      package.loaded.plans = {}
      for i = 1, 1024 do package.loaded.plans[i] = assert(core.plan("Motor", {})) end
      core.save("mine", "Motor")]])
    cell:advance(2)
    assert.equal("mine", (cell:eval(BEFORE .. "return core.saved()[1].name")))
    assert.equal("userdata", (cell:eval(BEFORE .. 'return type(core.plan("Motor", {}))')))
    assert.is_true((cell:eval(BEFORE .. 'return core.back "mine"')))
    assert.is_nil(cell:check())
  end)
end)

describe("query.release", function()
  after_each(support.finish)

  local QUERIES = [[
local stator = require "stator"
local await = stator.await
local N = stator.component("N", { "double n" })
local all = stator.query { read = { N } }
local old = stator.query { read = { N }, changed = { N } }
package_all, package_old = all, old
stator.task("counts", {}, function(cmd)
  local e = cmd:spawn { N { n = 1 } }
  await(cmd:commit())
  await(all:when_count(2))
  print("two")
end)
stator.task("walks", {}, function(cmd)
  await(stator.sleep(0.01))
  local each = all.each
  for e, n in all:each() do
    await(stator.sleep(0.3))
  end
end)
stator.task("later", {}, function(cmd)
  await(stator.sleep(0.2))
  cmd:spawn { N { n = 2 } }
  await(stator.sleep(0.2))
  print(pcall(function() return all:count() end))
  for _, name in ipairs { "each", "chunks", "first", "ids", "copy", "when_count" } do
    print(name, (pcall(function() return all[name](all) end)))
  end
end)
stator.task("keeps", {}, function(cmd)
  local each = all.each
  await(stator.sleep(0.5))
  print((pcall(each, all)))
end)
]]

  it("ends a query: its uses raise, what waits for its count goes on", function()
    local cell = support.cell(QUERIES:gsub("package_all, package_old = all, old", ""))
    cell:advance(0.1)
    cell:eval [[
      local registry, query = require "stator.registry", require "stator.query"
      for _, q in ipairs(registry.live.queries) do query.release(q) query.release(q) end
      registry.live.queries = {}]]
    cell:eval "collectgarbage() collectgarbage()"
    cell:advance(1)
    local said = {}
    for _, line in ipairs(support.said(cell)) do
      if not line:find "^fault" then said[#said + 1] = line end
    end
    assert.equal("two", said[1])
    assert.matches("^false\t.*main.lua:%d+: count: query, declared at main.lua:4, was released: its script has another revision now$", said[2])
    for i, name in ipairs { "each", "chunks", "first", "ids", "copy", "when_count" } do
      assert.equal(name .. "\tfalse", said[2 + i])
    end
    assert.equal("false", said[9])
    local faults = support.faults(cell)
    assert.equal(1, #faults)
    assert.matches("this loop over a query went on after an await", faults[1])
    assert.is_nil(cell:check())
  end)

  it("gives everything back, also when loops were left half way", function()
    local cell = support.cell [[
local stator = require "stator"
local N = stator.component("N", { "double n" })
local all = stator.query { read = { N } }
stator.task("t", {}, function(cmd)
  for i = 1, 100 do cmd:spawn { N { n = i } } end
  stator.await(stator.sleep(1000))
end)]]
    cell:advance(0.1)
    local counts = cell:eval [[
      local query, registry = require "stator.query", require "stator.registry"
      local N, counts = registry.live.components.N, 0
      for i = 1, 2000 do
        local q = query.declare("query", { read = { N }, added = i % 2 == 0 and { N } or nil }, "main.lua:3", 1)
        table.remove(registry.live.queries)
        assert(not query.build(q))
        for e in q:each() do
          for f in q:each() do break end
          break
        end
        counts = counts + q:count()
        query.release(q)
        q = nil
        if i % 100 == 0 then require("jit").flush() collectgarbage() end
      end
      return counts]]
    assert.equal(2000 * 100, counts)
    assert.is_nil(cell:check())
    assert.same({}, support.faults(cell))
  end)
end)
