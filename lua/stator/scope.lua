--- Scopes: blocks of code that may be cancelled as a whole, nested in tasks. What they are for, and how they
--- end: stator.task.
local core = require "stator.core.task"
local err = require "stator.err"
local world = require "stator.core.world"

---@class stator.Scope
---@field task stator.Task the task it belongs to; itself, when it is one
---@field parent stator.Scope?
---@field inner stator.Scope? the next scope of the same task
---@field first_child stator.Task? tasks spawned in it that have not ended, in order,
---@field last_child stator.Task? linked by `elder` and `younger`
---@field cancelled stator.Error?
---@field holds stator.Error? the cancellation that holds in it: the outermost one below the nearest shield
---@field shield boolean cancellations from above stop here
---@field failure stator.Error? of a child
---@field batch number? where it began to record: the batch,
---@field place number? and the place in it
---@field started table[]? operations that were started in it
---@field cleanups table[]? in the order of defer
---@field held stator.Hold[]? permits that go back when it ends
---@field joins boolean? its task ends it, or `all`, and waits for every child
---@field passing boolean? of a combinator: permits go to the scope around it
---@field owned table? what was opened in it last, see own.lua
---@field left boolean? it has ended
---@field due_s number? its deadline, for whoever asks
local Scope = {}
Scope.__index = Scope

local M = { Scope = Scope }

--- Tells the core what the task's awaits raise now, and wakes it when it waits.
local function refresh(task)
  if task.done then return end
  local cancelled = task.scope.holds
  if cancelled ~= task.told then
    task.told = cancelled
    core.set_cancel(task.handle, cancelled)
  end
  if cancelled then core.interrupt(task.handle, cancelled) end
end

local function holds_in(scope)
  if scope.shield then return scope.cancelled end
  return scope.parent and scope.parent.holds or scope.cancelled
end

--- Notes anew what holds in a scope and everything inside. No recursion: trees may be deep.
local function spread(start)
  local list, n = { start }, 1
  while n > 0 do
    local scope = list[n]
    list[n], n = nil, n - 1
    local holds = holds_in(scope)
    if holds ~= scope.holds or scope == start then
      scope.holds = holds
      if scope.inner then
        n = n + 1
        list[n] = scope.inner
      elseif scope.task.scope == scope then
        refresh(scope.task)
      end
      local child = scope.first_child
      while child do
        n = n + 1
        list[n], child = child, child.younger
      end
    end
  end
end

--- Cancels everything inside. The first reason stays.
---@param code string
---@param reason string
function Scope:cancel(code, reason)
  if self.cancelled then return end
  local e = err.new("cancelled", reason)
  e.scope, e.as = self, code
  self.cancelled = e
  spread(self)
end

--- A new scope inside the innermost one of the running task.
---@param shield boolean? cancellations from outside stop at it
---@return stator.Scope
function M.enter(task, shield)
  local batch, place, kept = world.mark()
  local scope = setmetatable({
    task = task, parent = task.scope, shield = shield, batch = batch, place = place, kept = kept,
  }, Scope)
  scope.holds = holds_in(scope)
  task.scope.inner = scope
  task.scope = scope
  if shield then refresh(task) end
  return scope
end

--- Ends the innermost scope of a task.
function M.leave(scope)
  local task = scope.task
  scope.left = true
  task.scope = scope.parent
  scope.parent.inner = nil
  refresh(task)
end

--- Whether nothing runs in it any more.
---@return boolean?
function Scope:has_ended() return self.left or self.task.done end

-- ---- children -------------------------------------------------------------------------------

function M.add_child(scope, child)
  local last = scope.last_child
  child.elder = last
  if last then last.younger = child else scope.first_child = child end
  scope.last_child = child
  child.holds = holds_in(child)
  refresh(child)
end

--- Takes a child out; one that is out already is no error.
function M.remove_child(scope, child)
  local elder, younger = child.elder, child.younger
  if not elder and scope.first_child ~= child then return end
  if elder then elder.younger = younger else scope.first_child = younger end
  if younger then younger.elder = elder else scope.last_child = elder end
  child.elder, child.younger = nil, nil
end

--- The next child after one; the first after nil: `for child in scope.next_child, scope do`. Nobody is taken
--- out meanwhile.
function Scope.next_child(scope, child)
  if child then return child.younger end
  return scope.first_child
end

--- The same for those that it waits for at its end; daemons are left out.
function Scope.next_awaited(scope, child)
  repeat child = Scope.next_child(scope, child) until not child or not child.daemon
  return child
end

return M
