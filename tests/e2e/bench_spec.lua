-- The measurements' options, without measuring.
local support = require "support"

local BENCH = ("cd %s && build/%s/tests/stator_bench tests/bench/scene.json tests/bench/bench.lua "):format(support.root,
  os.getenv "STATOR_PRESET" or "dev")

describe("./dev bench", function()
  it("tells its options when it is asked, and measures nothing", function()
    for _, asked in ipairs { "--help", "-h", "--nobevy 'it is not built' --help", "--core -h" } do
      local said, code = support.shell(BENCH .. asked .. " 2>/dev/null")
      assert.equal(0, code)
      assert.matches("^usage: ./dev bench ", said)
      for _, option in ipairs { "core", "row NAME", "json FILE", "bevy PROGRAM", "nobevy REASON", "help, %-h" } do
        assert.matches("\n%-%-" .. option .. "  +%w", said)
      end
      assert.is_nil(said:find("ns", 1, true))
    end
  end)

  it("refuses what is no option, with the same text and no trace", function()
    for asked, why in pairs { ["--cor"] = "unknown option --cor", ["x"] = "unknown option x", ["--row"] = "no value after --row" } do
      local said, code = support.shell(BENCH .. asked .. " 2>&1 >/dev/null")
      assert.equal(2, code)
      assert.equal(why, said:match "^[^\n]+")
      assert.matches("\nusage: ", said)
      assert.is_nil(said:find("traceback", 1, true))
    end
  end)
end)
