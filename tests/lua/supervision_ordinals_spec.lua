-- retry, supervise, detach and machines with failure, cancel, time-out and despawn of the owner at every
-- await ordinal of a scripted run: cleanup runs once for each block that was entered, and nothing is left.
local support = require "support"

local RUNS = {
  retry = [[
    local tries = 0
    stator.retry({ tries = 3, min = 0.01, max = 0.02, jitter = 0.5 }, function()
      tries = tries + 1
      hold() step(stator.sleep(0.01)) step(stator.sleep(0))
      stator.spawn(function() hold() step(stator.sleep(0.02)) end)
      step(stator.sleep(0.01))
      if tries < 3 then stator.fail("io", "again") end
    end)
    step(stator.sleep(0.01))]],
  supervise = [[
    stator.supervise({ strategy = "one_for_all", min = 0.02, intensity = 9 }, {
      { "drive", function() hold() step(stator.sleep(0.01)) stator.ready() step(stator.sleep(0.05)) end, ready_within = 0.1 },
      { "feeder", function() hold() step(stator.sleep(0.01)) step(stator.sleep(0.02)) end },
      { "lamp", function() hold() step(stator.sleep(0.03)) end, restart = "never" },
    })
    step(stator.sleep(0.01))]],
  supervise_restarts = [[
    local n = 0
    stator.supervise({ strategy = "rest_for_one", min = 0.01, intensity = 9 }, {
      { "a", function() hold() step(stator.sleep(0.01)) stator.ready() step(stator.sleep(0.04)) end, ready_within = 0.02 },
      { "b", function() hold() n = n + 1 step(stator.sleep(0.01)) if n < 3 then stator.fail("io", "again") end end },
      { "c", function() hold() step(stator.sleep(0.01)) step(stator.sleep(0.01)) end, restart = "always", max = 0.01 },
    })]],
  nested = [[
    stator.within(5, stator.supervise, { min = 0.01, intensity = 1 }, {
      { "retries", function()
          stator.retry({ tries = 2, min = 0.01 }, function() hold() step(stator.sleep(0.01)) stator.fail("io", "again") end)
        end },
      { "scope", function() stator.scope(function() stator.spawn(function() hold() step(stator.sleep(0.02)) end) step(stator.sleep(0.01)) end) end },
    })]],
  detach = [[
    local future = stator.detach("lamp", function() hold() step(stator.sleep(0.02)) step(stator.sleep(0.02)) end)
    step(stator.sleep(0.01)) step(future)]],
}

local SCRIPT = [[
local stator = require "stator"
local await, cmd = stator.await, stator.cmd
local N = stator.component("N", { "bool stop", "bool on" })
local P = stator.params { at = 0, mode = "none" }
local e = stator.entity "e"
local n, opened, closed, outcome = 0, 0, 0, "no end"

local function step(op)
  n = n + 1
  if n == P.at and P.mode == "fail" then stator.start(op) stator.fail("injected") end
  if n == P.at and P.mode == "cancel" then cmd:set(e, N, { stop = true }) end
  if n == P.at and P.mode == "despawn" then cmd:despawn(e) end
  if n == P.at and P.mode == "timeout" then return stator.within(0, function() await(stator.all { op, stator.sleep(1) }) end) end
  return await(op)
end
local function hold()
  opened = opened + 1
  stator.defer(function() await(stator.sleep(0.001)) closed = closed + 1 end)
end
%s
stator.task("report", {}, function()
  await(stator.sleep(5))
  print(n, opened == closed and "clean" or "LEAK " .. opened .. "/" .. closed, outcome)
end)]]

local BLOCK = [[
stator.per_entity("t", { with = { N } }, function(cmd, me)
  stator.defer(function() if outcome == "no end" then outcome = "cancelled" end end)
  local ok, problem = stator.try(stator.scope, function()
    stator.cancel_when(me:when(N, "stop"), "stopped from outside")
    %s
  end)
  outcome = ok and "well" or problem.code
end)]]

local MACHINE = [[
local rounds = 0
stator.machine("m", { on = N, start = "idle", on_error = "mend", interrupt = { stop = { when = { N, "stop" }, go = "stopped" } } }, {
  idle = function() hold() step(stator.sleep(0.01)) return "work", 1 end,
  work = function(cmd, me, x)
    hold()
    cmd:set(me, N, { on = true })
    step(stator.race { me:when(N, "on"), stator.sleep(0.5) })
    step(stator.all { stator.sleep(0.01), function() hold() step(stator.sleep(0.01)) end })
    rounds = rounds + 1
    return rounds < 2 and "idle" or "over"
  end,
  stopped = function(cmd, me, from, ...) hold() step(stator.sleep(0.01)) cmd:set(me, N, { stop = false }) return from, ... end,
  mend = function(cmd, me, e, from, ...) hold() step(stator.sleep(0.01)) return from, ... end,
  over = function(cmd, me) outcome = "well" step(stator.next_tick()) await(stator.sleep(1e6)) return "idle" end,
})]]

local SCENE = [=[{ "scripts": [ { "file": "main.lua", "params": { "at": %d, "mode": "%s" } } ],
  "entities": [ { "name": "e", "components": { "N": {} } } ] }]=]

--- Runs it and answers how many awaits there were, whether all was cleaned up, how it ended, and how many tasks are left.
local function run(body, at, mode)
  local cell = support.cell { scene = SCENE:format(at, mode), scripts = { ["main.lua"] = SCRIPT:format(body) } }
  cell:advance(6)
  local said
  for _, line in ipairs(support.said(cell)) do said = line:match "^%d+\t%a+ ?%S*\t.*$" or said end
  assert(said, table.concat(cell:logs(), "\n"))
  local n, clean, outcome = said:match "^(%d+)\t([^\t]+)\t(.*)$"
  local tasks, watches, timers = cell:counts()
  support.finish() -- ends it in order and checks that nothing is left
  return tonumber(n), clean, outcome, { tasks, watches, timers }
end

local WHAT = { fail = { injected = true }, cancel = { cancelled = true }, timeout = { timeout = true }, despawn = { cancelled = true } }

describe("every await ordinal of", function()
  after_each(support.finish)

  local names = {}
  for name in pairs(RUNS) do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(names) do
    local body = BLOCK:format(RUNS[name])
    it(name .. " survives failure, cancel, time-out and despawn", function()
      local awaits, clean, outcome, left = run(body, 0, "none")
      assert.equal("clean", clean)
      assert.is_true(outcome == "well" or outcome == "supervise", outcome)
      assert.same({ 0, 0, 0 }, left)
      assert.is_true(awaits > 2)
      for at = 1, awaits do
        for _, mode in ipairs { "fail", "cancel", "timeout", "despawn" } do
          local where = ("%s: %s at await %d"):format(name, mode, at)
          local _, its_clean, its_outcome, its_left = run(body, at, mode)
          assert.equal("clean", its_clean, where)
          assert.same({ 0, 0, 0 }, its_left, where)
          -- what is tried again, or restarted, may still end well; a cancellation may not
          local fine = WHAT[mode][its_outcome] or (mode ~= "despawn" and its_outcome == outcome) or its_outcome == "supervise"
          assert.is_true(fine == true, where .. ": " .. its_outcome)
        end
      end
    end)
  end

  it("a machine survives failure, interrupt, time-out and despawn", function()
    local awaits, clean, outcome, left = run(MACHINE, 0, "none")
    assert.same({ "clean", "well" }, { clean, outcome })
    assert.same({ 2, 1, 1 }, left) -- it waits in its last state, for its end too; the watcher of the interrupt
    for at = 1, awaits do
      for _, mode in ipairs { "fail", "cancel", "timeout", "despawn" } do
        local where = ("machine: %s at await %d"):format(mode, at)
        local _, its_clean, its_outcome, its_left = run(MACHINE, at, mode)
        assert.equal("clean", its_clean, where)
        assert.same(mode == "despawn" and { 0, 0, 0 } or left, its_left, where)
        if mode ~= "despawn" then assert.equal("well", its_outcome, where) end
      end
    end
  end)
end)
