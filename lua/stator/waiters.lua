--- Lists of those who wait for one object, in the order in which they came.
---
--- A waiter is a table with a `future`; `seq` is its number in the list, for who puts it back. Each list
--- has a limit: the one too many gets the error "limit".
local M = {
  MAX = 65536, -- of one list
}

---@class stator.Waiters linked through the waiters
---@field first table?
---@field last table?
---@field count integer

---@return stator.Waiters
function M.new() return { first = nil, last = nil, count = 0 } end

--- Puts a waiter before `after`, or at the end.
local function insert(list, w, after)
  local before = list.last
  if after then before = after.before end
  w.before, w.after = before, after
  if before then before.after = w else list.first = w end
  if after then after.before = w else list.last = w end
  list.count = list.count + 1
end

--- Appends a waiter; answers false when the list is full.
function M.append(list, w)
  if list.count >= M.MAX then return false end
  insert(list, w, nil)
  return true
end

--- Puts one back that was in the list before, at its place.
function M.put_back(list, w)
  local after = list.first
  while after and after.seq < w.seq do after = after.after end
  insert(list, w, after)
end

function M.remove(list, w)
  if w.before then w.before.after = w.after else list.first = w.after end
  if w.after then w.after.before = w.before else list.last = w.before end
  w.before, w.after = nil, nil
  list.count = list.count - 1
end

--- Notes for each waiter's future what it waits for; for whoever looks on.
---@param map table<userdata, string>
function M.index(list, map, text)
  local w = list.first
  while w do
    map[w.future], w = text, w.after
  end
end

--- What the one too many is told.
function M.too_many(kind) return ("more than %d tasks wait for the %s"):format(M.MAX, kind) end

return M
