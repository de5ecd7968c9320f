-- The row of reload: the longest slice of the loop's thread while a script of 50 modules is reloaded, in a cell of its
-- own process (reload/cell.lua), against one tick at 100 Hz. CPU time of the thread. Loaded by bench.lua.
-- luacheck: globals bench_self
local TICK_MS = 10 -- at 100 Hz

local M = { ROUNDS = 6 }

--- Runs the cell. Calls row(name, unit, value, limit, target) for changes of code; told, without a target, for one of a
--- component, whose time is that of its entities.
---@param folder string of the bench
---@param rounds integer of each kind of change
function M.run(folder, rounds, row, told)
  local here = folder .. "reload/"
  local source = assert(loadfile(here .. "source.lua"))()
  local made = assert(io.popen "mktemp -d /tmp/stator-bench-XXXXXX")
  local cell_folder = made:read "*l"
  made:close()
  local scene = source.write_scene(cell_folder)
  local output = assert(io.popen(("%s %s %scell.lua %s %s %d"):format(bench_self(), scene, here, here, cell_folder, rounds)))
  local ms = {}
  for line in output:lines() do
    local name, longest_ns = line:match "^([^\t]+)\t(%d+)\t%d+\t%d+$"
    if name then ms[name] = tonumber(longest_ns) / 1e6 end
  end
  output:close()
  os.execute(("rm -rf '%s'"):format(cell_folder))
  row("longest slice of a reload, 50 modules, one changed", "ms", ms["one module"], TICK_MS, 0.2)
  row("longest slice of a reload, 50 modules, all changed", "ms", ms["all modules"], TICK_MS, 0.2)
  told("longest slice of a reload, with a component of 10k entities", "ms", ms["a component of 10k entities"], TICK_MS)
end

return M
