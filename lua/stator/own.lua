--- What a scope owns besides tasks: connections, listeners, sockets. An item is closed when its scope
--- ends, last opened first, after the scope's cleanup. What its function returns goes on to the scope around
--- it.
---
--- An item is a table with a method `close`, made by M.item; what its scope is called in stands in it.
local M = {}

--- Makes an item of a table. `drop` is called in the place of close when nobody uses a fresh one.
---@param item table
---@param drop fun(item: table)
function M.item(item, drop)
  item.own_scope, item.own_prev, item.own_next, item.own_drop = false, false, false, drop
  return item
end

--- Takes an item off its scope: nothing but its holder closes it then.
function M.detach(item)
  local scope, before, after = item.own_scope, item.own_prev, item.own_next
  if not scope then return end
  if after then after.own_prev = before else scope.owned = before or nil end
  if before then before.own_next = after end
  item.own_scope, item.own_prev, item.own_next = false, false, false
end

--- Gives an item to a scope.
function M.attach(item, scope)
  M.detach(item)
  local last = scope.owned
  item.own_scope, item.own_prev = scope, last or false
  if last then last.own_next = item end
  scope.owned = item
end

--- Gives what a scope owns and its function has returned to the scope around it.
function M.hand_on(scope, around, ...)
  for i = 1, select("#", ...) do
    local value = select(i, ...)
    if type(value) == "table" and rawget(value, "own_scope") == scope then M.attach(value, around) end
  end
end

--- Closes what a scope owns.
function M.close_all(scope)
  while scope.owned do
    local item = scope.owned
    M.detach(item)
    item:close()
  end
end

--- A value that an operation ended with and that nobody uses.
function M.drop(value)
  local drop = type(value) == "table" and rawget(value, "own_drop")
  if drop then drop(value) end
end

return M
