--- Operations that were started in a scope (`stator.start`, `cancel_when`): taken back when it ends.
local err = require "stator.err"

local PRUNE = 16 -- operations of a scope, before ended ones are forgotten

local M = {}

--- Whether the end of the scope has something to do with it.
local function is_needed(item)
  local state = item.future:state()
  if state == "pending" or item.watched then return true end
  return not item.future:observed() and (state == "failed" or item.undo ~= nil)
end

--- Ties a started operation to a scope.
---@param scope stator.Scope the innermost one of the running task
---@param child table? the task that runs it
---@param undo function? of an operation that went well and that nobody has looked at, see task.paired
---@return table item; with `watched` in it a task of its own looks at the future, and takes `undo` out when it uses it
function M.keep(scope, future, cancel, child, undo)
  local list = scope.started or { prune_at = PRUNE }
  if #list >= list.prune_at then
    local kept = {}
    for _, item in ipairs(list) do if is_needed(item) then kept[#kept + 1] = item end end
    kept.prune_at = math.max(PRUNE, 2 * #kept) -- each is looked at a few times only
    list = kept
  end
  list[#list + 1] = { future = future, cancel = cancel, child = child, undo = undo }
  scope.started = list
  return list[#list]
end

--- Takes back the operations that were started in a scope and still run, and what reached one too late.
---@param outlast fun(child: stator.Task) waits for one that was cancelled
function M.stop(scope, outlast)
  local list = scope.started
  for i = list and #list or 0, 1, -1 do
    local item = list[i]
    item.over = true -- whoever watches it has nothing to do any more
    if item.future:state() == "pending" then item.cancel() end
  end
  for i = list and #list or 0, 1, -1 do
    local item = list[i]
    if item.child then outlast(item.child) end
    local state = item.future:state()
    if item.undo and state == "ok" and (item.watched or not item.future:observed()) then item.undo() end
    item.undo = nil
  end
end

--- A failure that nobody asked for is a fault.
---@param tell fun(name: string, e: stator.Error, owner: number?)
function M.tell_unobserved(scope, tell)
  local list = scope.started
  scope.started = nil
  for _, item in ipairs(list or {}) do
    if item.future:state() == "failed" and not item.watched and not item.future:observed() then
      local e = item.future:values()
      local task = scope.task
      if not err.is_cancelled(e) and e.code ~= "cancelled" then tell(task.name, e, task.owner) end
    end
  end
end

return M
