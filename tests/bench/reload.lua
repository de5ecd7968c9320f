-- The row of reload: the longest slice of the loop's thread while a script of 50 modules is reloaded, in a cell of its
-- own process (reload/cell.lua), against one tick at 100 Hz. CPU time of the thread. Loaded by bench.lua.
-- luacheck: globals bench_self
local TICK_NS, TARGET, ROUNDS = 1e7, 0.2, 6

local M = { ROUNDS = ROUNDS }

--- Runs the cell. Calls row(name, unit, value, limit, target) for changes of code; told, without a target, for one of a
--- component, whose time is that of its entities.
---@param folder string of the bench
function M.run(folder, row, told)
  local here = folder .. "reload/"
  local source = assert(loadfile(here .. "source.lua"))()
  local made = assert(io.popen "mktemp -d /tmp/stator-bench-XXXXXX")
  local cell_folder = made:read "*l"
  made:close()
  local scene = source.write_scene(cell_folder)
  local output = assert(io.popen(("%s %s %scell.lua %s %s %d"):format(bench_self(), scene, here, here, cell_folder, ROUNDS)))
  for line in output:lines() do
    local name, longest = line:match "^([^\t]+)\t(%d+)\t%d+\t%d+$"
    if name then
      local print_row = name:find "component" and told or row
      print_row("longest slice of a reload, 50 modules: " .. name, "ms", tonumber(longest) / 1e6, TICK_NS / 1e6, TARGET)
    end
  end
  output:close()
  os.execute(("rm -rf '%s'"):format(cell_folder))
end

return M
