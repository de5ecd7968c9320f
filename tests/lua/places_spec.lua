-- The line of a command, in whatever comes of it.
local support = require "support"

describe("the place of a command", function()
  after_each(support.finish)

  it("is put around its receiver, and nowhere else", function()
    local cell = support.cell ""
    local function text(source)
      return (cell:eval("return (require('stator.instrument').text(..., 'a.lua'))", source):gsub("__at%(cmd,(%d+)%)", "<%1>"))
    end
    assert.equal("<1>:set(e, C, {})\n<2>:despawn(e) <2>:spawn { C {} }", text "cmd:set(e, C, {})\ncmd:despawn(e) cmd:spawn { C {} }")
    assert.equal("x.cmd:set(1) y:cmd(1) cmd.set(cmd, 1) cmd = 1 f(cmd, 'cmd:set()')", text "x.cmd:set(1) y:cmd(1) cmd.set(cmd, 1) cmd = 1 f(cmd, 'cmd:set()')")
    assert.equal("local s = 'cmd:set(1)' -- cmd:set(1)", text "local s = 'cmd:set(1)' -- cmd:set(1)")
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
end)
