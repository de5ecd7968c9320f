--- Names and owners of the tasks that ended last: their last batch may not have been applied yet, and
--- what comes of it is told with the name.
local KEPT = 4096

local M = {}

local ring, count = {}, 0

function M.add(task)
  local at = count % KEPT
  local entry = ring[at] or {}
  entry.handle, entry.name, entry.owner = task.handle, task.name, task.owner
  ring[at], count = entry, count + 1
end

---@return { handle: number, name: string, owner: number? }?
function M.find(handle)
  for i = 1, math.min(KEPT, count) do
    local entry = ring[(count - i) % KEPT]
    if entry.handle == handle then return entry end
  end
end

return M
