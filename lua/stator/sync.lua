--- Semaphores and mutexes: permits that a scope holds and gives back when it ends, however it ends.
---
---     task ── acquire ──▶ [ waiters, in the order in which they came ] ──▶ permits ──▶ scope ── its end ──▶ permits
---
--- Permits are handed on: who gives them back gives them to the first waiter, who runs a round later.
--- A waiter that raises has none: permits that it was handed in the meantime go to the next one. Who
--- waits for many is not overtaken by who waits for few.
local core = require "stator.core.task"
local err = require "stator.err"
local names = require "stator.names"
local task = require "stator.task"
local waiters = require "stator.waiters"
local waits = require "stator.waits"

local park, unwrap = core.park, core.unwrap
local is_yieldable = coroutine.isyieldable

local PERMITS_MAX = 1e9
local NAME_MAX = 60

local M = {}

--- A future that is settled: to wait for the next round only.
local NEXT_ROUND = core.future()
core.settle(NEXT_ROUND, true)
M.NEXT_ROUND = NEXT_ROUND

--- A name in quotes, or the place where it is made.
function M.name_of(what, name)
  if name == nil then
    local place = core.here()
    return place and "of " .. place or ""
  end
  if type(name) ~= "string" or name == "" or #name > NAME_MAX then
    err.raise(("%s: expected a name of 1 to %d bytes, got %s"):format(what, NAME_MAX, err.shown(name)))
  end
  return err.shown(name)
end

-- ---- permits --------------------------------------------------------------------------------

---@class (exact) stator.Lock
---@field kind "semaphore"|"mutex"
---@field name string
---@field size integer
---@field free integer
---@field waiters stator.Waiters
---@field seq integer
---@field owner table? of a mutex: the task that has it
---@field since string? where that one took it
---@field give_back fun(hold: stator.Hold)

local function grant(lock, w)
  lock.free = lock.free - w.n
  w.state = "granted"
  if lock.kind == "mutex" then lock.owner, lock.since = w.task, w.place end
end

--- Hands free permits to waiters, in their order.
local function hand_on(lock)
  local w = lock.waiters.first
  while w and lock.free >= w.n do
    waiters.remove(lock.waiters, w)
    local scope = w.scope
    if scope and scope:has_ended() then -- of an abandoned task
      w.state = "withdrawn"
    else
      grant(lock, w)
      if scope then w.hold = waits.keep(scope, lock, w.n) end
      core.settle(w.future, true)
    end
    w = lock.waiters.first
  end
end

local function free_permits(lock, n)
  lock.free = lock.free + n
  if lock.kind == "mutex" then lock.owner, lock.since = nil, nil end
  hand_on(lock)
end

local function give_back(hold)
  if hold.gone then return end
  hold.gone = true
  free_permits(hold.lock, hold.n)
end

local function new_lock(kind, name, size)
  return {
    kind = kind, name = name, size = size, free = size, waiters = waiters.new(), seq = 0, give_back = give_back,
  }
end

--- A waiter that has its permits, or would have to wait: then it is in no list yet.
local function request(lock, n, t)
  lock.seq = lock.seq + 1
  local w = { lock = lock, n = n, task = t, seq = lock.seq, state = "waiting" }
  if lock.kind == "mutex" then w.place = core.here() end
  if lock.free >= n and not lock.waiters.first then grant(lock, w) end
  return w
end

local function is_held_by(lock, t)
  if lock.owner ~= t then return end
  return ("mutex %s: %s has locked it already, at %s; it cannot be locked twice"):format(lock.name, t.name, lock.since)
end

--- Waits in the list; answers as park.
local function wait_for(lock, w)
  w.future = core.future()
  local is_mutex = lock.kind == "mutex"
  if is_mutex then waits.check_lock(w.task, w) end
  if not waiters.append(lock.waiters, w) then err.raise(waiters.too_many(lock.kind), "limit") end
  if not is_mutex then return park(w.future) end
  w.task.waits = w
  waits.count(1)
  local ok, e = park(w.future)
  w.task.waits = nil
  waits.count(-1)
  return ok, e
end

--- What a waiter that raises leaves behind: nothing.
local function withdraw(lock, w)
  if w.state == "waiting" then
    waiters.remove(lock.waiters, w)
    hand_on(lock) -- a big request may have held up small ones
  elseif w.hold then
    if waits.take(w.scope, lock, w.hold) then give_back(w.hold) end
  elseif w.state == "granted" then
    free_permits(lock, w.n)
  end
  w.state = "withdrawn"
end

--- Takes permits for the innermost scope of the running task, in it.
local function acquire(lock, n)
  local t = task.current(lock.kind)
  if t.told or not is_yieldable() then return unwrap(park(NEXT_ROUND)) end -- raises
  local held = is_held_by(lock, t)
  if held then err.raise(held, "deadlock") end
  local w = request(lock, n, t)
  local ok, e
  if w.state == "granted" then ok, e = park(NEXT_ROUND) else ok, e = wait_for(lock, w) end
  if not ok or t.told then
    withdraw(lock, w)
    error(ok and t.told or e, 0)
  end
  waits.keep(t.scope, lock, n)
end

--- The scope around the combinators in which an operation is started.
local function holder(t)
  local scope = t.scope
  while scope.passing and scope.parent do scope = scope.parent end
  return scope
end

local ACQUIRE = { await = acquire }

--- The same for a combinator, or `start`: the permits belong to the scope around it.
function ACQUIRE.start(lock, n)
  local scope = holder(task.current(lock.kind))
  local future, held = core.future(), is_held_by(lock, scope.task)
  if held then
    core.settle(future, false, err.new("deadlock", held))
    return future, function() end
  end
  local w = request(lock, n, scope.task)
  w.scope, w.future = scope, future
  if w.state == "granted" then
    w.hold = waits.keep(scope, lock, n)
    core.settle(future, true)
  elseif not waiters.append(lock.waiters, w) then
    w.state = "withdrawn"
    core.settle(future, false, err.new("limit", waiters.too_many(lock.kind)))
  end
  local function back() withdraw(lock, w) end
  return future, back, back
end

local function run_with(lock, n, fn, ...)
  acquire(lock, n)
  return fn(...)
end

local function with(lock, n, fn, ...)
  if type(fn) ~= "function" then err.raise(("%s: with: expected a function, got %s"):format(lock.kind, type(fn))) end
  return task.block(task.enter(task.current(lock.kind .. ":with")), run_with, lock, n, fn, ...)
end

--- Gives back early what the running task took last.
local function release(lock, what)
  local t = task.current(what)
  local scope = t.scope
  while scope and scope.task == t do
    local hold = waits.take(scope, lock)
    if hold then return give_back(hold) end
    scope = scope.parent
  end
  if lock.owner then
    err.raise(("%s: mutex %s is held by %s since %s"):format(what, lock.name, lock.owner.name, lock.since))
  end
  err.raise(("%s: %s holds nothing of %s %s"):format(what, t.name, lock.kind, lock.name))
end

-- ---- semaphore ------------------------------------------------------------------------------

---@class stator.Semaphore
local Semaphore = {}
local semaphores = setmetatable({}, { __mode = "k" })

---@return stator.Lock
local function semaphore_of(self, what)
  return semaphores[self] or err.raise(("%s: write semaphore:%s(...)"):format(what, what))
end

local function checked_permits(lock, what, n)
  return n == nil and 1 or names.whole(what .. ": permits", n, 1, lock.size)
end

--- Takes permits; they go back when the innermost block or the task ends. An operation.
---@param n integer? 1 by default
function Semaphore:acquire(n)
  local lock = semaphore_of(self, "acquire")
  return task.paired(ACQUIRE, lock, checked_permits(lock, "acquire", n))
end

--- Runs fn with a permit and returns its results, or raises.
---@param fn function or how many permits, then the function
---@async
function Semaphore:with(fn, ...)
  local lock = semaphore_of(self, "with")
  if type(fn) == "number" then return with(lock, checked_permits(lock, "with", fn), ...) end
  return with(lock, 1, fn, ...)
end

--- Gives back early what the running task acquired last.
function Semaphore:release() release(semaphore_of(self, "release"), "release") end

--- Permits that nobody has.
---@return integer
function Semaphore:available() return semaphore_of(self, "available").free end

--- Requests that wait.
---@return integer
function Semaphore:waiting() return semaphore_of(self, "waiting").waiters.count end

local SEMAPHORE = names.fixed_class("semaphore", Semaphore)

--- A semaphore of n permits. Anywhere; it lives as long as the variable that holds it.
---@param n integer
---@param name string? for messages
---@return stator.Semaphore
function M.semaphore(n, name)
  names.whole("semaphore: permits", n, 1, PERMITS_MAX)
  local self = setmetatable({}, SEMAPHORE)
  semaphores[self] = new_lock("semaphore", M.name_of("semaphore", name), n)
  return self
end

-- ---- mutex ----------------------------------------------------------------------------------

---@class stator.Mutex
local Mutex = {}
local mutexes = setmetatable({}, { __mode = "k" })

---@return stator.Lock
local function mutex_of(self, what)
  return mutexes[self] or err.raise(("%s: write mutex:%s(...)"):format(what, what))
end

--- Locks it; it is unlocked when the innermost block or the task ends. Code "deadlock" when the task
--- has it already, and when tasks would wait for each other for ever. An operation.
function Mutex:lock() return task.paired(ACQUIRE, mutex_of(self, "lock"), 1) end

--- Runs fn with the mutex locked and returns its results, or raises. As lock.
---@async
function Mutex:with(fn, ...) return with(mutex_of(self, "with"), 1, fn, ...) end

--- Unlocks it early. Raises when the running task has not locked it.
function Mutex:unlock() release(mutex_of(self, "unlock"), "unlock") end

--- Name of the task that has it, and where it took it; nil when it is free.
---@return string?
---@return string?
function Mutex:owner()
  local lock = mutex_of(self, "owner")
  if lock.owner then return lock.owner.name, lock.since end
end

--- Tasks that wait for it.
---@return integer
function Mutex:waiting() return mutex_of(self, "waiting").waiters.count end

local MUTEX = names.fixed_class("mutex", Mutex)

--- A mutex. Anywhere; it lives as long as the variable that holds it.
---@param name string? for messages
---@return stator.Mutex
function M.mutex(name)
  local self = setmetatable({}, MUTEX)
  mutexes[self] = new_lock("mutex", M.name_of("mutex", name), 1)
  return self
end

--- Notes for each future that somebody waits for here what that is, in words; for whoever looks on.
---@param map table<userdata, string>
function M.index(map)
  for _, kind in ipairs { semaphores, mutexes } do
    for _, lock in pairs(kind) do -- each has its own: the order does not show
      waiters.index(lock.waiters, map, lock.kind .. " " .. lock.name)
    end
  end
end

return M
