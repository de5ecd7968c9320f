local support = require "support"
local run = support.run_task

describe("await", function()
  after_each(support.finish)

  it("suspends even on a settled future", function()
    local said = run [[
      local f = stator.spawn(function() print "child" return 7 end)
      await(f)
      print(await(f), await(f))
    ]]
    assert.same({ "child", "7\t7" }, said)
  end)
end)
