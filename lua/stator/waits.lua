--- What tasks hold, and what they wait for.
---
--- A hold is permits of a semaphore or mutex that a scope has: they go back when the scope ends,
--- however it ends. Waits form a graph, in which a cycle would last for ever:
---
---   task ── waits for ──▶ mutex ── held by ──▶ task
---   task ── joins, or awaits the future of ──▶ task
---
--- So whoever would close one gets an error at its await, and the others go on. Every cycle that is
--- looked for has a mutex in it, so nothing is looked for while no task waits for one.
local core = require "stator.core.task"
local err = require "stator.err"

local VISITS_MAX = 10000 -- tasks that one search looks at; beyond that it finds no cycle

local M = {
  waiting = 0, -- tasks that wait for a mutex
  by_handle = nil, ---@type table<number, table> of lua/stator/task
}

--- One more task waits for a mutex, or one less.
---@param change integer
function M.count(change)
  M.waiting = M.waiting + change
  core.check_waits(M.waiting > 0)
end

-- ---- holds ----------------------------------------------------------------------------------

---@class (exact) stator.Hold
---@field lock table of lua/stator/sync
---@field n integer permits
---@field gone boolean? given back

--- Ties permits to a scope. Whoever has them gives them back with `lock.give_back(hold)`.
---@return stator.Hold
function M.keep(scope, lock, n)
  local hold = { lock = lock, n = n }
  local held = scope.held
  if held then held[#held + 1] = hold else scope.held = { hold } end
  return hold
end

--- Takes the last hold of a lock out of a scope; with `hold`, that one.
---@return stator.Hold?
function M.take(scope, lock, hold)
  local held = scope.held
  for i = held and #held or 0, 1, -1 do
    local h = held[i]
    if h.lock == lock and (not hold or h == hold) then return table.remove(held, i) end
  end
end

--- Gives back what a scope holds, the last taken first.
function M.release(scope)
  local held = scope.held
  scope.held = nil
  for i = #held, 1, -1 do held[i].lock.give_back(held[i]) end
end

-- ---- the graph ------------------------------------------------------------------------------

local function awaited(scope)
  local list = {}
  for child in scope.next_awaited, scope do list[#list + 1] = child end
  return list
end

--- For whom a task waits: the owner of a mutex, every child that it joins, or the task whose future
--- it awaits. A task that is being cancelled, or was woken, waits for nobody.
local function blockers(t)
  if t.done or t.told then return {} end
  local waiter = t.waits
  if waiter then
    return waiter.state == "waiting" and waiter.lock.owner and { waiter.lock.owner } or {}, waiter
  end
  if t.scope.joins and core.state(t.handle) == "parked" then return awaited(t.scope) end
  local handle = core.waits_for(t.handle)
  return { handle and M.by_handle[handle] }
end

local search

--- The waits that lead from task `from` to `goal`, nearest first, or nil.
local function path(from, goal, seen)
  if from == goal then return {} end
  if seen[from] or seen.count >= VISITS_MAX then return end
  seen[from], seen.count = true, seen.count + 1
  local list, waiter = blockers(from)
  return search(from, list, waiter, goal, seen)
end

function search(from, list, waiter, goal, seen)
  for _, to in ipairs(list) do
    local steps = path(to, goal, seen)
    if steps then
      table.insert(steps, 1, { from = from, to = to, waiter = waiter })
      return steps
    end
  end
end

--- The name of a task, and where it was spawned: children have the name of their parent.
function M.called(t)
  local place = t.spawned_at
  return t.name .. (place and place:sub(1, 7) ~= "stator/" and (" (spawned at %s)"):format(place) or "")
end

local function at(place) return place and place ~= "" and " at " .. place or "" end

local function told(step, goal)
  local waiter = step.waiter
  if waiter then
    local lock = waiter.lock
    return ("%s waits%s for mutex %s, which %s holds since %s"):format(M.called(step.from), at(waiter.place), lock.name,
      M.called(step.to), lock.since)
  end
  local place
  if step.from == goal then
    place = core.here()
  else
    place = err.place { message = "", trace = core.traceback(step.from.handle) }
  end
  return ("%s waits%s for %s to end"):format(M.called(step.from), at(place), M.called(step.to))
end

--- Raises code "deadlock" when the wait of `t` for one of `list` would close a cycle.
---@param waiter table? of a mutex
local function check(t, list, waiter)
  local steps = search(t, list, waiter, t, { count = 0 })
  if not steps then return end
  local texts = {}
  for i, step in ipairs(steps) do texts[i] = told(step, t) end
  local place = core.here()
  error(err.new("deadlock", (place and place .. ": " or "") .. "this wait would never end: "
    .. table.concat(texts, "; ")), 0)
end

--- Before a task waits for a mutex that another one holds.
function M.check_lock(t, waiter) check(t, { waiter.lock.owner }, waiter) end

--- Before the running task waits for a future.
function M.check_await(x)
  if core.is(x) ~= "future" then return end
  local handle, other = core.current(), core.end_of(x)
  local t = handle and M.by_handle[handle]
  if t and not t.told and other and M.by_handle[other] then check(t, { M.by_handle[other] }) end
end

--- Before a scope waits for its children.
function M.check_join(scope)
  local t = scope.task
  if not t.told then check(t, awaited(scope)) end
end

return M
