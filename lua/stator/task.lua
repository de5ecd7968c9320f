--- Tasks and scopes.
---
--- A task is a coroutine of the host with a name, an owner and a root scope. A scope is a block of
--- code that may be cancelled as a whole; scopes nest inside a task, and a child task's root scope
--- has the scope that spawned it as its parent, so scopes form one tree:
---
---   script ─ task ─ root scope ─ within ─ ... ◀─ the task runs in its innermost scope
---                        └─ child task ─ root scope ─ ...
---
--- Cancelling is level-triggered: while a scope is cancelled every await inside raises the same
--- error, and the scope that was cancelled turns it into an ordinary failure. Cleanup runs last in
--- first out, shielded from the cancellation, with a deadline of its own.
local core = require "stator.core.task"
local err = require "stator.err"
local log = require "stator.log"
local world = require "stator.core.world"

local park, unwrap, is_lua = core.park, core.unwrap, core.is_lua
local CLEANUP_WITHIN_S = 1.0 -- for a cleanup that names no deadline
local ENDED_KEPT = 4096
local STARTED_PRUNE = 16 -- started operations of a scope, before ended ones are forgotten
local GRACE_S = 1.0 -- for a cancelled task that does not end

local M = {
  by_handle = {}, ---@type table<number, table>
  ended = {}, -- ring of names and owners of the tasks that ended last
  ended_at = 0,
  on_fault = nil, ---@type fun(name: string, e: stator.Error, owner: number?)
}

-- ---- the running task -----------------------------------------------------------------------

--- The task that runs; raises outside of tasks.
local function current(what)
  local handle = core.current()
  local task = handle and M.by_handle[handle]
  if not task then err.raise(what .. ": only inside a task") end
  return task
end
M.current = current

log.who = function()
  local handle = core.current()
  local task = handle and M.by_handle[handle]
  return task and task.name or core.current_system() or M.observer_name
end

-- ---- scopes ---------------------------------------------------------------------------------

---@class stator.Scope
---@field task table the task it belongs to
---@field parent stator.Scope?
---@field inner stator.Scope? the next scope of the same task
---@field children table[] tasks spawned in it that have not ended, in order
---@field cancelled stator.Error?
---@field shield boolean cancellations from above stop here
---@field failure stator.Error? of a child
---@field batch number? where it began to record: the batch,
---@field place number? and the place in it
---@field started table[]? operations that were started in it
---@field cleanups table[]? in the order of defer
---@field left boolean? it has ended
local Scope = {}
Scope.__index = Scope

local function scope_new(task, parent)
  return setmetatable({ task = task, parent = parent, children = {} }, Scope)
end

--- Forgets what the scope has recorded and what is not sealed yet; after a stray access, the whole
--- batch. Cleanup then records anew.
local function forget_commands(scope)
  if world.tainted() then return world.rollback() end
  world.rollback(scope.batch, scope.place, scope.kept)
end

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
local function refresh(task)
  if task.done then return end
  local cancelled = effective(task.scope)
  if cancelled ~= task.cancelled then
    task.cancelled = cancelled
    core.set_cancel(task.handle, cancelled)
  end
  if cancelled then core.interrupt(task.handle, cancelled) end
end

local function refresh_tree(scope)
  refresh(scope.task)
  while scope do
    for _, child in ipairs(scope.children) do refresh_tree(child.root) end
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

local function enter(task, shield)
  local scope = scope_new(task, task.scope)
  scope.shield = shield
  scope.batch, scope.place, scope.kept = world.mark()
  task.scope.inner = scope
  task.scope = scope
  if shield then refresh(task) end
  return scope
end

local function leave(scope)
  local task = scope.task
  scope.left = true
  task.scope = scope.parent
  scope.parent.inner = nil
  refresh(task)
end

-- ---- waiting for children and cleanup --------------------------------------------------------

local function remove_child(scope, child)
  for i, c in ipairs(scope.children) do
    if c == child then return table.remove(scope.children, i) end
  end
end

--- Waits until no child of the scope is left.
local function join(scope)
  while true do
    local child
    for _, c in ipairs(scope.children) do
      if not c.daemon then child = c break end
    end
    if not child then return end
    unwrap(park(child.ended))
  end
end

local function stop_daemons(scope)
  for i = #scope.children, 1, -1 do
    local c = scope.children[i]
    if c.daemon then M.stop(c) end
  end
end

--- A task that goes on though it was cancelled: reported with the place where it waits.
local function abandon(scope)
  for i = #scope.children, 1, -1 do
    local child = scope.children[i]
    table.remove(scope.children, i)
    local trace = core.traceback(child.handle) or ""
    local e = err.new("abandoned", ("%s went on for %g s after it was cancelled"):format(child.name, GRACE_S))
    e.trace = trace
    M.on_fault(child.name, e, child.owner)
  end
end

--- Takes back the operations that were started in a scope and still run.
local function stop_started(scope)
  local list = scope.started
  for i = list and #list or 0, 1, -1 do
    local item = list[i]
    local state = item.future:state()
    if not item.child and state == "pending" then item.cancel() end
    if item.undo and state == "ok" and not item.future:observed() then item.undo() end
  end
end

--- A failure that nobody asked for is a fault.
local function tell_unobserved(scope)
  local list = scope.started
  scope.started = nil
  for _, item in ipairs(list or {}) do
    if item.future:state() == "failed" and not item.future:observed() then
      local e = item.future:values()
      if not err.is_cancelled(e) and e.code ~= "cancelled" then M.on_fault(scope.task.name, e, scope.task.owner) end
    end
  end
end

--- Ties a started operation to the running task's innermost scope.
---@param child table? the task that runs it
---@param undo function? of an operation that went well, see M.paired
function M.keep_started(future, cancel, child, undo)
  local scope = current("start").scope
  local list = scope.started or {}
  if #list >= STARTED_PRUNE then
    local kept = {}
    for _, item in ipairs(list) do
      local unseen = (item.undo or item.future:state() == "failed") and not item.future:observed()
      if unseen or item.future:state() == "pending" then kept[#kept + 1] = item end
    end
    list = kept
  end
  list[#list + 1] = { future = future, cancel = cancel, child = child, undo = undo }
  scope.started = list
end

local shielded

local function run_cleanups(scope, failed)
  local list, also = scope.cleanups, nil
  scope.cleanups = nil
  for i = list and #list or 0, 1, -1 do
    local cleanup = list[i]
    if failed or not cleanup.on_failure then
      local ok, e = shielded(scope.task, cleanup.within_s, cleanup.fn)
      if not ok then
        log.event("error", scope.task.name, "cleanup failed: " .. tostring(e.message), err.place(e))
        also = also or e
      end
    end
  end
  return also
end

--- What a failing scope raises: the failure of a child goes before the cancellation it caused, and
--- the scope's own cancellation becomes an ordinary failure.
local function outcome(scope, e)
  if scope.failure and err.is_cancelled(e) and e.scope == scope then return scope.failure end
  if err.is_cancelled(e) and e.scope == scope then
    local plain = err.new(e.as or "cancelled", e.message)
    plain.trace = debug.traceback("", 2):gsub("^%s+", "")
    return plain
  end
  return e
end

--- Ends a scope after its function: joins or cancels children, runs cleanup, leaves.
local function finish(scope, ok, ...)
  local task = scope.task
  local e = not ok and err.of((...)) or nil
  stop_daemons(scope)
  stop_started(scope)
  if ok then
    local joined, je = xpcall(join, err.handler, scope)
    if not joined then ok, e = false, je end
    if ok and scope.failure then ok, e = false, scope.failure end
  end
  if not ok then
    forget_commands(scope)
    if #scope.children > 0 then
      scope:cancel("cancelled", "its scope failed")
      local done = shielded(task, GRACE_S, function() join(scope) end)
      if not done then abandon(scope) end
    end
  end
  tell_unobserved(scope)
  local also = run_cleanups(scope, not ok)
  if not ok then
    e = outcome(scope, e)
    if also and err.is(e) then e.also = also end
  end
  if scope.parent and scope.parent.task == task and scope ~= task.root then leave(scope) end
  if not ok then return false, e end
  if also then M.on_fault(task.name, also, task.owner) end -- its function went well: nobody else would tell
  return true, ...
end

--- Runs fn out of reach of cancellations from outside, with a deadline of its own. Answers true and
--- its results, or false and the error.
function shielded(task, within_s, fn)
  local scope = enter(task, true)
  if within_s then M.deadline(scope, within_s) end
  return finish(scope, xpcall(fn, err.handler))
end

--- Runs fn in a scope of the running task and returns its results, or raises.
local function block(scope, fn, ...)
  return unwrap(finish(scope, xpcall(fn, err.handler, ...)))
end

-- ---- tasks ----------------------------------------------------------------------------------

local sequence = 0

--- Keeps what is told about a task whose last batch has not been applied yet.
local function note_end(task)
  local at = M.ended_at % ENDED_KEPT
  local entry = M.ended[at] or {}
  entry.handle, entry.name, entry.owner = task.handle, task.name, task.owner
  M.ended[at], M.ended_at = entry, M.ended_at + 1
end

local function result_of(task, ok, ...)
  task.done = true
  M.by_handle[task.handle] = nil
  note_end(task)
  if task.parent then remove_child(task.parent, task) end
  if task.on_end then task.on_end(task, ok, ...) end
  task.future:settle(ok, ...)
  task.ended:settle(true)
  return ok, ...
end

local function is_end_by_cancel(task, e)
  return err.is_cancelled(e) or (err.is(e) and e.code == "cancelled" and task.root.cancelled ~= nil)
end

--- Nobody awaits it: a failure goes to the scope that spawned it, or is a fault.
local function tell_failure(task, e)
  local scope = task.parent
  if task.quiet or is_end_by_cancel(task, e) then return end
  if scope and not scope.left then
    if not scope.failure then scope.failure = e end
    scope:cancel("cancelled", ("%s failed"):format(task.name))
  elseif M.on_fault then
    M.on_fault(task.name, e, task.owner)
  end
end

local function body(task, fn, ...)
  local function settle(ok, ...)
    local forgotten = core.forgotten()
    if ok and forgotten then
      local e = err.new("never_awaited", ("%s: an operation made here was never awaited, so nothing was done: "
        .. "write await(...), or stator.start(...) to let it run"):format(forgotten))
      e.trace = forgotten
      world.rollback()
      return settle(false, e)
    end
    if not ok then
      local e = (...)
      if err.is(e) then
        e.passes = nil -- its slice is over: whoever awaits the task may handle it
        e.task = e.task or task.name
        if task.spawned_at and e.trace then e.trace = e.trace .. "\nspawned at " .. task.spawned_at end
      end
      tell_failure(task, e)
    end
    return result_of(task, ok, ...)
  end
  return settle(finish(task.root, xpcall(fn, err.handler, ...)))
end

---@class stator.TaskOptions
---@field name string
---@field order number phase, script and position
---@field parent stator.Scope? the scope it belongs to; nil: it stands alone
---@field owner number? entity that shows its faults
---@field quiet boolean? failures are told through its future only
---@field daemon boolean? stopped when its scope ends, not waited for

--- Starts a task; it runs in the next round.
---@param options stator.TaskOptions
function M.spawn(options, fn, ...)
  sequence = sequence + 1
  local task = {
    name = options.name, order = options.order, parent = options.parent, owner = options.owner,
    quiet = options.quiet, daemon = options.daemon, script = options.script, on_end = options.on_end,
    spawned_at = options.spawned_at, sequence = sequence,
    future = core.future(), ended = core.future(),
  }
  task.root = scope_new(task, options.parent)
  task.scope = task.root
  task.handle = core.spawn(options.order, sequence, options.owner or 0, body, task, fn, ...)
  M.by_handle[task.handle] = task
  if options.parent then table.insert(options.parent.children, task) end
  refresh(task)
  return task
end

--- Cancels a task from outside.
function M.cancel(task, reason)
  task.root:cancel("cancelled", reason)
end

--- Ends a daemon: nobody waits for it.
function M.stop(task)
  if task.done then return end
  if task.parent then remove_child(task.parent, task) end
  task.quiet = true
  task.root:cancel("cancelled", "not needed any more")
end

--- A task by its handle, or name and owner of one that has ended lately.
function M.find(handle)
  local found = M.by_handle[handle]
  for i = 1, found and 0 or math.min(ENDED_KEPT, M.ended_at) do
    local t = M.ended[(M.ended_at - i) % ENDED_KEPT]
    if t.handle == handle then return t end
  end
  return found
end

--- A child of the running task's innermost scope.
---@param fn function
function M.child(fn, options, ...)
  local task = current("spawn")
  local place = debug.getinfo(3, "Sl")
  return M.spawn({
    name = options.name or task.name, order = task.order, parent = task.scope, owner = task.owner,
    quiet = options.quiet, daemon = options.daemon, script = task.script,
    spawned_at = place and place.currentline > 0 and place.short_src .. ":" .. place.currentline or nil,
  }, fn, ...)
end

--- A daemon that cancels `scope` after `within_s`.
function M.deadline(scope, within_s)
  local task = scope.task
  return M.spawn({ name = task.name, order = task.order, parent = scope, quiet = true, daemon = true },
    function()
      unwrap(park(core.sleep(within_s)))
      scope:cancel("timeout", ("not done within %g s"):format(within_s))
    end)
end

-- ---- await ----------------------------------------------------------------------------------

--- An operation of lua/stator holds "run" and a function that runs inside the awaiting task, or in a
--- task of its own when it is combined; or "begin" and a function that answers a future and a
--- function that takes it back; or "paired" and both, see M.paired.
local function run_lua(op)
  local e = op:use()
  if e[1] == "paired" then
    return e[2].await(unpack(e, 3, e.n))
  elseif e[1] == "run" then
    return block(enter(current("await")), e[2], unpack(e, 3, e.n))
  end
  local future, cancel = e[2](unpack(e, 3, e.n))
  local function finish_future(ok, ...)
    if not ok and cancel and future:state() == "pending" then cancel((...)) end
    return unwrap(ok, ...)
  end
  return finish_future(park(future))
end

--- Waits for an operation or a future and returns its values, or raises its error. Views of the
--- world end here, and what was recorded before has been applied when it returns.
---@async
function M.await(x)
  if is_lua(x) then return run_lua(x) end
  return unwrap(park(x))
end

--- A cold operation that runs fn(...) when it is awaited.
function M.operation(fn, ...) return core.operation("run", fn, ...) end

--- A cold operation; begin(...) answers a future and a function(error) that takes it back.
function M.request(begin, ...) return core.operation("begin", begin, ...) end

--- A cold operation of two functions: `pair.await(...)` runs in the awaiting task, without a scope;
--- `pair.start(...)` answers a future, a function that takes it back while it is pending, and one that
--- undoes it after it went well, when nobody gets its values; or nothing: then a child task awaits it.
---@param pair { await: function, start: function }
function M.paired(pair, ...) return core.operation("paired", pair, ...) end

--- Starts an operation, a future or a function inside the scope of the running task.
---@return userdata future
---@return function cancel takes it back
---@return table? task
---@return function? undo
function M.start(x)
  if type(x) == "function" or is_lua(x) then
    local e = type(x) ~= "function" and x:use() or nil
    if e and e[1] == "begin" then
      local future, cancel = e[2](unpack(e, 3, e.n))
      return future, function(why) if cancel and future:state() == "pending" then cancel(why) end end
    end
    local task
    if e and e[1] == "paired" then
      local future, cancel, undo = e[2].start(unpack(e, 3, e.n))
      if future then return future, cancel, nil, undo end
      task = M.child(e[2].await, { quiet = true }, unpack(e, 3, e.n))
    elseif e then
      task = M.child(e[2], { quiet = true }, unpack(e, 3, e.n))
    else
      task = M.child(x, { quiet = true })
    end
    return task.future, function() M.cancel(task, "not needed any more") end, task
  end
  local kind = core.is(x)
  if kind == "operation" then
    local future = x:start()
    return future, function() future:abort() end
  elseif kind == "future" then
    return x, function() end
  end
  err.raise("expected an operation, a future or a function, got " .. type(x))
end

core.share_tasks(M.by_handle)

M.enter, M.block, M.shielded = enter, block, shielded
M.CLEANUP_WITHIN_S = CLEANUP_WITHIN_S

return M
