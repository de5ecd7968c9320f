--- Scopes: blocks of code that may be cancelled as a whole, nested in tasks. What they are for, and how they
--- end: stator.task.
local core = require "stator.core.task"
local err = require "stator.err"
local world = require "stator.core.world"

local NONE = {}

---@class stator.Scope
---@field task stator.Task the task it belongs to; itself, when it is one
---@field parent stator.Scope?
---@field inner stator.Scope? the next scope of the same task
---@field children stator.Task[]? tasks spawned in it that have not ended, in order
---@field cancelled stator.Error?
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

--- The cancellation that holds in a scope: the outermost one below the nearest shield.
local function effective(scope)
  local found
  while scope do
    found = scope.cancelled or found
    if scope.shield then break end
    scope = scope.parent
  end
  return found
end

--- Tells the core what the task's awaits raise now, and wakes it when it waits.
function M.refresh(task)
  if task.done then return end
  local cancelled = effective(task.scope)
  if cancelled ~= task.told then
    task.told = cancelled
    core.set_cancel(task.handle, cancelled)
  end
  if cancelled then core.interrupt(task.handle, cancelled) end
end

local function refresh_tree(scope)
  M.refresh(scope.task)
  while scope do
    for _, child in ipairs(scope.children or NONE) do refresh_tree(child) end
    scope = scope.inner
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
  refresh_tree(self)
end

--- A new scope inside the innermost one of the running task.
---@param shield boolean? cancellations from outside stop at it
---@return stator.Scope
function M.enter(task, shield)
  local batch, place, kept = world.mark()
  local scope = setmetatable({
    task = task, parent = task.scope, shield = shield, batch = batch, place = place, kept = kept,
  }, Scope)
  task.scope.inner = scope
  task.scope = scope
  if shield then M.refresh(task) end
  return scope
end

--- Ends the innermost scope of a task.
function M.leave(scope)
  local task = scope.task
  scope.left = true
  task.scope = scope.parent
  scope.parent.inner = nil
  M.refresh(task)
end

--- Whether nothing runs in it any more.
---@return boolean?
function Scope:has_ended() return self.left or self.task.done end

-- ---- children -------------------------------------------------------------------------------

function M.add_child(scope, child)
  scope.children = scope.children or {}
  table.insert(scope.children, child)
  M.refresh(child)
end

function M.remove_child(scope, child)
  for i, c in ipairs(scope.children) do
    if c == child then return table.remove(scope.children, i) end
  end
end

--- The next child after the i-th that it waits for at its end; daemons are left out:
--- `for _, child in scope.next_awaited, scope, 0 do`.
---@param i integer
---@return integer? i
---@return stator.Task?
function Scope:next_awaited(i)
  local children = self.children or NONE
  repeat i = i + 1 until not children[i] or not children[i].daemon
  if children[i] then return i, children[i] end
end

return M
