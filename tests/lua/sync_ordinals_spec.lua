-- Channels, semaphores and mutexes with failure, cancel, time-out and despawn of the owner at every await
-- ordinal of a scripted run, among other tasks that use them: afterwards no waiter, permit or item is
-- left behind or lost.
local support = require "support"

local RUNS = {
  receive = "for _ = 1, 3 do step(ch:receive()) end",
  each = "local n = 0 for _ in ch:each() do step(stator.sleep(0.002)) n = n + 1 if n == 4 then break end end",
  send = "for i = 1, 4 do step(out:send(i)) end",
  send_recorded = "for i = 1, 3 do cmd:add(e, N, { v = 1 }) step(out:send(i)) end",
  rendezvous = "for i = 1, 3 do step(meet:send(i)) step(meet:receive()) end",
  acquire = [[
    step(sem:acquire()) step(stator.sleep(0.002))
    stator.scope(function() step(sem:acquire(2)) step(stator.sleep(0.002)) end)
    sem:release() step(sem:acquire(3))]],
  lock = [[
    stator.scope(function() step(m:lock()) step(stator.sleep(0.003)) m:unlock() step(m:lock()) end)
    m:with(function() step(stator.sleep(0.001)) end) step(stator.sleep(0))]],
  with = [[
    sem:with(2, function()
      stator.defer(function() await(stator.sleep(0.001)) end)
      m:with(function() step(stator.sleep(0.003)) step(out:send(1)) end)
      step(ch:receive())
    end)]],
  race = [[
    stator.scope(function()
      step(stator.race { sem:acquire(2), ch:receive(), stator.sleep(0.004) })
      step(stator.race { m:lock(), meet:send(1) })
      step(stator.race { stator.race { meet:receive(), sem:acquire() }, stator.sleep(0.001) })
    end)
    step(stator.any { ch:receive(), out:send(2) })]],
  all = [[
    stator.scope(function()
      step(stator.all { sem:acquire(), ch:receive(), out:send(1), m:lock(), function() step(stator.sleep(0.01)) end })
      step(stator.sleep(0.002))
    end)]],
  start = [[
    stator.scope(function()
      local permit, item = stator.start(sem:acquire(2)), stator.start(ch:receive())
      local never = stator.start(dead:receive())
      step(stator.sleep(0.001)) step(item) step(permit)
      stator.cancel_when(dead:receive(), "never")
      step(stator.sleep(0.001))
    end)]],
  children = [[
    stator.scope(function()
      for i = 1, 3 do
        stator.spawn(function() sem:with(i, function() step(stator.sleep(0.002)) step(out:send(i)) end) end)
        stator.spawn(function() m:with(function() step(meet:receive()) end) end)
      end
      step(ch:receive())
    end)]],
}

local SCRIPT = [[
local stator = require "stator"
local await, cmd = stator.await, stator.cmd
local N = stator.component("N", { "int32_t v", "bool stop" })
local e = stator.entity "e"
local P = stator.params { at = 0, mode = "none" }
local ch, out = stator.channel { cap = 2 }, stator.channel { cap = 1 }
local meet, dead = stator.channel { cap = 0 }, stator.channel { cap = 1 }
local sem, m = stator.semaphore(3), stator.mutex "m"


stator.task("feeder", {}, function()
  for i = 1, 150 do await(stator.sleep(0.003)) ch:try_send(i) end
end)
stator.task("consumer", {}, function()
  for _ = 1, 150 do await(stator.sleep(0.004)) out:try_receive() end
end)
stator.task("partner", {}, function()
  for i = 1, 50 do
    await(stator.race { stator.sleep(0.004), meet:send(i) })
    stator.try(stator.within, 0.004, function() await(meet:receive()) end)
  end
end)
stator.task("holder", {}, function()
  for i = 1, 100 do
    sem:with(1 + i %% 3, function() await(stator.sleep(0.002)) end)
    m:with(function() await(stator.sleep(0.002)) end)
  end
end)

local n, opened, closed = 0, 0, 0
stator.per_entity("t", { with = { N } }, function(cmd)
  local function step(op)
    n = n + 1
    if n == P.at then
      if P.mode == "fail" then stator.start(op) error("injected", 0) end
      if P.mode == "cancel" then cmd:set(e, N, { stop = true }) end
      if P.mode == "despawn" then cmd:despawn(e) end
      if P.mode == "timeout" then return stator.within(0, function() return await(op) end) end
      if P.mode == "refused" then cmd:set(stator.world, N, { v = 1 }) end
    end
    return await(op)
  end
  opened = opened + 1
  stator.defer(function() closed = closed + 1 end)
  stator.try(function()
    stator.scope(function()
      stator.cancel_when(e:when(N, "stop"), "stopped from outside")
      %s
    end)
  end)
end)

stator.task("judge", {}, function()
  await(stator.sleep(3))
  local whole = sem:available() == 3 and sem:waiting() == 0 and not m:owner() and m:waiting() == 0
  for _, c in ipairs { ch, out, meet, dead } do
    local s = c:stats()
    whole = whole and s.senders == 0 and s.receivers == 0 and s.sent == s.received + s.count
  end
  print(n, whole and opened == closed and meet:count() == 0 and "clean" or "LEAK")
end)]]

local SCENE = [=[{ "scripts": [ { "file": "main.lua", "params": { "at": %d, "mode": "%s" } } ],
  "entities": [ { "name": "e", "components": { "N": {} } } ] }]=]

local function outcome(code, at, mode)
  local cell = support.cell { scene = SCENE:format(at, mode), scripts = { ["main.lua"] = SCRIPT:format(code) } }
  cell:advance(4)
  local verdict
  for _, line in ipairs(support.said(cell)) do verdict = verdict or line:match("^%d+\t%u?%l*%u*$") and line end
  assert(verdict, table.concat(cell:logs(), "\n"))
  local n, clean = verdict:match("^(%d+)\t(.*)$")
  if clean ~= "clean" then print(table.concat(cell:logs(), "\n")) end
  support.finish() -- ends it in order and checks that nothing is left
  return tonumber(n), clean
end

describe("at every await ordinal nothing is lost:", function()
  after_each(support.finish)

  local names = {}
  for name in pairs(RUNS) do names[#names + 1] = name end
  table.sort(names)

  for _, name in ipairs(names) do
    it(name, function()
      local awaits, clean = outcome(RUNS[name], 0, "none")
      assert.equal("clean", clean)
      assert.is_true(awaits > 2)
      for at = 1, awaits do
        for _, mode in ipairs { "fail", "cancel", "timeout", "despawn", "refused" } do
          local _, verdict = outcome(RUNS[name], at, mode)
          assert.equal("clean", verdict, ("%s: %s at await %d"):format(name, mode, at))
        end
      end
    end)
  end
end)
