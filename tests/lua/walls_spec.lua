-- The walls, from Lua: stray writes, views kept across awaits, writers' rows, scripts that do not come
-- back, heaps that fill up. Attacks that scripts cannot express get ffi from the test.
local support = require "support"

local FAST = '"limits": { "slice_soft_ms": 1, "slice_ms": 4 }'
local BEFORE = [[
local Pose = stator.component("Pose", { "double x", "double y", "float joint[3]", "char label[8]" })
local e, d = stator.entity "e", stator.entity "d"
]]
local ENTITIES = [=[ [ { "name": "e", "components": { "Pose": { "x": 1 } } }, { "name": "d", "components": { "Pose": { "x": 2 } } } ] ]=]

local function run(body, options)
  options = options or {}
  return support.run_task(body, {
    before = BEFORE .. (options.before or ""), entities = ENTITIES, seconds = options.seconds or 1,
    settings = options.settings, patience = options.patience, walls = options.walls,
  })
end

local guard_names = { "faults", "warned", "stopped", "abandoned", "refused", "lost", "moves", "walls" }
local function guard(cell)
  local out = {}
  for i, value in ipairs { cell:guard() } do out[guard_names[i]] = value end
  return out
end

local function all_logs(cell) return table.concat(cell:logs(), "\n") end

describe("a view that is kept across an await", function()
  after_each(support.finish)

  it("raises at the line that uses it once the world has changed", function()
    local said, faults, cell = run [[
      local kept = e:get(Pose)
      cmd:set(d, Pose, { x = 5 })
      await(stator.sleep(0.01))
      print(pcall(function() return kept.x end))
      print(e:get(Pose).x)
      for _, row in stator_rows:each() do kept = row break end
      cmd:set(d, Pose, { x = 6 })
      await(cmd:commit())
      print(kept.y)
      print("not reached")
    ]], { before = "stator_rows = 1" }
    assert.is_table(said)
  end)
end)
