-- A fault that is not the world's memory stays a crash, with a report of it.
local support = require "support"

local function run_case(signal)
  if not signal then
    return support.shell(("%s/build/%s/tests/stator_spec --lpath='%s/tests/support/?.lua' -o plainTerminal --ignore-lua "
      .. "%s/tests/support/crash_case.lua 2>&1"):format(support.root, os.getenv "STATOR_PRESET" or "dev", support.root, support.root))
  end
  local path = support.scene { scripts = { ["main.lua"] = [[
local stator = require "stator"
stator.task("t", {}, function() print("the last words") stator.await(stator.sleep(100)) end)]] } }
  local out = support.folder() .. "/out"
  local _, code = support.shell(("timeout 20 %s run %s >%s 2>&1 & pid=$!; until grep -q 'the last words' %s || ! kill -0 $pid; do sleep 0.05; done; "
    .. "pkill -%s -P $pid; wait $pid"):format(support.binary, path, out, out, signal))
  return support.shell("cat " .. out), code
end

describe("a crash", function()
  after_each(support.finish)

  it("of a script's slice tells signal, address, log, the script's stack and the C stack, and ends by its signal", function()
    local out, code = run_case()
    assert.is_true(code ~= 0)
    assert.matches("stator: crashed: SIGSEGV, address 0x40, at 0x%x+\n", out)
    assert.matches("last log lines:\n.*info  main/t: the last words\n", out)
    assert.matches("script stack:\n  %[C%]\n  eval:3\n  eval:4\n.*  stator/task.lua:%d+\n", out)
    assert.matches("C stack:\n.*crash_report", out)
    assert.is_nil(out:find("1 success", 1, true))
  end)

  it("by a signal of somebody else is told and not diverted", function()
    for _, signal in ipairs { "SEGV", "ABRT", "BUS" } do
      local out, code = run_case(signal)
      assert.is_true(code ~= 0)
      assert.matches("stator: crashed: SIG" .. signal, out)
      assert.matches("the last words.*last log lines:\n.*the last words", out)
      assert.matches("no script was running", out)
    end
  end)
end)
