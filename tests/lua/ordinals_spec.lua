-- Every composition primitive, with failure and with cancel at every await ordinal of a scripted
-- run: whatever happens where, cleanup runs once, nothing is left running, and the outcome is told.
local support = require "support"

local RUNS = {
  sleep = "step(stator.sleep(0.01)) step(stator.sleep(0.02)) step(stator.sleep(0))",
  ticks = "step(stator.next_tick()) step(stator.ticks(2))",
  every = "for tick in stator.every(0.01) do step(stator.sleep(0.001)) if tick.n == 3 then break end end",
  commit = "cmd:add(e, N, { writes = 1 }) step(cmd:commit()) cmd:add(e, N, { writes = 1 }) step(cmd:commit())",
  async = [[
    local inner = stator.async(function() hold() step(stator.sleep(0.01)) return 1 end)
    step(inner()) step(inner())]],
  within = "stator.within(5, function() hold() step(stator.sleep(0.01)) step(stator.sleep(0.01)) end) step(stator.sleep(0))",
  within_expires = [[
    stator.try(function() stator.within(0.015, function() hold() step(stator.sleep(0.01)) step(stator.sleep(1)) end) end)
    step(stator.sleep(0.01))]],
  scope = [[
    stator.scope(function()
      stator.spawn(function() hold() step(stator.sleep(0.01)) step(stator.sleep(0.02)) end)
      stator.spawn(function() hold() step(stator.sleep(0.03)) end)
      step(stator.sleep(0.005))
    end)]],
  shield = "stator.shield(function() hold() step(stator.sleep(0.01)) step(stator.sleep(0.01)) end) step(stator.sleep(0.01))",
  race = [[
    step(stator.race {
      a = stator.async(function() hold() step(stator.sleep(0.01)) step(stator.sleep(0.01)) end)(),
      b = stator.sleep(0.015), c = function() hold() step(stator.sleep(1)) end })
    step(stator.sleep(0.01))]],
  all = [[
    step(stator.all { stator.sleep(0.01), function() hold() step(stator.sleep(0.01)) step(stator.sleep(0.02)) end,
      stator.async(function() hold() step(stator.sleep(0.03)) end)() })
    step(stator.sleep(0.01))]],
  any = [[
    step(stator.any { function() hold() step(stator.sleep(0.01)) end, function() hold() step(stator.sleep(0.02)) end })]],
  defer = [[
    stator.defer(function() await(stator.sleep(0.01)) end)
    hold() step(stator.sleep(0.01)) stator.on_failure(function() await(stator.sleep(0.01)) end) step(stator.sleep(0.01))]],
  cancel_when = [[
    stator.try(function()
      stator.scope(function()
        stator.cancel_when(stator.sleep(0.015), "enough")
        hold() step(stator.sleep(0.01)) step(stator.sleep(1))
      end)
    end)
    step(stator.sleep(0.01))]],
  conditions = [[
    stator.scope(function()
      stator.spawn(function()
        for i = 1, 6 do await(stator.sleep(0.01)) cmd:set(e, N, { on = i % 2 == 1, v = i }) end
      end)
      hold()
      step(e:when(N, "on")) step(e:falling(N, "on")) step(e:rising(N, { on = true }))
      step(e:changed(N, "v")) step(e:when(N, function(n) return n.v >= 5 end))
    end)]],
  hold_s = [[
    stator.scope(function()
      stator.spawn(function()
        for i = 1, 4 do await(stator.sleep(0.01)) cmd:set(e, N, { on = i ~= 2 }) end
      end)
      hold()
      step(e:when(N, "on", { hold_s = 0.03, within = 1 }))
    end)]],
  nested = [[
    stator.within(5, function()
      step(stator.race { stator.async(function()
        stator.scope(function()
          stator.spawn(function() hold() step(stator.sleep(0.02)) end)
          step(stator.all { function() hold() step(stator.sleep(0.01)) end, stator.sleep(0.01) })
        end)
      end)(), stator.sleep(3) })
    end)]],
  wrap = [[
    local gen = coroutine.wrap(function() for i = 1, 3 do step(stator.sleep(0.01)) coroutine.yield(i) end end)
    hold() gen() gen() gen()]],
}

local SCRIPT = [[
local stator = require "stator"
local await, cmd = stator.await, stator.cmd
local N = stator.component("N", { "bool on", "int32_t v", "int32_t writes", "bool stop" })
local e = stator.entity "e"
local P = stator.params { at = 0, mode = "none" }

stator.task("t", {}, function(cmd)
  local n, opened, closed = 0, 0, 0
  local function step(op)
    n = n + 1
    if n == P.at and P.mode == "fail" then stator.start(op) error("injected", 0) end
    if n == P.at and P.mode == "cancel" then cmd:set(e, N, { stop = true }) end
    return await(op)
  end
  local function hold()
    opened = opened + 1
    stator.defer(function() await(stator.sleep(0.001)) closed = closed + 1 end)
  end
  local ok, problem = stator.try(function()
    stator.scope(function()
      stator.cancel_when(e:when(N, "stop"), "stopped from outside")
      %s
    end)
  end)
  print(n, opened == closed and "clean" or "LEAK " .. opened .. "/" .. closed, ok, problem and problem.message)
end)]]

local SCENE = [=[{ "scripts": [ { "file": "main.lua", "params": { "at": %d, "mode": "%s" } } ],
  "entities": [ { "name": "e", "components": { "N": {} } } ] }]=]

local function outcome(code, at, mode)
  local cell = support.cell { scene = SCENE:format(at, mode), scripts = { ["main.lua"] = SCRIPT:format(code) } }
  cell:advance(6)
  local said = support.said(cell)
  assert(#said == 1, table.concat(cell:logs(), "\n"))
  local n, clean, ok, message = said[1]:match("^(%d+)\t([^\t]+)\t([^\t]+)\t?(.*)$")
  support.finish() -- ends it in order and checks that nothing is left
  return tonumber(n), clean, ok, message
end

describe("every await ordinal of", function()
  after_each(support.finish)

  local names = {}
  for name in pairs(RUNS) do names[#names + 1] = name end
  table.sort(names)

  for _, name in ipairs(names) do
    it(name .. " survives failure and cancel", function()
      local awaits, clean, ok = outcome(RUNS[name], 0, "none")
      assert.same({ "clean", "true" }, { clean, ok })
      assert.is_true(awaits > 0)
      for at = 1, awaits do
        local _, failed_clean, failed_ok, failed_message = outcome(RUNS[name], at, "fail")
        assert.equal("clean", failed_clean, ("%s: failure at await %d"):format(name, at))
        -- the run may have a reason to swallow it: a try, an any, or losing a race
        if failed_ok == "false" then assert.matches("injected", failed_message) end
        local _, cancelled_clean, cancelled_ok, message = outcome(RUNS[name], at, "cancel")
        assert.equal("clean", cancelled_clean, ("%s: cancel at await %d"):format(name, at))
        if cancelled_ok == "false" then assert.matches("stopped from outside", message) end
      end
    end)
  end
end)
