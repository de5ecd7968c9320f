-- The line of a command, in whatever comes of it.
local support = require "support"

describe("the place of a command", function()
  after_each(support.finish)

  it("is put around its receiver, and nowhere else", function()
    local cell = support.cell ""
    local function text(source)
      return (cell:eval("return (require('stator.instrument').text(..., 'a.lua'))", source):gsub('__at%(cmd,"a.lua:(%d+)"%)', "<%1>"))
    end
    assert.equal("<1>:set(e, C, {})\n<2>:despawn(e) <2>:spawn { C {} }", text "cmd:set(e, C, {})\ncmd:despawn(e) cmd:spawn { C {} }")
    assert.equal("x.cmd:set(1) y:cmd(1) cmd.set(cmd, 1) cmd = 1 f(cmd, 'cmd:set()')", text "x.cmd:set(1) y:cmd(1) cmd.set(cmd, 1) cmd = 1 f(cmd, 'cmd:set()')")
    assert.equal("local s = 'cmd:set(1)' -- cmd:set(1)", text "local s = 'cmd:set(1)' -- cmd:set(1)")
  end)

  it("leaves a text as good as it was", function()
    local cell = support.cell ""
    for _, source in ipairs {
      "local cmd = {} function cmd:go(x) return x end return cmd:go(1)",
      "local cmd = {} function cmd:go() end function cmd.x() end cmd.y = 1 cmd = nil",
      "local cmd = {} function cmd.x:y() end",
      "local x = { cmd = {} } function x.cmd:y() end function x:cmd() end x:cmd(1)",
      "do goto cmd ::cmd:: end",
      "for cmd = 1, 0 do goto cmd ::cmd:: (print or error)() end",
      "local function cmd() end cmd(1) cmd { 1 } cmd 'x' return { cmd = 1, [cmd] = cmd }, function(cmd) return cmd end",
      "for cmd in pairs {} do end for cmd = 1, 0 do end",
      "local cmd, x = {}, '' ::a::cmd:go(1) x = '' .. cmd:go { 1 } x = ...",
      "local cmd = {} cmd\n:go\n'x' cmd:go[[x]].y = 1 cmd:go[==[x]==]:go 'x' if cmd:go(1) then end",
      "local cmd = {} return -cmd:go(1), #cmd:go(1), not cmd:go(1), cmd:go(cmd:go(cmd:go(1)))",
      "local __at = 1 local cmd = {} function cmd:go() end",
    } do
      local plain, message = cell:eval([[
        local plain, message = loadstring(...)
        if plain then plain, message = loadstring((require('stator.instrument').text(..., 'a.lua'))) end
        return plain ~= nil, message]], source)
      assert.is_true(plain, source .. "\n" .. tostring(message))
    end
    local function text(source)
      return (cell:eval("return (require('stator.instrument').text(..., 'a.lua'))", source):gsub('__at%(cmd,"a.lua:%d+"%)', "@"))
    end
    assert.equal("::a::@:go(1) x = 1 ..@:go(1)", text "::a::cmd:go(1) x = 1 ..cmd:go(1)")
    assert.equal("function cmd:go(x) @:go(x) end", text "function cmd:go(x) cmd:go(x) end")
  end)

  it("costs a script of its own that defines methods of `cmd` nothing", function()
    local _, faults = support.run_task([[
      while true do end]], { before = "local cmd = {} function cmd:go(x) return x end", seconds = 1 })
    assert.matches("^stopped: it ran for", faults[1])
  end)

  it("is in the file that records it, also of a module, also after a lost VM", function()
    local path = support.scene {
      scripts = { ["main.lua"] = [[
local stator = require "stator"
local await, cmd = stator.await, stator.cmd
local N = stator.component("N", { "double v" })
local helper = require "helper"
stator.task("t", {}, function(cmd)
  await(stator.sleep(0.5))
  helper.set(cmd, stator.world, N)
end)
stator.task("hang", { restart = "never" }, function()
  string.find(("a"):rep(60), ("a-"):rep(40) .. "b")
end)]] },
      files = { ["helper.lua"] = "return {\n  set = function(cmd, e, C)\n    cmd:set(e, C, { v = 1 })\n  end,\n}" },
      settings = '"limits": { "slice_ms": 4 }',
    }
    local cell = support.cell { path = path, patience = 10 }
    cell:advance(1)
    local faults = support.faults(cell)
    assert.matches("^it did not come back", faults[1])
    assert.matches("^the batch was rejected whole: set on world of N: entity lacks the component.*%(helper.lua:3%)", faults[2])
  end)

  it("of a receiver with another name is unknown", function()
    local _, faults = support.run_task([[ local c = cmd c:set(stator.world, N, { v = 1 }) ]],
      { before = 'local N = stator.component("N", { "double v" })' })
    assert.matches("^the batch was rejected whole: set on world of N: entity lacks the component %[", faults[1])
  end)

  local N = { before = 'local N = stator.component("N", { "double v", "entity e" })' }

  it("is its own when another is recorded among its values", function()
    local _, faults = support.run_task([[
      cmd:set(stator.world, N, {
        v = 1,
        e = cmd:spawn({ N {
          e = cmd:spawn {} } }),
      })]], N)
    assert.matches("set on world of N: entity lacks the component %[.*%(main.lua:5%)", faults[1])
  end)

  it("of one that was not recorded goes to no other", function()
    local said, faults = support.run_task([[
      local c, mine = cmd, { set = function() return "mine" end }
      local function refused()
        c:set(stator.world, N, { v = 1 })
        await(stator.next_tick())
      end
      local before = {
        function() cmd:set(stator.world, N, error "x") end,
        function() cmd:on_dead_target("ignore") end,
        function() local done = cmd:commit() await(done) end,
        function() cmd:insert(stator.world, N, nil) cmd:remove(stator.world, N) end,
        function() local cmd = mine print(cmd:set(1)) end,
        function() cmd:set(await(stator.next_tick())) end,
      }
      for i, fn in ipairs(before) do
        pcall(fn)
        local _, e = pcall(refused)
        print(i, e.message)
      end]], N)
    assert.same({}, faults)
    assert.equal(7, #said)
    for i, line in ipairs(said) do
      if i ~= 5 then assert.matches("^%d\tthe batch was rejected whole: set on world of N: entity lacks", line) end
    end
    assert.equal("mine", said[5])
  end)

  it("is kept apart from that of every other receiver", function()
    local said = support.run_task([[
      local own = setmetatable({}, { __index = cmd })
      own:insert(stator.world, N, { v = 1 })
      cmd.insert(cmd, stator.world, N, { v = 2 })
      cmd.insert(nil, stator.world, N, { v = 3 })
      await(cmd:commit())
      print(stator.world:get(N).v, rawequal(cmd, stator.cmd), (select(2, pcall(function() cmd.set = print end))))
      for i = 1, 300 do
        cmd:set(stator.world, N, { v = i }) cmd:remove(stator.world, N) cmd:insert(stator.world, N)
        cmd:add(stator.world, N, { v = 1 })
        if i % 3 == 0 then cmd:set(stator.world, N, { v = i }) end
        await(stator.next_tick())
        local _, place = stator.world:provenance(N)
        if place ~= "main.lua:" .. (i % 3 == 0 and 14 or 13) then print(i, place) end
      end]], { before = N.before, seconds = 20 })
    assert.same({ "3\ttrue\tmain.lua:10: cmd cannot be changed" }, said)
  end)

  --- The longest of the texts that make(n) answers that compiles as it stands, for n from `most` down.
  local function at_the_limit(most, make)
    return support.cell "":eval([[
      local n, make = ...
      make = loadstring(make)()
      while not loadstring(make(n)) do n = n - 1 end
      return make(n)]], most, make)
  end

  it("is left out, with a warning, where the compiler has no room for it", function()
    local text = at_the_limit(260, [[ return function(n) return "function none() f(" .. ("1,"):rep(n) .. "cmd:go()) end" end]])
    local cell = support.cell("local stator = require 'stator' stator.task('t', {}, function(cmd)\n while true do end\n"
      .. "local none " .. text .. " end)")
    assert.truthy(table.concat(cell:logs(), "\n"):find(
      "main.lua: compiled without places: errors of its commands name no line: main.lua:3: function or expression", 1, true))
    cell:advance(1)
    assert.matches("^stopped: it ran for", support.faults(cell)[1])
  end)

  it("is left out with the stops of loops, with a warning, where the compiler has no room for these", function()
    local text = at_the_limit(32780, [[ return function(n) return "local x while x do " .. ("x=1 "):rep(n) .. "end " end]])
    local cell = support.cell(text .. "require 'stator'.task('t', {}, function() print 'runs' end)")
    assert.truthy(table.concat(cell:logs(), "\n"):find(
      "main.lua: compiled without stops: a loop of it that does not end costs the VM of all scripts", 1, true))
    cell:advance(1)
    assert.same({ "runs" }, support.said(cell))
  end)
end)
