-- The same inputs give the same order and the same world, in every process, whatever the kernel says is
-- ready first, wherever things lie in memory, however strings hash.
local support = require "support"

-- with sanitizers each takes longer
local PROCESSES = os.getenv "STATOR_PRESET" == "asan" and 5 or 20

local function run_case(seed)
  local out = support.shell(("STATOR_SHUFFLE=%d %s/build/%s/tests/stator_spec --lpath='%s/tests/support/?.lua' -o plainTerminal "
    .. "--ignore-lua %s/tests/support/determinism_case.lua 2>&1"):format(seed, support.root, os.getenv "STATOR_PRESET" or "dev",
    support.root, support.root))
  return out:match "RESULT[^\n]*" or out
end

describe("a cell in many processes", function()
  it("runs the same tasks in the same order, and comes to the same world", function()
    local first = run_case(1)
    assert.matches("^RESULT\ttrace\t%d%d%d%d%d\t", first)
    for seed = 2, PROCESSES do assert.equal(first, run_case(seed)) end
  end)
end)
