-- What a task belongs to takes it along: its entity, the component it was made for, its scope, its script.
local support = require "support"
local run = support.run_task

local BEFORE = [[
local N = stator.component("N", { "int32_t v" })
local Armed = stator.component("Armed", {})
local e = stator.entity "e"
stator.per_entity("watch", { with = { N, Armed } }, function(cmd, me)
  local name = me:name() or "?"
  stator.defer(function()
    print("cleanup", name, me:alive(), me:alive() and me:has(Armed))
    cmd:set(me, N, { v = -1 })                                       -- no harm when it is gone
    await(stator.sleep(0.01))
    print("cleaned", name, stator.now())
  end)
  local ok, e = stator.try(function() await(stator.sleep(99)) end)
  print("never", ok)
end)
]]
local ENTITIES = [=[[ { "name": "e", "components": { "N": {}, "Armed": {} } }, { "name": "other", "components": { "N": {}, "Armed": {} } } ]]=]

local function with_watch(body, seconds)
  return run(body, { before = BEFORE, entities = ENTITIES, seconds = seconds or 1 })
end

describe("a task of an entity", function()
  after_each(support.finish)

  it("is cancelled by a despawn, and its cleanup finds the entity gone without harm", function()
    local said, faults = with_watch [[ await(stator.sleep(0.1)) cmd:despawn(e) ]]
    assert.same({ "cleanup\te\tfalse\tfalse", -- B5 tells what had no effect
      "1 command without effect: set on entity 4294967300 of N, which does not exist any more (main.lua:10)", "cleaned\te\t0.11" }, said)
    assert.same({}, faults)
  end)

  it("is cancelled when a component that it was made for goes, and starts again when it comes back", function()
    local said, faults = with_watch [[
      await(stator.sleep(0.1)) cmd:remove(e, Armed)
      await(stator.sleep(0.1)) print(e:get(N).v) cmd:insert(e, Armed, {})
      await(stator.sleep(0.1)) cmd:remove(e, Armed)
    ]]
    assert.same({ "cleanup\te\ttrue\tfalse", "cleaned\te\t0.11", "-1", "cleanup\te\ttrue\tfalse", "cleaned\te\t0.31" }, said)
    assert.same({}, faults)
  end)

  it("leaves the tasks of other entities alone", function()
    local _, _, cell = with_watch [[ await(stator.sleep(0.1)) cmd:despawn(e) ]]
    assert.equal(1, (cell:counts()))
  end)

  it("takes its children along, innermost first, at every wait that it has come to", function()
    for at = 0, 4 do
      local said, faults = run(("await(stator.sleep(%g)) cmd:despawn(e) await(stator.sleep(1))"):format(0.005 + at * 0.01), {
        before = [[
local N = stator.component("N", {})
local e = stator.entity "e"
local open = 0
local function hold() open = open + 1 stator.defer(function() await(stator.sleep(0.002)) open = open - 1 end) end
stator.per_entity("deep", { with = { N } }, function(cmd, me)
  hold() await(stator.sleep(0.01))
  stator.scope(function()
    stator.spawn(function() hold() await(stator.sleep(0.03)) end)
    await(stator.race { function() hold() await(stator.sleep(0.01)) end, stator.sleep(5) })
    stator.within(5, function() hold() await(stator.all { stator.sleep(0.01), function() hold() await(stator.sleep(0.02)) end }) end)
  end)
  cmd:despawn(me)
end)
stator.task("tell", {}, function() await(stator.sleep(0.5)) print("open", open) end)]],
        entities = [=[[ { "name": "e", "components": { "N": {} } } ]]=],
      })
      assert.same({ "open\t0" }, said, at)
      assert.same({}, faults, at)
      support.finish()
    end
  end)
end)

describe("the end of a cell", function()
  after_each(support.finish)

  it("cancels tasks with the reason, and tells one that does not end, with the line where it waits", function()
    local said, _, cell = run([[
      stator.defer(function() print("in order", stator.now()) end)
      await(stator.sleep(99))
    ]], { seconds = 0.1, before = [[
stator.task("stubborn", {}, function()
  stator.scope(function()
    stator.spawn(function()
      stator.shield(function()
        await(stator.sleep(5))
      end)
    end)
    await(stator.sleep(99))
  end)
end)]] })
    assert.same({}, said)
    cell:stop "test"
    cell:advance(3)
    assert.matches("in order", support.said(cell)[1])
    local log = table.concat(cell:logs(), "\n")
    assert.matches("main/stubborn went on for 1 s after it was cancelled %[scripts/main%] %(main.lua:7%)", log)
    cell:advance(5)
  end)
end)

describe("deadlines", function()
  after_each(support.finish)

  it("nest: the earliest counts, and its own block tells it", function()
    local said = run [[
      print(select(2, stator.try(stator.within, 0.3, function()
        stator.within(0.1, function() stator.within(0.2, function() await(stator.sleep(9)) end) end)
      end)).code, stator.now())
      local ok, e = stator.try(stator.within, 0.1, function()
        local inner_ok, inner = stator.try(stator.within, 0.5, function() await(stator.sleep(9)) end)
        print("never", inner_ok, inner)
      end)
      print(ok, e.code, e.message, stator.now())
    ]]
    assert.same({ "timeout\t0.1", "false\ttimeout\tnot done within 0.1 s\t0.2" }, said)
  end)

  it("hold for everything inside, also for what children and cleanup-free blocks do", function()
    local said = run [[
      print(select(2, stator.try(stator.within, 0.25, function()
        for i = 1, 99 do await(stator.sleep(0.1)) end
      end)).code, stator.now())
      print(select(2, stator.try(stator.within, 0.25, function()
        stator.scope(function() stator.spawn(function() await(stator.sleep(9)) end) end)
      end)).code, stator.now())
    ]]
    assert.same({ "timeout\t0.25", "timeout\t0.5" }, said)
  end)

  it("hold until children that were spawned have ended, as cancel_when does", function()
    local said = run [[
      local function spawn_long() stator.spawn(function() await(stator.sleep(9)) end) end
      print(select(2, stator.try(stator.within, 0.25, spawn_long)).code, stator.now())
      print(select(2, stator.try(stator.scope, function()
        stator.cancel_when(stator.sleep(0.25), "enough")
        spawn_long()
      end)).message, stator.now())
      print(stator.within(0.25, function() stator.spawn(function() await(stator.sleep(0.1)) end) return "in time" end), stator.now())
    ]]
    assert.same({ "timeout\t0.25", "enough\t0.5", "in time\t0.6" }, said)
  end)

  it("wake thousands of sleepers, each at its own time and in a fixed order", function()
    local said = run([[
      local late, last, out_of_order = 0, -1, 0
      stator.scope(function()
        for i = 1, 5000 do
          stator.spawn(function()
            local due = (i * 7919 % 1000) / 250
            await(stator.sleep(due))
            if math.abs(stator.now() - due) > 0.0101 then late = late + 1 end
            if stator.now() < last then out_of_order = out_of_order + 1 end
            last = stator.now()
          end)
        end
      end)
      print(late, out_of_order, stator.now())
    ]], { seconds = 6 })
    assert.same({ "0\t0\t3.996" }, said)
  end)
end)
