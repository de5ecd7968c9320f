-- Random trees of scopes; ./dev fuzz runs this for STATOR_SOAK_SECONDS.
local soak = require "soak"
local support = require "support"

local SECONDS = tonumber(os.getenv "STATOR_SOAK_SECONDS")
local TURNS, MIN_CELLS = 600, 5

local SCENE = [=[{ "scripts": [ { "file": "main.lua", "params": { "seed": %d, "turns": %d } } ], "limits": { "tasks": 20000 },
  "entities": [ { "name": "sign", "components": { "Sign": {} } } ] }]=]

--- Answers how many trees ran, and what the Lua heap holds afterwards.
local function run(seed)
  local cell = support.cell { scene = SCENE:format(seed, TURNS), scripts = { ["main.lua"] = soak } }
  local done
  for _ = 1, 400 do
    cell:advance(0.25)
    done = support.said(cell, "^done")[1]
    if done then break end
  end
  for _, fault in ipairs(support.faults(cell)) do
    assert(not fault:find "declared", fault) -- the script itself is in order
  end
  assert(done, ("seed %d does not end:\n%s"):format(seed, table.concat(cell:logs(), "\n")))
  local kib = {}
  for i = 1, 2 do
    cell:advance(2)
    kib[i] = cell:eval "collectgarbage() collectgarbage() return collectgarbage 'count'"
  end
  return done, kib, cell
end

describe("random trees of scopes", function()
  after_each(support.finish)

  it("leave no task, handle, timer, watch or reference behind", function()
    local first = SECONDS and os.time() or 1
    local deadline, seed, trees = os.time() + (SECONDS or 0), first, 0
    while os.time() < deadline or seed < first + MIN_CELLS do
      local done, kib, cell = run(seed)
      trees = trees + tonumber(done:match "^done\t(%d+)")
      assert.is_true(kib[2] < kib[1] + 64, ("seed %d: the heap grows: %g to %g KiB"):format(seed, kib[1], kib[2]))
      cell:stop "test"
      cell:advance(2)
      assert.matches("^left open\t0\tof\t%d%d", support.said(cell, "^left open")[1])
      support.finish() -- checks that nothing is left
      seed = seed + 1
    end
    io.stdout:write(("%d trees, seeds %d to %d\n"):format(trees, first, seed - 1))
  end)

  it("are the same in every run", function()
    local one = run(11)
    support.finish()
    assert.equal(one, (run(11)))
  end)
end)
