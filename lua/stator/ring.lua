--- Rings of items: the queues of channels and inboxes.
---
--- An item is two values and its number `at` in the order of sending. One that was taken out and is not
--- wanted after all goes back by its number, so the order stays, whoever gives back first.
local M = {}

---@class stator.Ring
---@field head integer slot of the oldest item, from 0
---@field count integer
---@field slots integer
---@field a any[] first values
---@field b any[] second values
---@field at integer[] numbers

---@param slots integer at first; it grows
---@return stator.Ring
function M.new(slots) return { head = 0, count = 0, slots = slots, a = {}, b = {}, at = {} } end

local function grow(r)
  local a, b, at, slots = {}, {}, {}, r.slots
  for i = 0, r.count - 1 do
    local from = (r.head + i) % slots
    a[i], b[i], at[i] = r.a[from], r.b[from], r.at[from]
  end
  r.a, r.b, r.at, r.head, r.slots = a, b, at, 0, slots * 2
end

--- Appends an item, of the highest number.
function M.push(r, a, b, at)
  if r.count == r.slots then grow(r) end
  local slot = (r.head + r.count) % r.slots
  r.a[slot], r.b[slot], r.at[slot] = a, b, at
  r.count = r.count + 1
end

--- Puts an item back at its place in the order of sending, which is near the front.
function M.put_back(r, a, b, at)
  if r.count == r.slots then grow(r) end
  local slot = (r.head - 1) % r.slots
  r.head, r.count = slot, r.count + 1
  for _ = 2, r.count do
    local after = (slot + 1) % r.slots
    if r.at[after] > at then break end
    r.a[slot], r.b[slot], r.at[slot] = r.a[after], r.b[after], r.at[after]
    slot = after
  end
  r.a[slot], r.b[slot], r.at[slot] = a, b, at
end

--- Takes the oldest item out; there is one.
---@return any a, any b, integer at
function M.pop(r)
  local slot = r.head
  local a, b, at = r.a[slot], r.b[slot], r.at[slot]
  r.a[slot], r.b[slot] = nil, nil
  r.head, r.count = (slot + 1) % r.slots, r.count - 1
  return a, b, at
end

return M
