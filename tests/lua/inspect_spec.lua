-- The task tree, counts and histograms: what somebody who looks at a running cell sees.
local support = require "support"

--- The tree as lines: depth, name, state, place, what it waits for.
local TREE = [[
local lines = {}
local function walk(rows, depth)
  for _, r in ipairs(rows) do
    lines[#lines + 1] = ("%s%s %s %s [%s]%s%s"):format((" "):rep(depth), r.name, r.state, r.place or "-", r.waits_for or "",
      r.deadline_s and (" deadline %.3g"):format(r.deadline_s) or "", r.owner and " of " .. r.owner or "")
    walk(r.children or {}, depth + 1)
  end
end
walk(require("stator.inspect").tree(), 0)
return table.concat(lines, "\n")]]

local function tree_of(main, seconds, entities)
  local cell = support.cell { main = main, entities = entities }
  cell:advance(seconds or 0.1)
  return cell:eval(TREE), cell
end

describe("the task tree", function()
  after_each(support.finish)

  it("shows the script's line, what a task waits for, its deadline, and its children below it", function()
    local text = tree_of([[
local stator = require "stator"
local await = stator.await
local Safety = stator.component("Safety", { "bool estop", "double level" })
local cell = stator.entity "cell"
stator.task("pick", {}, function(cmd)
  stator.within(12, function()
    stator.spawn(function()
      await(stator.sleep(0.41))
    end)
    await(cell:when(Safety, "estop"))
  end)
end)
stator.task("watch", {}, function()
  await(cell:rising(Safety, { level = 2.5, estop = false }))
end)
stator.task("two", {}, function()
  await(stator.ticks(100))
end)
]], 0.11, '[ { "name": "cell", "components": { "Safety": {} } } ]')
    assert.equal([[
main/pick waiting main.lua:10 [condition Safety.estop of cell] deadline 11.9 of scripts/main
 main/pick waiting main.lua:8 [sleep 0.3 s left] deadline 11.9 of scripts/main
main/watch waiting main.lua:14 [rising Safety.estop = false and Safety.level = 2.5 of cell] of scripts/main
main/two waiting main.lua:17 [89 ticks] of scripts/main]], (text:gsub("%[90 ticks%]", "[89 ticks]")))
  end)

  it("names the members of race, all and any, and the child or the end that is waited for", function()
    local text = tree_of([[
local stator = require "stator"
local await = stator.await
local Tool = stator.component("Tool", { "bool closed" })
local tool = stator.entity "tool"
stator.task("race", {}, function()
  await(stator.race { done = tool:when(Tool, "closed"), late = stator.sleep(0.5) })
end)
stator.task("all", {}, function()
  await(stator.all { stator.sleep(1), function() await(tool:changed(Tool)) end })
end)
stator.task("join", {}, function()
  local f = stator.spawn(function() await(tool:removed(Tool)) end)
  await(f)
end)
stator.task("scope", {}, function()
  stator.scope(function() stator.spawn(function() await(tool:despawned()) end) end)
end)
]], 0.1, '[ { "name": "tool", "components": { "Tool": {} } } ]')
    assert.equal([[
main/race waiting main.lua:6 [race of 2: done: condition Tool.closed of tool, late: sleep 0.4 s left] of scripts/main
main/all waiting main.lua:9 [all of 2: sleep 0.9 s left, child main/all] of scripts/main
 main/all waiting main.lua:9 [changed Tool of tool] of scripts/main
main/join waiting main.lua:13 [child main/join] of scripts/main
 main/join waiting main.lua:12 [removed Tool of tool] of scripts/main
main/scope waiting main.lua:16 [end of child main/scope] of scripts/main
 main/scope waiting main.lua:16 [despawned tool] of scripts/main]], text)
  end)

  it("comes in the order of T2, whatever was spawned or woken first", function()
    local body = [[
local stator = require "stator"
for _, n in ipairs { "b", "a" } do
  stator.task(n, {}, function() while true do stator.await(stator.sleep(n == "a" and 0.01 or 0.03)) end end)
end
stator.per_entity("each", { with = { stator.component "Tag" } }, function() stator.await(stator.sleep(9)) end)]]
    local cell = support.cell {
      scene = [[{ "scripts": [ { "file": "z.lua", "as": "main2" }, { "file": "y.lua", "as": "main1" } ],
        "entities": [ { "name": "e2", "components": { "Tag": {} } }, { "name": "e1", "components": { "Tag": {} } } ] }]],
      scripts = { ["z.lua"] = body .. '\nstator.component("Tag", {})', ["y.lua"] = body },
    }
    cell:advance(0.2)
    local names = {}
    for name in cell:eval(TREE):gmatch("(%S+) waiting") do names[#names + 1] = name end
    assert.same({ "main2/b", "main2/a", "main2/each[e2]", "main2/each[e1]", "main1/b", "main1/a", "main1/each[e2]",
      "main1/each[e1]" }, names)
  end)

  it("shows who is being cancelled, and finds the line of what a tail call awaits", function()
    local text = tree_of [[
local stator = require "stator"
local await = stator.await
stator.task("slow", {}, function()
  stator.within(0.05, function()
    stator.defer(function() await(stator.sleep(0.5)) end)
    await(stator.sleep(100))
  end)
end)
stator.task("tail", {}, function() return await(stator.sleep(9)) end)]]
    assert.matches("^main/slow %S+ main.lua:5 %[sleep 0.45 s left%]", text)
    assert.matches("main/tail waiting main.lua:9 %[sleep 8.9 s left%]", text)
  end)

  it("says that a link's request is queued or on its way", function()
    local cell = support.cell {
      virtual = false,
      main = [[
local stator = require "stator"
local plc = stator.link "plc"
stator.task("ask", {}, function()
  while true do
    stator.try(function() stator.await(plc:read_holding(100, 2, { timeout = 60 })) end)
    stator.await(stator.sleep(0.01))
  end
end)]],
      links = '{ "plc": { "driver": "modbus_tcp", "simulate": "sim.lua" } }',
      files = { ["sim.lua"] = 'local stator = require "stator"\nreturn function() stator.await(stator.sleep(1e6)) end' },
    }
    support.wait_for(cell, "link plc: up")
    local text
    cell:eval [[ -- its replies are not looked at any more
      local l = require("stator.link").by_name.plc
      l.session.feed = function(_, bytes) return {}, #bytes end]]
    for _ = 1, 500 do
      cell:advance(0.01)
      text = cell:eval(TREE)
      if text:find("main/ask waiting main.lua:5 [read", 1, true) then break end
    end
    assert.matches("main/ask waiting main.lua:5 %[read_holding.- of link plc, sent %S+ s ago%]", text)
    assert.matches("link plc waiting %S+ %[tcp read%]", text)
  end)
end)
