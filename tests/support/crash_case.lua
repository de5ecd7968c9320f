-- Run by tests/e2e/crash_spec.lua in a process of its own: a script's task touches address 0.
local support = require "support"
it("crashes", function()
  local cell = support.cell [[
local stator = require "stator"
stator.task("t", {}, function() print("the last words") stator.await(stator.sleep(100)) end)]]
  cell:advance(0.05)
  cell:eval [[
    local task, registry, ffi = require "stator.task", require "stator.registry", require "ffi"
    task.spawn({ name = "bad", order = registry.order(2, 1, 9), quiet = true }, function()
      local function touch(p) return p[0] end
      touch(ffi.cast("int *", 64))
    end)]]
  cell:advance(0.05)
end)
