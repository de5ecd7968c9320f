-- The scene of the reload row: one script of 50 modules, about 16,000 lines, with components, systems, tasks and
-- functions as a cell has them. Loaded by ../reload.lua, which writes it, and by cell.lua, which changes it.
local M = { MODULES = 50, FUNCTIONS = 19, ROWS = 10000 }

local HEAD = [[
-- Module %d of a made-up cell, version %d.
local stator = require "stator"
local await = stator.await

local Axis = stator.component("Axis%d", { "double position_m", "double speed_m_s", "double target_m", "bool enabled"%s })
local State = stator.component("State%d", { "uint32_t count", "uint16_t errors", "char last[24]" })
local VERSION = %d
]]

local FUNCTION = [[

-- Step %d of the sequence: how far the axis has to go on, and how fast.
local function step_%d(position_m, target_m, limit)
  local rest_m = target_m - position_m
  local speed_m_s = rest_m * 0.5
  if speed_m_s > limit then
    speed_m_s = limit
  elseif speed_m_s < -limit then
    speed_m_s = -limit
  end
  local texts = { "left", "right", "stands" }
  if rest_m == 0 then return 0, texts[3] end
  return speed_m_s, speed_m_s < 0 and texts[1] or texts[2]
end
]]

local TAIL = [[

stator.system("move%d", { write = { Axis }, every = 0.05 }, function(cmd, q, tick)
  for first, last, axes in q:chunks() do
    for i = first, last do
      local axis = axes[i]
      if axis.enabled then
        axis.position_m = axis.position_m + axis.speed_m_s * tick.dt_s
      end
    end
  end
end)

stator.system("watch%d", { read = { State }, every = 1 }, function(cmd, q)
  for _ in q:each() do
    if VERSION < 0 then error "never" end
  end
end)

stator.task("sequence%d", {}, function(cmd)
  while true do
    await(stator.sleep(1 + %d * 0.01))
    local e = stator.entity "cell"
    cmd:insert(e, State, { count = VERSION, errors = 0, last = "sequence" })
  end
end)

stator.task("supervise%d", {}, function(cmd)
  local e = stator.entity "cell"
  await(e:when(State, { errors = 1 }))
  cmd:set(e, State, { errors = 0 })
end)

return { steps = { %s }, version = VERSION }
]]

--- The text of module k.
---@param more boolean? its component has a field more
function M.module(k, version, more)
  local parts, names = { HEAD:format(k, version, k, more and ', "double load_n"' or "", k, version) }, {}
  for i = 1, M.FUNCTIONS do
    parts[#parts + 1] = FUNCTION:format(i, i)
    names[i] = "step_" .. i
  end
  parts[#parts + 1] = TAIL:format(k, k, k, k, k, table.concat(names, ", "))
  return table.concat(parts)
end

function M.main()
  local parts = { 'local stator = require "stator"' }
  for k = 1, M.MODULES do parts[#parts + 1] = ('require "module%d"'):format(k) end
  return table.concat(parts, "\n") .. "\n"
end

local function write(path, text)
  local file = assert(io.open(path, "w"))
  file:write(text)
  file:close()
end
M.write = write

--- Writes module k into a folder.
function M.write_module(folder, k, version, more) write(("%s/module%d.lua"):format(folder, k), M.module(k, version, more)) end

--- Writes the scene and all of its files.
---@return string scene
function M.write_scene(folder)
  for k = 1, M.MODULES do M.write_module(folder, k, 0) end
  write(folder .. "/main.lua", M.main())
  write(folder .. "/scene.json", '{ "name": "reload", "scripts": ["main.lua"], "entities": [ { "name": "cell", "components": {} } ], '
    .. '"reload": { "watch": "off" }, "limits": { "heap_mb": 1024 } }')
  return folder .. "/scene.json"
end

return M
