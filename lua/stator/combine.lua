--- Composition of operations: blocks that run a function here, operations made of others, cleanup.
local core = require "stator.core.task"
local err = require "stator.err"
local own = require "stator.own"
local registry = require "stator.registry"
local started = require "stator.started"
local task = require "stator.task"
local world = require "stator.core.world"

local park, unwrap = core.park, core.unwrap

local M = {}

local function need_function(what, fn)
  if type(fn) ~= "function" then err.raise(what .. ": expected a function, got " .. type(fn)) end
end

--- The option `within` in seconds, or nil.
local function within_of(what, options)
  if options == nil then return nil end
  registry.check_options(what, options, { "within" }, 3)
  local seconds = options.within
  if seconds ~= nil and (type(seconds) ~= "number" or not (seconds > 0)) then
    err.raise(("%s: within is seconds above 0, not %s"):format(what, tostring(seconds)))
  end
  return seconds
end

-- ---- blocks ---------------------------------------------------------------------------------

--- Runs fn; cancels what it does after `seconds` and raises code "timeout". Nested deadlines: the
--- earliest counts.
---@param seconds number
---@async
function M.within(seconds, fn, ...)
  if type(seconds) ~= "number" or not (seconds >= 0) then
    err.raise("within: expected seconds and a function, got " .. tostring(seconds))
  end
  need_function("within", fn)
  local scope = task.enter(task.current("within"))
  task.deadline(scope, seconds)
  return task.block(scope, fn, ...)
end

--- Runs fn; tasks spawned inside are joined before it returns. The first failure of one cancels the
--- others and is raised.
---@async
function M.scope(fn, ...)
  need_function("scope", fn)
  return task.block(task.enter(task.current("scope")), fn, ...)
end

--- Runs fn out of reach of cancellations from outside, at most for `within` seconds of its own.
---@param options { within: number }?
---@async
function M.shield(fn, options)
  need_function("shield", fn)
  return unwrap(task.shielded(task.current("shield"), within_of("shield", options), fn))
end

--- Runs fn and returns true and its results, or false and the error value; what a failing fn has
--- recorded is forgotten. A cancellation from outside passes through.
---@async
function M.try(fn, ...)
  need_function("try", fn)
  local batch, place, kept = world.mark()
  local function pass(ok, ...)
    if not ok then world.rollback(batch, place, kept) end
    if ok then return true, ... end
    local e = err.of((...))
    if err.must_pass(e) then error(e, 0) end
    return false, e
  end
  return pass(xpcall(fn, err.handler, ...))
end

--- Raises an error value.
---@param options { unknown: boolean }? unknown: it may have been done all the same, so that retry does not repeat it
function M.fail(code, message, options)
  local e = err.new(tostring(code), tostring(message or code))
  if options ~= nil then
    registry.check_options("fail", options, { "unknown" }, 2)
    e.unknown = options.unknown == true or nil
  end
  error(e, 0)
end

-- ---- cleanup --------------------------------------------------------------------------------

local function add_cleanup(what, fn, options, on_failure)
  need_function(what, fn)
  local within_s = within_of(what, options)
  local scope = task.current(what).scope
  scope.cleanups = scope.cleanups or {}
  table.insert(scope.cleanups, {
    fn = fn, on_failure = on_failure,
    within_s = within_s or task.CLEANUP_WITHIN_S,
  })
end

--- Runs fn when the innermost block or the task ends, however it ends.
---@param options { within: number }? its own deadline in seconds, 1 by default
function M.defer(fn, options) add_cleanup("defer", fn, options, false) end

--- Runs fn when the innermost block or the task ends by an error or a cancellation.
function M.on_failure(fn, options) add_cleanup("on_failure", fn, options, true) end

--- Cancels the innermost block once the operation ends.
---@param reason string
function M.cancel_when(x, reason)
  local scope = task.current("cancel_when").scope
  local future, cancel, child, undo = task.start(x, true)
  if child then child.daemon = true end -- the block does not wait for it
  local item = started.keep(scope, future, cancel, child, undo or function() core.undo(future) end)
  item.watched = true
  reason = reason or "cancelled"
  task.child(function()
    local ok, e = park(future)
    if item.over then return end
    if ok then
      item.undo = nil
      core.keep(future)
      scope:cancel("cancelled", reason)
    elseif not err.is_cancelled(e) then
      scope:cancel("cancelled", reason .. ": " .. tostring(e.message))
    end
  end, { quiet = true, daemon = true })
end

-- ---- tasks ----------------------------------------------------------------------------------

--- Spawns a child of the innermost block. Its failure cancels the block.
---@return userdata future
function M.spawn(fn, ...)
  need_function("spawn", fn)
  return task.future(task.child(fn, {}, ...))
end

--- Lets an operation run without waiting for it here; it is taken back when the innermost block ends.
---@return userdata future
function M.start(x)
  local future, cancel, child, undo = task.start(x)
  if child then child.daemon = true end -- the block takes it back, and does not wait for what it would do
  if core.is(x) ~= "future" then started.keep(task.current("start").scope, future, cancel, child, undo) end
  return future
end

--- Makes a function of operations into one: `local home = stator.async(function(axis) ... end)`,
--- then `await(home(1))`.
function M.async(fn)
  need_function("async", fn)
  return function(...) return task.operation(fn, ...) end
end

-- ---- all, race, any --------------------------------------------------------------------------

--- Entries in a fixed order: the list, then names in the order in which their operations were made.
local function entries_of(what, list)
  if type(list) ~= "table" then err.raise(what .. ": expected a table of operations, got " .. type(list)) end
  local entries = {}
  for i = 1, #list do entries[i] = { key = i, x = list[i] } end
  local named = {}
  for key, x in pairs(list) do
    if type(key) == "string" then
      local sequence = core.is(x) == "operation" and x:sequence() or math.huge
      named[#named + 1] = { key = key, x = x, sequence = sequence }
    end
  end
  table.sort(named, function(a, b)
    if a.sequence ~= b.sequence then return a.sequence < b.sequence end
    return a.key < b.key
  end)
  for _, entry in ipairs(named) do entries[#entries + 1] = entry end
  for _, entry in ipairs(entries) do -- before the first one is started
    if type(entry.x) ~= "function" and not core.is(entry.x) then
      core.refuse(entry.x)
      err.raise(("%s: %s: expected an operation, a future or a function, got %s"):format(what, tostring(entry.key),
        type(entry.x)))
    end
  end
  if #entries == 0 then err.raise(what .. ": expected at least one operation") end
  return entries
end

local function start_all(entries, mode)
  local group = core.future(#entries, mode)
  local scope = task.current(mode).scope
  scope.passing, scope.joins = true, mode == "all"
  for _, entry in ipairs(entries) do
    entry.given = core.is(entry.x) == "future"
    entry.future, entry.cancel, entry.task, entry.undo = task.start(entry.x, true)
    core.tell(entry.future, group)
  end
  return group
end

--- Takes back what still runs, and waits until its cleanup has ended.
local function cancel_rest(entries, why)
  for _, entry in ipairs(entries) do
    if entry.future and entry.future:state() == "pending" then entry.cancel(why) end
  end
  for _, entry in ipairs(entries) do
    if entry.task then task.outlast(entry.task) end
  end
end

--- Settles what becomes of what has ended well. Where nobody uses it, it counts as not done: an item goes back to
--- its channel, a permit to its semaphore, bytes that were read are there for the next read.
---@param used table|true the entry whose values are used; true: all
local function settle_rest(entries, used)
  for _, entry in ipairs(entries) do
    local future = entry.future
    local went_well = future and future:state() == "ok" and not entry.given
    if went_well and (used == true or used == entry) then
      core.keep(future)
    elseif went_well then
      if entry.undo then entry.undo() else core.undo(future) end
      own.drop((future:values()))
    end
  end
end

--- Waits for the group and notes in each entry how it stood then. Whatever happens, nothing that was
--- started is left running. Who looks at the task reads `entries` from its stack, see stator.inspect.
local function wait_group(entries, mode)
  local group = start_all(entries, mode)
  local ok, e = park(group)
  for _, entry in ipairs(entries) do entry.state = entry.future:state() end
  cancel_rest(entries, e)
  if not ok then
    settle_rest(entries)
    error(e, 0)
  end
end

local function run_race(entries)
  wait_group(entries, "race")
  for _, entry in ipairs(entries) do
    if entry.state ~= "pending" then
      settle_rest(entries, entry)
      if entry.state == "ok" then return entry.key, entry.future:values() end
      error((entry.future:values()), 0)
    end
  end
end

local function run_all(entries)
  wait_group(entries, "all")
  local results, named = {}, false
  for _, entry in ipairs(entries) do
    if entry.state == "failed" then
      settle_rest(entries)
      error((entry.future:values()), 0)
    end
  end
  settle_rest(entries, true)
  for _, entry in ipairs(entries) do
    results[entry.key] = (entry.future:values())
    named = named or type(entry.key) == "string"
  end
  if named then return results end
  return unpack(results, 1, #entries)
end

local function run_any(entries)
  wait_group(entries, "any")
  local first
  for _, entry in ipairs(entries) do
    if entry.state == "ok" then
      settle_rest(entries, entry)
      return entry.key, entry.future:values()
    end
    first = first or (entry.future:values())
  end
  local e = err.new("all_failed", "every alternative failed, first: " .. tostring(first and first.message), first)
  error(e, 0)
end

--- Marks the operations as used, so that they count as combined even before they are started.
local function combinator(what, run)
  return function(list)
    local entries = entries_of(what, list)
    for _, entry in ipairs(entries) do
      if core.is(entry.x) == "operation" then entry.x:claim() end
    end
    return task.operation(run, entries)
  end
end

--- Ends when the first one ends: `local who, value = await(stator.race { done = a, late = b })`.
--- Ties go to the one made first; the others are cancelled and cleaned up before it returns. A
--- failure that comes first is raised.
M.race = combinator("race", run_race)

--- Ends when all have: the first value of each, in order; a table when there are names. The first
--- failure cancels the others and is raised.
M.all = combinator("all", run_all)

--- Ends with the first success; raises code "all_failed" when there is none.
M.any = combinator("any", run_any)

return M
