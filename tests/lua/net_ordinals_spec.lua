-- Every operation of stator.net, with failure, cancel, time-out and despawn of the owner at every await ordinal
-- of a scripted run: no task, timer, handle or reference is left, and nothing that was received is lost.
local support = require "support"
local harness = require "harness"

-- A, B: texts; both ends stand in the run, so that each await of either is an ordinal.
local RUNS = {
  connect = [[
    local l = net.listen { port = 0 }
    local c = step(net.connect("127.0.0.1", l:port()))
    local s = step(l:accept())
    step(stator.sleep(0.01))]],
  lines = [[
    local c, s = pair()
    step(c:write("one\ntwo\n"))
    step(s:read_line()) step(s:read_line())
    step(stator.all { s:read_until(";"), c:write("three;") })
    step(c:shutdown())
    step(stator.all { c:write("never"), stator.sleep(1) })]],
  reads = [[
    local c, s = pair()
    step(stator.race { c:read(3), stator.sleep(0.01) })
    step(s:write("abc"))
    step(c:read(2)) step(c:read())]],
  unix = [[
    local l = net.listen { unix = FOLDER .. "/sock" }
    local c = step(net.connect { unix = FOLDER .. "/sock" })
    local s = step(l:accept())
    local sent = stator.start(c:write(("x"):rep(1000000)))
    for _ = 1, 4 do step(s:read()) end
    step(stator.race { sent, stator.sleep(0.01) })]],
  serve = [[
    local l = net.listen { port = 0 }
    stator.scope(function()
      stator.spawn(function()
        net.serve({ listener = l, max_clients = 1 }, function(conn)
          step(conn:write("hello\n"))
          for line in conn:lines() do if line == "end" then break end step(conn:write(line .. "\n")) end
        end)
      end)
      stator.scope(function()
        for i = 1, 2 do
          stator.spawn(function()
            local c = step(net.connect("127.0.0.1", l:port()))
            step(c:read_line()) step(c:write(i .. "\nend\n")) step(c:read_line())
          end)
        end
      end)
      l:close()
    end)]],
  udp = [[
    local a, b = net.udp {}, net.udp {}
    step(a:send("one", "127.0.0.1", b:port()))
    step(b:receive())
    step(stator.race { b:receive(), a:receive(), stator.sleep(0.01) })
    step(b:send("two", "127.0.0.1", a:port())) step(a:receive())]],
  resolve = [[
    step(stator.race { net.resolve("slow.test"), stator.sleep(0.01) })
    step(stator.race { net.connect("slow.test", 1), stator.sleep(0.01) })
    step(stator.sleep(0.01))]],
}

local SCRIPT = [[
local stator = require "stator"
local await, cmd, net = stator.await, stator.cmd, stator.net
local N = stator.component("N", { "bool stop" })
local Own = stator.component("Own", {})
local e, owner = stator.entity "e", stator.entity "owner"
local P = stator.params { at = 0, mode = "none" }
local FOLDER = %q

local n, ended = 0, false
local function step(op)
  n = n + 1
  if n == P.at then
    if P.mode == "fail" then stator.start(op) error("injected", 0) end
    if P.mode == "cancel" then cmd:set(e, N, { stop = true }) end
    if P.mode == "despawn" then cmd:despawn(owner) end
    if P.mode == "timeout" then return stator.within(0, await, op) end
  end
  return await(op)
end
local function pair()
  local l = net.listen { port = 0 }
  local c = step(net.connect("127.0.0.1", l:port()))
  return c, step(l:accept())
end
local function go()
  local ok, problem = stator.try(function()
    stator.scope(function()
      stator.cancel_when(e:when(N, "stop"), "stopped from outside")
      %s
    end)
  end)
  print(n, ok, problem and problem.message)
end
stator.per_entity("t", { with = { Own } }, function() stator.defer(function() ended = true end) go() end)
stator.task("watch", {}, function()
  await(stator.sleep(5))
  print("ended", ended, n)
end)]]

local SCENE = [=[{ "scripts": [ { "file": "main.lua", "params": { "at": %d, "mode": "%s" } } ],
  "entities": [ { "name": "e", "components": { "N": {} } }, { "name": "owner", "components": { "Own": {} } } ] }]=]

--- Awaits in all, and handles that are left when the task has ended and others go on.
local function outcome(code, at, mode)
  harness.gate(false)
  local cell = support.cell { scene = SCENE:format(at, mode),
    scripts = { ["main.lua"] = SCRIPT:format(support.folder(), code) } }
  cell:advance(6)
  local said = table.concat(support.said(cell), "\n")
  local ended, n = said:match("ended\t(%a+)\t(%d+)")
  assert(ended == "true", said)
  cell:eval "collectgarbage() collectgarbage()"
  local left = select(4, cell:counts())
  if mode == "cancel" and at > 0 then assert(said:find("stopped from outside") or said:find("true"), said) end
  harness.gate(true) -- the resolver's threads outlive their lookups
  support.finish() -- ends it in order and checks that nothing is left
  return tonumber(n), left
end

describe("every await ordinal of net", function()
  after_each(function()
    harness.gate(true)
    support.finish()
  end)

  local names = {}
  for name in pairs(RUNS) do names[#names + 1] = name end
  table.sort(names)

  for _, name in ipairs(names) do
    it(name .. " survives failure, cancel, time-out and despawn", function()
      local awaits, left = outcome(RUNS[name], 0, "none")
      assert.equal(0, left)
      assert.is_true(awaits > 2)
      for at = 1, awaits do
        for _, mode in ipairs { "fail", "cancel", "timeout", "despawn" } do
          local _, open = outcome(RUNS[name], at, mode)
          assert.equal(0, open, ("%s: %s at await %d"):format(name, mode, at))
        end
      end
    end)
  end
end)
