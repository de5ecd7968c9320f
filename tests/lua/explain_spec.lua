-- stator run --explain-jit: which loops stay in the interpreter, why, and what to write instead.
local support = require "support"

local HEAD = [[
local stator = require "stator"
local Pose = stator.component("Pose", { "double x", "double y" })
local Vel = stator.component("Vel", { "double x", "double y" })
]]

--- Runs a script and answers the report. LuaJIT gives a loop up after some tries, whose pauses are random: with
--- `wanted`, it is run until the report has that, at most for a minute of the script's time.
local function report(main, wanted)
  local cell = support.cell { main = HEAD .. main, explain_jit = true,
    entities = '[ { "name": "a", "components": { "Pose": {}, "Vel": {} } } ]' }
  local text
  for _ = 1, wanted and 20 or 1 do
    cell:advance(3)
    text = cell:eval 'return require("stator.explain").report()'
    if wanted and text:find(wanted) then break end
  end
  assert.same({}, support.faults(cell))
  return text
end

local NOTHING = "explain-jit: every hot loop of the scripts was compiled, and rows are bound once\n"

describe("explain-jit", function()
  after_each(support.finish)

  it("has nothing to tell of loops that are compiled, and of tasks that wait in a loop", function()
    assert.equal(NOTHING, report [[
stator.system("move", { write = { Pose }, read = { Vel } }, function(_, q, tick)
  for first, last, pose, vel in q:chunks() do
    for i = first, last do
      local p, v = pose[i], vel[i]
      p.x = p.x + v.x * tick.dt_s
    end
  end
end)
stator.system("sum", { read = { Pose } }, function(_, q)
  local sum = 0
  for k = 1, 100 do sum = sum + k end
  for _, p in q:each() do sum = sum + p.x end
end)
stator.task("wait", {}, function() for _ in stator.every(0.001) do end end)
stator.task("commit", {}, function(cmd)
  for _ = 1, 1000 do cmd:set(stator.entity "a", Vel, { x = 1 }) stator.await(stator.sleep(0.001)) end
end)]])
  end)

  it("names a loop that makes functions, with its line and what to do", function()
    local wanted = "  main.lua:6: the loop is not compiled %(given up%): it makes a function in every turn %(main.lua:7%); "
      .. "make the function once, before the loop\n"
    local text = report([[
stator.system("closures", { read = { Pose } }, function()
  local list = {}
  for i = 1, 200 do
    list[i] = function() return i end
  end
end)]], wanted)
    assert.matches("explain%-jit: %d to mend\n", text)
    assert.matches(wanted, text)
  end)

  it("names the line in a function that the loop calls", function()
    local wanted = "  main.lua:7: the loop is not compiled %(given up%): it makes a function in every turn %(main.lua:4%)"
    assert.matches(wanted, report([[
local function maker(i) return function() return i end end
local list = {}
stator.system("makes", { read = { Pose } }, function()
  for i = 1, 200 do list[i] = maker(i) end
end)]], wanted))
  end)

  it("names boxes that are looked up twice for a row, and no others", function()
    local text = report [[
stator.system("twice", { write = { Pose }, read = { Vel } }, function(_, q)
  for first, last, pose, vel in q:chunks() do
    for i = first, last do
      pose[i].x = pose[i].x + vel[i].x
    end
    for i = first, last do
      pose[i].y = vel[i].y
    end
  end
end)]]
    assert.equal([[
explain-jit: 1 to mend
  main.lua:7: pose[i] is looked up more than once for a row, which costs 2.5 times: bind the row once, local row = pose[i]
]], text)
  end)

  it("is off unless asked for", function()
    local cell = support.cell(HEAD)
    assert.equal("nil", (cell:eval 'return tostring(package.loaded["stator.explain"])'))
  end)

  it("prints at the end of a run", function()
    local path = support.scene { scripts = { ["main.lua"] = [[
local stator = require "stator"
stator.system("s", {}, function() local t = {} for i = 1, 200 do t[i] = function() return i end end end)]] } }
    local out, code = support.shell(("%s run --virtual --ticks 2000 --explain-jit %s 2>&1"):format(support.binary, path))
    assert.equal(0, code)
    assert.matches("explain%-jit: 1 to mend\n  main.lua:2: the loop is not compiled", out)
  end)
end)
