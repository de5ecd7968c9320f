-- Random histories of channels and semaphores with random cancels, seeded and the same in every run.
--
-- "Step by step": one action at a time, compared after each with a reference made of plain lists.
-- "At once": many actions in one slice, so that hand-overs, cancels, time-outs and refused batches meet in
-- the same round; compared with what must hold whatever the order: nothing is lost, made twice or left.
local support = require "support"

-- What scripts cannot do: cancel a scope from anywhere, in the middle of a slice.
local TEST_HOOKS = [[
  local index = debug.getmetatable(require "stator").__index
  local _, real
  for i = 1, 10 do
    local name, value = debug.getupvalue(index, i)
    if name == "members" then _, real = name, value end
  end
  local task = require "stator.task"
  real.test = {
    scope = function() return task.current("test").scope end,
    cancel = function(scope) scope:cancel("killed", "killed") end,
  }
]]

local COMMON = [[
local stator = require "stator"
local await, cmd = stator.await, stator.cmd
local N = stator.component("N", { "int32_t v" })
local P = stator.params { seed = 0, steps = 0 }
local state = P.seed
local function random(n) state = (state * 1103515245 + 12345) % 2147483648 return math.floor(state / 65536) % n + 1 end
local function chance(n) return random(n) == 1 end
local function settle() await(stator.sleep(0.001)) await(stator.sleep(0.001)) end

-- Operations under way: each in a task and a scope of its own, which can be cancelled at any point.
local live, order, result = {}, {}, {}
local next_id = 0
local function begin(fn)
  next_id = next_id + 1
  local id = next_id
  order[#order + 1] = id
  live[id] = true
  stator.spawn(function()
    local function keep(ok, ...)
      live[id] = nil
      result[id] = ok and { ok = true, n = select("#", ...), ... } or { code = (...).code }
    end
    keep(stator.try(stator.scope, function()
      if live[id] == "dead" then stator.fail("killed", "killed") end
      live[id] = stator.test.scope()
      return fn(id)
    end))
  end)
  return id
end
local function kill(id)
  if type(live[id]) == "table" then stator.test.cancel(live[id]) elseif live[id] then live[id] = "dead" end
end
local function some_live()
  local list = {}
  for _, id in ipairs(order) do if live[id] then list[#list + 1] = id end end
  order = list
  return list[random(math.max(1, #list))]
end
local function kill_all() for _, id in ipairs(order) do kill(id) end settle() end
]]

local function history(body, seed, steps)
  local cell = support.cell {
    scene = ([=[{ "scripts": [ { "file": "main.lua", "params": { "seed": %d, "steps": %d } } ],
      "limits": { "slice_ms": 2000, "slice_soft_ms": 1000 } }]=]):format(seed, steps),
    scripts = { ["main.lua"] = COMMON .. body },
  }
  cell:eval(TEST_HOOKS)
  cell:advance(60)
  assert.same({ "done" }, support.said(cell), "seed " .. seed)
end

local CHANNEL_BY_STEPS = [[
stator.task("t", {}, function()
  local ch, model, expected
  local function fresh()
    local cap = random(4) - 1
    local full = cap == 0 and "wait" or ({ "wait", "drop_old", "drop_new", "reject" })[random(4)]
    ch = stator.channel { cap = cap, full = full }
    model = { cap = cap, full = full, items = {}, senders = {}, receivers = {} }
  end
  local function push_out(list, id)
    for i, x in ipairs(list) do if x == id then table.remove(list, i) return true end end
  end
  local function receive(id)
    if #model.items > 0 then
      local v = table.remove(model.items, 1)
      if #model.senders > 0 then
        local sender = table.remove(model.senders, 1)
        model.items[#model.items + 1] = sender
        expected[sender] = true
      end
      return v
    elseif #model.senders > 0 then
      local sender = table.remove(model.senders, 1)
      expected[sender] = true
      return sender
    elseif model.closed then
      return "closed"
    elseif id then
      model.receivers[#model.receivers + 1] = id
    end
  end
  local function send(id, may_wait)
    if model.closed then return "closed" end
    if #model.receivers > 0 then
      expected[table.remove(model.receivers, 1)] = id
    elseif #model.items < model.cap then
      model.items[#model.items + 1] = id
    elseif model.full == "wait" and may_wait then
      model.senders[#model.senders + 1] = id
      return nil
    elseif model.full == "drop_old" then
      table.remove(model.items, 1)
      model.items[#model.items + 1] = id
    elseif model.full == "drop_new" then
      return false
    else
      return "full"
    end
    return true
  end
  expected = {}
  local function check(what)
    settle()
    for id, want in pairs(expected) do
      local got = result[id]
      local value = got and got.code
      if got and got.ok then value = got[1] end
      if value ~= want then error(("%s: %d: expected %s, got %s"):format(what, id, tostring(want), tostring(value)), 0) end
      expected[id], result[id] = nil, nil
    end
    local s = ch:stats()
    if s.count ~= #model.items or s.senders ~= #model.senders or s.receivers ~= #model.receivers or next(result) then
      error(("%s: %d items, %d senders, %d receivers; expected %d, %d, %d"):format(what, s.count, s.senders, s.receivers,
        #model.items, #model.senders, #model.receivers), 0)
    end
  end
  local actions = {
    function()
      local id = begin(function() return (await(ch:receive())) end)
      expected[id] = receive(id)
    end,
    function()
      local id = begin(function(id) return (await(ch:send(id))) end)
      expected[id] = send(id, true)
    end,
    function()
      local id = some_live()
      if not id then return end
      kill(id)
      if push_out(model.senders, id) or push_out(model.receivers, id) then expected[id] = "killed" end
    end,
    function()
      next_id = next_id + 1
      local want, ok, why = send(next_id, false), ch:try_send(next_id)
      if want == false then want = "dropped" end
      if (ok or why) ~= want then error("try_send: expected " .. tostring(want) .. ", got " .. tostring(ok or why), 0) end
    end,
    function()
      local want, ok, v = receive(nil), ch:try_receive()
      if v ~= (want or "empty") then error("try_receive: expected " .. tostring(want) .. ", got " .. tostring(v), 0) end
    end,
    function()
      if not chance(8) then return end
      if model.closed then
        check("drained")
        if #model.items == 0 then fresh() end
        return
      end
      ch:close()
      model.closed = true
      for _, list in ipairs { model.senders, model.receivers } do
        while list[1] do expected[table.remove(list, 1)] = "closed" end
      end
    end,
  }
  fresh()
  for i = 1, P.steps do
    local action = random(#actions)
    actions[action]()
    check(("step %d, action %d, cap %d, %s"):format(i, action, model.cap, model.full))
  end
  kill_all()
  print "done"
end)
]]

local CHANNEL_AT_ONCE = [[
stator.task("t", {}, function()
  local ch, ch_cap, sent, refused, seen
  local function fresh()
    local cap = random(4) - 1
    ch_cap = cap
    ch = stator.channel { cap = cap, full = cap == 0 and "wait" or ({ "wait", "reject" })[random(2)] }
    sent, refused, seen = {}, {}, {}
  end
  local function see(v)
    if v == nil then return end
    if seen[v] then error(v .. " came twice", 0) end
    seen[v] = true
  end
  local function spoil() if chance(8) then cmd:set(stator.world, N, { v = 1 }) end end
  local function send(how)
    local id = begin(function(id)
      spoil()
      refused[id] = true
      how(ch:send(id))
      refused[id], sent[id] = nil, true
    end)
    return id
  end
  local function timed(op) return stator.within(0.001 * random(3), function() return await(op) end) end
  local function raced(op)
    local who, v = await(stator.race { stator.sleep(0.001 * random(2)), op })
    if who == 1 then stator.fail("late", "late") end
    return v
  end
  local actions = {
    function() begin(function() spoil() see(await(ch:receive())) end) end,
    function() begin(function() spoil() see(timed(ch:receive())) end) end,
    function() begin(function() spoil() see(raced(ch:receive())) end) end,
    function()
      begin(function()
        spoil()
        local a, b = await(stator.all { ch:receive(), ch:receive() })
        see(a) see(b)
      end)
    end,
    function() begin(function() spoil() local _, v = await(stator.race { ch:receive(), ch:receive() }) see(v) end) end,
    function() send(await) end, function() send(await) end, function() send(await) end, function() send(timed) end,
    function() next_id = next_id + 1 if ch:try_send(next_id) then sent[next_id] = true end end,
    function() next_id = next_id + 1 if ch:try_send(next_id) then sent[next_id] = true end end,
    function() local ok, v = ch:try_receive() if ok then see(v) end end,
    function() local id = some_live() if id then kill(id) end end,
    function() local id = some_live() if id then kill(id) end end,
    function() local id = some_live() if id then kill(id) end end,
    function() if chance(20) then ch:close() end end,
  }
  local function settle_all(i)
    settle()
    local s = ch:stats()
    if s.receivers > 0 and (s.count > 0 or s.senders > 0) or s.senders > 0 and s.count < ch_cap then
      error(("step %d: %d receivers, %d senders and %d items, and nobody moves"):format(i, s.receivers, s.senders, s.count), 0)
    end
  end
  local function judge(i)
    kill_all()
    while true do
      local ok, v = ch:try_receive()
      if not ok then break end
      see(v)
    end
    local s = ch:stats()
    for id in pairs(sent) do if not seen[id] then error(("step %d: %d was sent and is lost"):format(i, id), 0) end end
    for id in pairs(seen) do
      if refused[id] then error(("step %d: %d came, and its send raised"):format(i, id), 0) end
    end
    if s.senders + s.receivers + s.count > 0 or s.sent ~= s.received then error("step " .. i .. ": something is left", 0) end
    fresh()
  end
  fresh()
  for i = 1, P.steps do
    actions[random(#actions)]()
    if chance(3) then await(cmd:commit()) elseif chance(6) then settle_all(i) end
    if i % 100 == 0 then judge(i) end
  end
  print "done"
end)
]]

local SEMAPHORE_BY_STEPS = [[
stator.task("t", {}, function()
  local SIZE = 5
  local sem = stator.semaphore(SIZE)
  local free, queue, holders, has, go = SIZE, {}, {}, {}, {}
  local function serve()
    while queue[1] and queue[1].n <= free do
      local w = table.remove(queue, 1)
      free = free - w.n
      holders[#holders + 1] = w
    end
  end
  local function leave(id)
    for i, w in ipairs(holders) do if w.id == id then table.remove(holders, i) free = free + w.n end end
    for i, w in ipairs(queue) do if w.id == id then table.remove(queue, i) break end end
    serve()
  end
  local function check(what)
    settle()
    local count = 0
    for _ in pairs(has) do count = count + 1 end
    local same = count == #holders and sem:available() == free and sem:waiting() == #queue
    for _, w in ipairs(holders) do same = same and has[w.id] end
    if not same then
      error(("%s: %d hold, %d free, %d wait; expected %d, %d, %d"):format(what, count, sem:available(), sem:waiting(),
        #holders, free, #queue), 0)
    end
  end
  local function hold(id)
    has[id] = true
    stator.defer(function() has[id] = nil end)
    await(go[id]:receive())
  end
  local actions = {
    function()
      local n = random(SIZE)
      local by_scope = chance(2)
      local id = begin(function(id)
        if not by_scope then return sem:with(n, hold, id) end
        await(sem:acquire(n))
        hold(id)
        if chance(2) then sem:release() end
      end)
      go[id] = stator.channel { cap = 1 }
      queue[#queue + 1] = { id = id, n = n }
      serve()
    end,
    function()
      local w = holders[random(math.max(1, #holders))]
      if not w then return end
      go[w.id]:try_send(true)
      leave(w.id)
    end,
    function()
      local id = some_live()
      if not id then return end
      kill(id)
      leave(id)
    end,
  }
  for i = 1, P.steps do
    local action = random(#actions)
    actions[action]()
    check(("step %d, action %d"):format(i, action))
  end
  kill_all()
  print(sem:available() == SIZE and sem:waiting() == 0 and "done" or "left")
end)
]]

local SEMAPHORE_AT_ONCE = [[
stator.task("t", {}, function()
  local SIZE = 4
  local sem, m = stator.semaphore(SIZE), stator.mutex "m"
  local inside, locked, go = 0, 0, stator.channel { cap = 1000 }
  local function hold(n)
    inside = inside + n
    if inside > SIZE then error("more permits than there are", 0) end
    stator.defer(function() inside = inside - n end)
    await(stator.race { go:receive(), stator.sleep(0.001 * random(5)) })
  end
  local function hold_lock()
    locked = locked + 1
    if locked > 1 then error("two owners", 0) end
    stator.defer(function() locked = locked - 1 end)
    if chance(3) then sem:with(1, hold, 1) else await(stator.sleep(0.001 * random(3))) end
  end
  local function spoil() if chance(8) then cmd:set(stator.world, N, { v = 1 }) end end
  local actions = {
    function() local n = random(SIZE) begin(function() spoil() sem:with(n, hold, n) end) end,
    function() local n = random(SIZE) begin(function() spoil() await(sem:acquire(n)) hold(n) end) end,
    function()
      local n = random(SIZE)
      begin(function() stator.within(0.001 * random(4), function() spoil() await(sem:acquire(n)) hold(n) end) end)
    end,
    function()
      local n = random(SIZE)
      begin(function()
        spoil()
        local who = await(stator.race { late = stator.sleep(0.001 * random(3)), sem = sem:acquire(n) })
        if who == "sem" then hold(n) end
      end)
    end,
    function() begin(function() spoil() m:with(hold_lock) end) end,
    function() begin(function() spoil() stator.within(0.001 * random(4), function() await(m:lock()) hold_lock() end) end) end,
    function() go:try_send(true) end,
    function() local id = some_live() if id then kill(id) end end,
    function() local id = some_live() if id then kill(id) end end,
  }
  local wrong = { error = true, deadlock = true }
  for i = 1, P.steps do
    actions[random(#actions)]()
    if chance(3) then await(cmd:commit()) elseif chance(6) then settle() end
    for id, r in pairs(result) do
      if not r.ok and wrong[r.code] then error(("step %d: %d ended with %s"):format(i, id, r.code), 0) end
      result[id] = nil
    end
    if i % 100 == 0 then
      kill_all()
      if sem:available() ~= SIZE or sem:waiting() > 0 or m:owner() or m:waiting() > 0 or inside + locked > 0 then
        error(("step %d: %d permits are lost"):format(i, SIZE - sem:available()), 0)
      end
    end
  end
  print "done"
end)
]]

describe("random histories", function()
  after_each(support.finish)

  for seed = 1, 3 do
    it("of a channel step by step, seed " .. seed, function() history(CHANNEL_BY_STEPS, seed, 3000) end)
    it("of a channel at once, seed " .. seed, function() history(CHANNEL_AT_ONCE, seed, 5000) end)
    it("of a semaphore step by step, seed " .. seed, function() history(SEMAPHORE_BY_STEPS, seed, 2000) end)
    it("of semaphore and mutex at once, seed " .. seed, function() history(SEMAPHORE_AT_ONCE, seed, 5000) end)
  end
end)

describe("the same history", function()
  after_each(support.finish)

  it("comes in every process", function()
    local path = support.scene { scripts = { ["main.lua"] = [[
local stator = require "stator"
local await = stator.await
local state = 7
local function random(n) state = (state * 1103515245 + 12345) % 2147483648 return math.floor(state / 65536) % n + 1 end
local channels = { stator.channel { cap = 0 }, stator.channel { cap = 2, full = "drop_old" }, stator.channel { cap = 1 } }
local sem, m = stator.semaphore(3), stator.mutex "m"
local hash, events = 0, 0
local function note(...)
  for i = 1, select("#", ...) do
    for c in tostring((select(i, ...))):gmatch(".") do hash = (hash * 31 + c:byte()) % 4294967291 end
  end
  events = events + 1
end
local function job() await(stator.sleep(0.001 * random(3))) end
local doing = {
  function() return await(channels[random(3)]:receive()) end,
  function(i) return await(channels[random(3)]:send(i)) end,
  function() return sem:with(random(3), job) end,
  function() return m:with(job) end,
  function() return await(stator.race { a = channels[random(3)]:receive(), b = sem:acquire(2), c = m:lock() }) end,
  function(i) return await(stator.any { x = channels[random(3)]:send(i), y = channels[random(3)]:receive() }) end,
}
for i = 1, 40 do
  stator.task("t" .. i, {}, function()
    for turn = 1, 50 do
      note(i, turn, stator.try(stator.within, 0.001 * random(5), doing[random(#doing)], i))
    end
    print("end", events, hash)
  end)
end]] } }
    local runs = {}
    for i = 1, 3 do
      local out, code = support.shell(("timeout 60 %s run --virtual --ticks 60 %s"):format(support.binary, path))
      assert.equal(0, code, out)
      local ends = {}
      for text in out:gmatch("end\t[^\n]+") do ends[#ends + 1] = text end
      assert.equal(40, #ends)
      runs[i] = table.concat(ends, "\n")
      assert.matches("end\t2000\t", runs[i])
      assert.equal(runs[1], runs[i])
    end
  end)
end)
