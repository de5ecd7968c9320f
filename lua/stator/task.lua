--- Tasks and scopes.
---
--- A scope is a block of code that may be cancelled as a whole. A task is a coroutine of the host with
--- a name and an owner, and a scope itself: the outermost of those that nest inside it. The parent of a
--- child task is the scope that spawned it, so scopes form one tree:
---
---   script ─ task ─ within ─ ... ◀─ the task runs in its innermost scope
---              └─ child task ─ ...
---
--- Cancelling is level-triggered: while a scope is cancelled every await inside raises the same
--- error, and the scope that was cancelled turns it into an ordinary failure. Cleanup runs last in
--- first out, shielded from the cancellation, with a deadline of its own.
local core = require "stator.core.task"
local err = require "stator.err"
local log = require "stator.log"
local operation = require "stator.operation"
local own = require "stator.own"
local past = require "stator.past"
local scopes = require "stator.scope"
local started = require "stator.started"
local waits = require "stator.waits"
local world = require "stator.core.world"

local park, await_core, unwrap = core.park, core.await, core.unwrap
local enter, leave, remove_child = scopes.enter, scopes.leave, scopes.remove_child
local CLEANUP_WITHIN_S = 1.0 -- for a cleanup that names no deadline
local GRACE_S = 1.0 -- for a cancelled task that does not end

local M = {
  by_handle = {}, ---@type table<number, table>
  on_fault = nil, ---@type fun(name: string, e: stator.Error, owner: number?)
}
waits.by_handle = M.by_handle

-- ---- the running task -----------------------------------------------------------------------

--- The task that runs; raises outside of tasks.
local function current(what)
  local handle = core.current()
  local task = handle and M.by_handle[handle]
  if not task then err.raise(what .. ": only inside a task") end
  return task
end
M.current = current

err.who = function(handle)
  local task = M.by_handle[handle]
  return task and task.name
end

log.who = function()
  local handle = core.current()
  local task = handle and M.by_handle[handle]
  return task and task.name or core.current_system() or M.observer_name
end

-- ---- waiting for children and cleanup --------------------------------------------------------

--- Forgets what the scope has recorded and what is not sealed yet; after a stray access, the whole
--- batch. Cleanup then records anew.
local function forget_commands(scope)
  if world.tainted() then return world.rollback() end
  world.rollback(scope.batch, scope.place, scope.kept)
end

--- Waits until no child of the scope is left.
---@param grace boolean? they were cancelled: what they wait for ends
local function join(scope, grace)
  scope.joins = not grace
  while true do
    local child = scope:next_awaited()
    if not child then return end
    if waits.waiting > 0 and not grace then waits.check_join(scope) end
    unwrap(park(M.ended(child)))
  end
end

local function stop_daemons(scope)
  local child = scope.last_child
  while child do
    local elder = child.elder
    if child.daemon then M.stop(child) end
    child = elder
  end
end

--- What a task holds goes back, and what it owns is closed: in its scopes, and in the tasks below it.
local function free_tree(scope)
  while scope do
    for child in scope.next_child, scope do free_tree(child) end
    if scope.held then waits.release(scope) end
    own.close_all(scope)
    scope = scope.inner
  end
end

--- Gives up a task that goes on though it was cancelled: reported with the place where it waits.
---@param after_s number how long it was waited for
---@param what string? how it is called in the message; its name when left out
function M.abandon(child, after_s, what)
  if child.parent then remove_child(child.parent, child) end
  free_tree(child)
  local e = err.new("abandoned", ("%s went on for %g s after it was cancelled"):format(what or child.name, after_s))
  e.trace = err.script_frames(core.traceback(child.handle) or "")
  M.on_fault(child.name, e, child.owner)
end

local shielded

--- Seconds that what was cancelled may still take: its cleanup, and other blocks out of its reach, have deadlines
--- of their own.
local function bounded_s(scope)
  local left_s = 0
  while scope do
    if scope.shield and scope.due_s then left_s = math.max(left_s, scope.due_s - core.now()) end
    for child in scope.next_child, scope do left_s = math.max(left_s, bounded_s(child)) end
    scope = scope.inner
  end
  return left_s
end

--- Waits for the end of what was cancelled in a scope or is a task. Answers whether it came in time.
---@param fn fun(...) that waits for it
local function outlast(task, scope, fn, ...)
  local left_s = 0
  repeat
    if shielded(task, GRACE_S + left_s, fn, ...) then return true end
    left_s = bounded_s(scope)
  until left_s <= 0
  return false
end

local function wait_for_end(child) unwrap(park(M.ended(child))) end

--- Waits for a child of the running task that was cancelled, and gives it up when it goes on for too long.
function M.outlast(child)
  if child.done or outlast(current("outlast"), child, wait_for_end, child) then return end
  if not child.done then M.abandon(child, GRACE_S) end
end

--- Seals what a cleanup has recorded: a block around it that fails as well forgets what came since its last await.
local function run_and_seal(fn)
  local batch, place = world.mark()
  fn()
  local batch_now, place_now = world.mark()
  if batch_now ~= batch or place_now ~= place then unwrap(park(core.commit())) end
end

local function run_cleanups(scope, failed)
  local list, also = scope.cleanups, nil
  scope.cleanups = nil
  for i = list and #list or 0, 1, -1 do
    local cleanup = list[i]
    if failed or not cleanup.on_failure then
      local task = scope.task
      local inner = failed and scope ~= task
      local ok, e = shielded(task, cleanup.within_s, inner and run_and_seal or cleanup.fn, inner and cleanup.fn)
      if not ok then
        log.event("error", task.name, "cleanup failed: " .. tostring(e.message), err.place(e))
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
  if err.is_cancelled(e) and e.scope == scope then return err.failure_of(e) end
  return e
end

--- Ends a scope after its function: joins or cancels children, runs cleanup, leaves.
local function finish(scope, ok, ...)
  local task = scope.task
  local e = not ok and err.of((...)) or nil
  if ok then -- what its function has started goes on until then: deadlines, what may cancel it
    local joined, je = xpcall(join, err.handler, scope)
    if not joined then ok, e = false, je end
    if ok and scope.failure then ok, e = false, scope.failure end
  end
  started.stop(scope, M.outlast)
  stop_daemons(scope)
  if not ok then
    forget_commands(scope)
    if scope.first_child then
      scope:cancel("cancelled", "its scope failed")
      local in_time = outlast(task, scope, join, scope, true)
      while not in_time and scope.last_child do M.abandon(scope.last_child, GRACE_S) end
    end
  end
  started.tell_unobserved(scope, M.on_fault)
  local also = run_cleanups(scope, not ok)
  if scope.held then waits.release(scope) end
  if scope.owned then
    local around = ok and scope.parent
    if around and not around:has_ended() then own.hand_on(scope, around, ...) end
    own.close_all(scope)
  end
  if not ok then
    e = outcome(scope, e)
    if also and err.is(e) then e.also = also end
  end
  if scope ~= task then leave(scope) end
  if not ok then return false, e end
  if also then M.on_fault(task.name, also, task.owner) end -- its function went well: nobody else would tell
  return true, ...
end

--- Runs fn out of reach of cancellations from outside, with a deadline of its own. Answers true and
--- its results, or false and the error.
function shielded(task, within_s, fn, ...)
  local scope = enter(task, true)
  if within_s then M.deadline(scope, within_s) end
  return finish(scope, xpcall(fn, err.handler, ...))
end

--- Runs fn in a scope of the running task and returns its results, or raises.
local function block(scope, fn, ...)
  return unwrap(finish(scope, xpcall(fn, err.handler, ...)))
end

-- ---- tasks ----------------------------------------------------------------------------------

local sequence = 0

--- To those who await it, its cancellation is an ordinary failure: it is none of theirs.
local function settle_future(future, ok, ...)
  local e = not ok and (...)
  if not err.is_cancelled(e) then return core.settle(future, ok, ...) end
  local plain = err.new("cancelled", e.message)
  plain.trace, plain.task = e.trace, e.task
  core.settle(future, false, plain)
end

local function result_of(task, ok, ...)
  task.done = true
  M.by_handle[task.handle] = nil
  past.add(task)
  if task.parent then remove_child(task.parent, task) end
  if task.on_end then task.on_end(task, ok, ...) end
  if task.future then settle_future(task.future, ok, ...) end
  if task.ended then core.settle(task.ended, true) end
  return ok, ...
end

local function is_end_by_cancel(task, e)
  return err.is_cancelled(e) or (err.is(e) and e.code == "cancelled" and task.cancelled ~= nil)
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

local function fail(task, e)
  if err.is(e) then
    e.passes = nil -- its slice is over: whoever awaits the task may handle it
    e.task = e.task or task.name
    e.revision = e.revision or task.revision or (task.script and task.script.revision)
    err.note_spawn(e, task.spawned_at)
  end
  tell_failure(task, e)
  return result_of(task, false, e)
end

local function settle(task, ok, ...)
  local forgotten = core.forgotten()
  if ok and forgotten then
    local e = err.new("never_awaited", ("%s: an operation made here was never awaited, so nothing was done: "
      .. "write await(...), or stator.start(...) to let it run"):format(forgotten))
    e.trace = forgotten
    world.rollback()
    return fail(task, e)
  end
  if not ok then return fail(task, (...)) end
  return result_of(task, true, ...)
end

local function body(task, fn, ...)
  if task.told then return settle(task, finish(task, false, task.told)) end -- cancelled before its first turn
  return settle(task, finish(task, xpcall(fn, err.handler, ...)))
end

---@class stator.Task: stator.Scope
---@field name string
---@field order number phase, script and position
---@field sequence integer
---@field handle number
---@field scope stator.Scope the innermost one, in which it runs
---@field told stator.Error? what its awaits raise
---@field done boolean?
---@field future userdata? its result, for who asks: M.future
---@field ended userdata? settled when it has: M.ended
---@field declared table? what it was started for
---@field subject number? and for which entity
---@field revision integer? of its code, when that is not its script's any more

---@class stator.TaskOptions
---@field name string
---@field order number phase, script and position
---@field parent stator.Scope? the scope it belongs to; nil: it stands alone
---@field owner number? entity that shows its faults
---@field quiet boolean? failures are told through its future only
---@field daemon boolean? stopped when its scope ends, not waited for
---@field shield boolean? cancellations of its scope do not reach it: who spawned it ends it
---@field script table?
---@field on_end fun(task: stator.Task, ok: boolean, ...)?
---@field spawned_at string?

local OPTIONS = { "parent", "owner", "quiet", "daemon", "script", "on_end", "spawned_at", "shield" }

--- Starts a task; it runs in the next round.
---@param options stator.TaskOptions
---@return stator.Task
function M.spawn(options, fn, ...)
  sequence = sequence + 1
  local task = setmetatable({
    name = options.name, order = options.order, sequence = sequence, scope = false, task = false, handle = 0,
  }, scopes.Scope) -- small: thousands may wait
  for _, key in ipairs(OPTIONS) do task[key] = options[key] end
  task.scope, task.task = task, task
  task.handle = core.spawn(options.order, sequence, options.owner or 0, body, task, fn, ...)
  M.by_handle[task.handle] = task
  if options.parent then scopes.add_child(options.parent, task) end
  return task
end

--- The future of a running task's result.
function M.future(task)
  if not task.future then
    task.future = core.future()
    core.end_of(task.future, task.handle)
  end
  return task.future
end

--- A future that is settled when a running task has ended.
function M.ended(task)
  task.ended = task.ended or core.future()
  return task.ended
end

--- Cancels a task from outside.
function M.cancel(task, reason)
  task:cancel("cancelled", reason)
end

--- Ends a daemon: nobody waits for it.
function M.stop(task)
  if task.done then return end
  if task.parent then remove_child(task.parent, task) end
  task.quiet = true
  task:cancel("cancelled", "not needed any more")
end

--- A task by its handle, or name and owner of one that has ended lately.
function M.find(handle) return M.by_handle[handle] or past.find(handle) end

--- A child of the running task's innermost scope.
---@param fn function
function M.child(fn, options, ...)
  local task = current("spawn")
  return M.spawn({
    name = options.name or task.name, order = task.order, parent = task.scope, owner = task.owner,
    quiet = options.quiet, daemon = options.daemon, script = task.script,
    spawned_at = core.here(),
  }, fn, ...)
end

--- A daemon that cancels `scope` after `within_s`.
function M.deadline(scope, within_s)
  local task = scope.task
  scope.due_s = core.now() + within_s
  local timer = M.spawn({ name = task.name, order = task.order, parent = scope, quiet = true, daemon = true },
    function()
      unwrap(park(core.sleep(within_s)))
      scope:cancel("timeout", ("not done within %g s"):format(within_s))
    end)
  timer.hidden = true -- not a task of the script's
  return timer
end

-- ---- await ----------------------------------------------------------------------------------

local function run_lua(op)
  if not operation.is(op) then err.raise("await: expected an operation or a future, got table") end
  local task = current("await")
  op:use()
  if task.told then return unwrap(park(core.commit())) end -- cancelled: it must not begin
  if op[1] == "paired" then return op[2].await(unpack(op, 3, op.n)) end
  if op[1] == "run" then return block(enter(task), op[2], unpack(op, 3, op.n)) end
  local future, cancel = op[2](unpack(op, 3, op.n))
  local function finish_future(ok, ...)
    if not ok and cancel and future:state() == "pending" then cancel((...)) end
    return unwrap(ok, ...)
  end
  return finish_future(park(future))
end

--- What park answers: true and values, false and an error, or nil and a table, for which nothing waited.
local function results(ok, ...)
  if ok then return ... end
  if ok == nil then return run_lua((...)) end
  error((...), 0)
end

--- What core.await answers, but for one value or none.
local function rest(how, a, b, c)
  if how == 2 then return a, b end
  if how == 3 then return a, b, c end
  if how == 4 then return unpack(a, 1, a.n) end
  if how == 0 then error(a, 0) end
  if waits.waiting > 0 then waits.check_await(a) end -- nothing waited for it
  return results(park(a))
end

--- Waits for an operation or a future and returns its values, or raises its error. Views of the
--- world end here, and what was recorded before has been applied when it returns.
---@async
function M.await(x)
  local how, a, b, c = await_core(x) -- not `...`, which would take a function more
  if not how then return a end
  if how == true then return end
  return rest(how, a, b, c)
end

jit.off(M.await) -- a loop that awaits is left at once: compiled, it would come back in pieces

--- A cold operation that runs fn(...) when it is awaited.
function M.operation(fn, ...) return operation.new("run", fn, ...) end

--- A cold operation; begin(...) answers a future and a function(error) that takes it back.
function M.request(begin, ...) return operation.new("begin", begin, ...) end

--- A cold operation of two functions: `pair.await(...)` runs in the awaiting task, without a scope;
--- `pair.start(...)` answers a future, a function that takes it back while it is pending, and one that
--- undoes it after it went well, when nobody gets its values; or nothing: then a child task awaits it.
---@param pair { await: function, start: function }
function M.paired(pair, ...) return operation.new("paired", pair, ...) end

--- Who awaits what was taken back is told; nothing else would settle it.
local function taking_back(future, cancel)
  return function(why)
    if future:state() ~= "pending" then return end
    if cancel then cancel(why) end
    if future:state() == "pending" then core.settle(future, false, err.new("cancelled", "it was taken back")) end
  end
end

--- Starts an operation, a future or a function inside the scope of the running task.
---@param undoable boolean? once it has ended well, the caller calls the future's `keep` or `undo`
---@return userdata future
---@return function cancel takes it back
---@return table? task
---@return function? undo
function M.start(x, undoable)
  if type(x) == "function" or operation.is(x) then
    local op = type(x) ~= "function" and x:use() or nil
    if op and op[1] == "begin" then
      local future, cancel = op[2](unpack(op, 3, op.n))
      return future, taking_back(future, cancel)
    end
    local task
    if op and op[1] == "paired" then
      local future, cancel, undo = op[2].start(unpack(op, 3, op.n))
      if future then return future, taking_back(future, cancel), nil, undo end
      task = M.child(op[2].await, { quiet = true }, unpack(op, 3, op.n))
    elseif op then
      task = M.child(op[2], { quiet = true }, unpack(op, 3, op.n))
    else
      task = M.child(x, { quiet = true })
    end
    return M.future(task), function() M.cancel(task, "not needed any more") end, task
  end
  local kind = core.is(x)
  if kind == "operation" then
    local future = x:start(undoable)
    return future, function() core.abort(future) end
  elseif kind == "future" then
    return x, function() end
  end
  core.refuse(x)
  err.raise("expected an operation, a future or a function, got " .. type(x))
end

core.share_tasks(M.by_handle)

M.enter, M.block, M.shielded = enter, block, shielded
M.CLEANUP_WITHIN_S = CLEANUP_WITHIN_S

return M
