--- A script that runs random trees of scopes: everything that waits, with cancels, despawns, time-outs and
--- failures wherever they fall. The same seed makes the same trees. `turns` trees run in a task, others in
--- per-entity tasks whose entities come and go; "opened" cleanups must all be "closed" in the end.
return [=[
local stator = require "stator"
local await, cmd = stator.await, stator.cmd
local P = stator.params { seed = 1, turns = 50 }
local Job = stator.component("Job", { "uint32_t seed" })
local Sign = stator.component("Sign", { "bool on", "uint32_t count" })
local jobs, sign = stator.query { with = { Job } }, stator.entity "sign"
local Ping = stator.event("Ping", { "uint32_t number" })
local pings = stator.inbox(Ping, { cap = 8, full = "drop_old" })
local box, meet = stator.channel { cap = 3 }, stator.channel { cap = 0 }
local seats, arm = stator.semaphore(3), stator.mutex "arm"
local opened, closed, ran = 0, 0, 0

local function generator(seed)
  local state = seed % 2147483647 + 1
  return function(n) state = state * 48271 % 2147483647 return state % n + 1 end
end

local tree -- of so many levels, with the numbers of `pick`

local function branch(pick, depth) return function() return tree(pick, depth - 1) end end

local function branches(pick, depth)
  local list = {}
  for i = 1, pick(3) do list[i] = branch(pick, depth) end
  return list
end

local function hold()
  opened = opened + 1
  stator.defer(function() await(stator.sleep(0.001)) closed = closed + 1 end)
end

local kinds = {
  function(pick) await(stator.sleep(pick(30) / 1000)) end,
  function(pick) await(stator.ticks(pick(3))) end,
  function() cmd:add(sign, Sign, { count = 1 }) await(cmd:commit()) end,
  function(pick) stator.fail("odd", "by seed " .. pick(9)) end,
  function() error("a plain text", 0) end,
  function(pick) await(sign:when(Sign, "on", { within = pick(40) / 1000 })) end,
  function(pick) await(sign:when(Sign, function(s) return s.count % 2 == 0 end, { hold_s = 0.002, within = pick(40) / 1000 })) end,
  function() await(stator.race { a = sign:changed(Sign, "count"), b = stator.sleep(0.02), c = sign:rising(Sign, "on") }) end,
  function(pick) for tick in stator.every(pick(9) / 1000) do if tick.n >= 3 then break end end end,
  function(pick, depth) stator.scope(function() for _, b in ipairs(branches(pick, depth)) do stator.spawn(b) end end) end,
  function(pick, depth) await(stator.race(branches(pick, depth))) end,
  function(pick, depth) await(stator.all(branches(pick, depth))) end,
  function(pick, depth) await(stator.any(branches(pick, depth))) end,
  function(pick, depth) stator.within(pick(50) / 1000, branch(pick, depth)) end,
  function(pick, depth) stator.shield(branch(pick, depth), { within = pick(50) / 1000 }) end,
  function(pick, depth)
    stator.scope(function() stator.cancel_when(stator.sleep(pick(40) / 1000), "by the clock") tree(pick, depth - 1) end)
  end,
  function(pick, depth) stator.scope(function() hold() stator.on_failure(branch(pick, depth)) tree(pick, depth - 1) end) end,
  function(pick, depth) stator.scope(function() stator.start(stator.async(branch(pick, depth))()) tree(pick, depth - 1) end) end,
  function(pick, depth)
    local inner = coroutine.wrap(function() for _ = 1, 2 do stator.try(branch(pick, depth)) coroutine.yield() end end)
    inner() inner()
  end,
  function(pick) cmd:spawn({ Job { seed = pick(1e6) } }) await(cmd:commit()) end,
  function(pick) cmd:send(Ping, { number = pick(99) }) await(cmd:commit()) end,
  function(pick) await(stator.race { ping = pings:next(), item = box:receive(), late = stator.sleep(pick(20) / 1000) }) end,
  function(pick) stator.within(pick(20) / 1000, function() await(box:send(pick(99))) await(meet:send(1)) end) end,
  function(pick)
    await(stator.race { a = meet:receive(), b = box:receive(), c = seats:acquire(), d = stator.sleep(pick(20) / 1000) })
  end,
  function(pick, depth) stator.within(pick(40) / 1000, function() seats:with(pick(2), branch(pick, depth)) end) end,
  function(pick, depth) stator.within(pick(40) / 1000, function() arm:with(branch(pick, depth)) end) end,
  function(pick, depth)
    stator.within(pick(60) / 1000, function() return await(stator.all { seats:acquire(), arm:lock(), branch(pick, depth) }) end)
  end,
  function(pick, depth) stator.retry({ tries = 3, min = 0.001, max = 0.01, on = { "odd" } }, branch(pick, depth)) end,
  function(pick, depth)
    stator.within(pick(80) / 1000, function()
      stator.supervise({ intensity = 2, period = 1 }, {
        { "one", branch(pick, depth), min = 0.001, max = 0.01 }, { "two", branch(pick, depth), restart = "never" } })
    end)
  end,
  function(pick) await(stator.call("answer", pick(9), pick(30))) end,
}

stator.service("answer", { at_once = 2, waiting = 4 }, function(number, ms)
  hold()
  await(stator.sleep(ms / 1000))
  if number == 9 then stator.fail("odd", "no answer") end
  return number
end)

function tree(pick, depth)
  ran = ran + 1
  local kind = kinds[depth > 0 and pick(#kinds) or pick(9)]
  if pick(4) == 1 then hold() end
  local ok, e = stator.try(kind, pick, depth)
  if not ok and pick(3) == 1 then error(e, 0) end
  if pick(3) == 1 and depth > 0 then return tree(pick, depth - 1) end
  return ran
end

stator.per_entity("job", { with = { Job } }, function(_, me)
  local pick = generator(me:get(Job).seed)
  hold()
  stator.try(tree, pick, 3)
end)

stator.task("signals", {}, function()
  local pick = generator(P.seed + 7)
  for tick in stator.every(0.007) do cmd:set(sign, Sign, { on = tick.n % 2 == 0, count = pick(100) }) end
end)

stator.task("reaper", {}, function()
  local pick = generator(P.seed + 3)
  for _ in stator.every(0.031) do
    for _, e in ipairs(jobs:ids()) do if pick(2) == 1 then cmd:despawn(e) end end
  end
end)

stator.task("soak", {}, function()
  local pick = generator(P.seed)
  for _ = 1, P.turns do stator.try(stator.scope, tree, pick, 5) end
  print("done", ran, stator.now())
end)

stator.task("unlock", {}, function() -- who waits without a deadline of its own
  for _ in stator.every(1) do stator.try(stator.within, 0.01, function() while true do await(box:receive()) end end) end
end)

stator.task("tell", {}, function()
  stator.defer(function()
    await(stator.sleep(0.9))
    local waiting = box:stats().receivers + box:stats().senders + meet:stats().receivers + meet:stats().senders
    print("left open", opened - closed + 3 - seats:available() + (arm:owner() and 1 or 0) + seats:waiting() + waiting,
      "of", opened)
  end)
  await(stator.sleep(1e6))
end)
]=]
