--- The task tree: who runs, where it waits, for what, since when. Made when somebody asks; an await
--- records nothing for it.
---
---     main/pick   main.lua:12  all of 2: sleep 0.31 s left, condition Tool.closed of tool   since 0.02 s
---       main/pick main.lua:31  sleep 0.30 s left                                            since 0.02 s
local channel = require "stator.channel"
local component = require "stator.component"
local core = require "stator.core.task"
local entity = require "stator.entity"
local inspect = require "stator.core.inspect"
local inbox = require "stator.inbox"
local link = require "stator.link"
local service = require "stator.service"
local sync = require "stator.sync"
local task = require "stator.task"

local CONDITIONS_SHOWN, ENTRIES_SHOWN, FRAMES_READ, LOCALS_READ = 4, 8, 16, 60
local ROWS_MAX = 250 -- of one answer, so that looking does not make a tick late

local SETTLE_THEIR_OWN = { channel, sync, inbox, service, link } -- modules with index(map)

local M = {}

-- ---- what it waits for ------------------------------------------------------------------------

local function shown_entity(id) return entity.path(id) or ("#%.0f (gone)"):format(id % 4294967296) end

local function shown_value(c, field, value)
  if field.type == nil then return ("%.14g"):format(value) end
  local kind = require("stator.abi").TYPE[field.type]
  if kind == "bool" then return tostring(value ~= 0) end
  if kind == "enum" then return c.enums[field.enum]:name_of(value) or ("%.14g"):format(value) end
  if kind == "entity" then return value == 0 and "none" or shown_entity(value) end
  return ("%.14g"):format(value)
end

--- "Safety.estop" or "Tool.closed = false"; several joined by "and".
local function shown_fields(c, fields, compared)
  local parts = {}
  for i = 1, math.min(#fields, CONDITIONS_SHOWN * 2), 2 do
    local field = c.fields[fields[i] + 1]
    local value = shown_value(c, field, fields[i + 1])
    local plain = not compared or value == "true"
    parts[#parts + 1] = ("%s.%s%s"):format(c.name, field.name, plain and "" or " = " .. value)
  end
  return #parts > 0 and table.concat(parts, " and ") or c.name
end

local EDGES = { level = "condition ", rising = "rising ", falling = "falling ", changed = "changed ",
  added = "added ", removed = "removed " }

--- "count of a query in 2..5", "count of a query in 2..", "count of a query = 2".
local function shown_count(w)
  if w.least == w.most then return ("count of a query = %.14g"):format(w.least) end
  return ("count of a query in %.14g..%s"):format(w.least, w.most < math.huge and ("%.14g"):format(w.most) or "")
end

local function shown_edge(w)
  if w.edge == "count" then return shown_count(w) end
  local at = shown_entity(w.entity)
  if w.edge == "despawned" then return "despawned " .. at end
  local c = component.by_id[w.component]
  return ("%s%s of %s"):format(EDGES[w.edge], shown_fields(c, w.fields, w.edge ~= "changed"), at)
end

local function shown_condition(w)
  local held = w.hold_s and (", held for %.3g of %.3g s"):format(w.held_s, w.hold_s) or ""
  return shown_edge(w) .. held
end

local settled_by -- for a future that Lua settles: what settles it, in words; while a tree is made

local function index_futures()
  settled_by = {}
  for _, t in pairs(task.by_handle) do -- each has its own: the order does not show
    if t.future then settled_by[t.future] = "child " .. t.name end
    if t.ended then settled_by[t.ended] = "end of child " .. t.name end
  end
  for _, module in ipairs(SETTLE_THEIR_OWN) do module.index(settled_by) end
end

--- What looks on keeps nothing alive.
local function index_clear() settled_by = {} end

local shown

--- The entries of the race, all or any that a task is in, from the stack of its coroutine.
local function entries_of(handle)
  local thread = inspect.thread(handle)
  for level = 0, thread and FRAMES_READ or -1 do
    local frame = debug.getinfo(thread, level, "S")
    if not frame then return end
    for i = 1, frame.source == "@stator/combine.lua" and LOCALS_READ or 0 do
      local name, value = debug.getlocal(thread, level, i)
      if not name then break end
      if name == "entries" and type(value) == "table" then return value end
    end
  end
end

local function shown_entry(entry)
  local text = entry.task and "child " .. entry.task.name
  if not text and entry.future then text = shown(inspect.of_future(entry.future), entry.future) end
  return (type(entry.key) == "string" and entry.key .. ": " or "") .. (text or "?")
end

local function shown_group(w, handle)
  local parts = {}
  local entries = handle and entries_of(handle) or {}
  for i, entry in ipairs(entries) do
    if i > ENTRIES_SHOWN then parts[i] = "..." break end
    parts[i] = shown_entry(entry)
  end
  local what = ("%s of %d"):format(w.mode, #entries > 0 and #entries or w.remaining)
  return #parts > 0 and what .. ": " .. table.concat(parts, ", ") or what
end

local function shown_future(w, future, handle)
  local text = future and settled_by[future]
  if text then return text end
  return w.remaining > 0 and shown_group(w, handle) or "future"
end

--- In words: "sleep 0.31 s left", "tcp read", "condition Safety.estop of cell".
---@param w table what inspect.wait or inspect.of_future answers
---@param handle number? of the waiting task
---@return string
function shown(w, future, handle)
  local kind = w.kind
  if kind == "sleep" then return ("sleep %.3g s left"):format(math.max(0, w.left_s)) end
  if kind == "ticks" then return w.left <= 1 and "next tick" or ("%d ticks"):format(w.left) end
  if kind == "condition" then return shown_condition(w) end
  if kind == "io" then return w.what end
  if kind == "future" then return shown_future(w, future, handle) end
  return kind or "nothing"
end

--- The line of the script where a task stands. A coroutine that has not run yet stands nowhere; one that
--- returned what it awaits (`return await(x)`) has left its frame: then the operation's line.
local function place_of(t, w)
  return inspect.place(t.handle) or (w and w.made_at) or t.spawned_at
end

--- What a task waits for, in words; nil when it does not wait.
---@param handle number
---@return string? text, number? since_s seconds of the host's time, string? place "main.lua:12"
function M.waits_for(handle)
  local row = M.waits_of({ handle })[handle]
  if row then return row.waits_for, row.since_s, row.place end
end

--- The same of several tasks, by handle; nothing of those that do not wait.
---@param handles number[]
---@return table<number, { waits_for: string, since_s: number, place: string? }>
function M.waits_of(handles)
  local rows = {}
  index_futures()
  for _, handle in ipairs(handles) do
    local w = inspect.wait(handle)
    if w and w.state == "waiting" then
      rows[handle] = { waits_for = shown(w, w.future, handle), since_s = w.since_s,
        place = place_of(task.by_handle[handle] or { handle = handle }, w) }
    end
  end
  index_clear()
  return rows
end

-- ---- the tree ---------------------------------------------------------------------------------

--- Seconds until the earliest deadline of the scopes that a task is in.
local function deadline_left_s(t)
  local first
  local scope = t.scope
  while scope do
    local due = scope.due_s
    if due and not scope.cancelled and (not first or due < first) then first = due end
    scope = scope.parent
  end
  return first and first - core.now() or nil
end

--- In the order of T2.
local function sort(list)
  table.sort(list, function(a, b)
    if a.order ~= b.order then return a.order < b.order end
    return a.sequence < b.sequence
  end)
  return list
end

local function row_of(t, children)
  local w = inspect.wait(t.handle)
  local row = {
    name = t.name, state = w and w.state or "ended", script = t.script and t.script.name or nil,
    owner = t.owner and entity.path(t.owner) or nil, place = w and place_of(t, w), daemon = t.daemon or nil,
    spawned_at = t.spawned_at, deadline_s = deadline_left_s(t),
  }
  if w and w.state == "waiting" then
    row.waits_for = shown(w, w.future, t.handle)
    row.since_s = core.now() - w.since_s
  end
  if t.told then
    row.cancelled = tostring(t.told.message)
    row.state = "cancelling"
  end
  if #children > 0 then
    row.children = {}
    for i, child in ipairs(children) do row.children[i] = child end
  end
  return row
end

--- All tasks as a tree: rows with name, state, place, waits_for, since_s, deadline_s, children. In the
--- order of T2; what the runtime needs for itself is left out. At most ROWS_MAX rows.
---@param name string? only tasks whose name begins so, and what is below them
---@return table[] rows, integer count of tasks in it, integer left_out
function M.tree(name)
  index_futures()
  local roots, below, count = {}, {}, 0
  for _, t in pairs(task.by_handle) do -- sorted below
    if not t.hidden then
      count = count + 1
      local parent = t.parent and t.parent.task
      local is_root = not parent or parent.done
      local list = is_root and name and t.name:sub(1, #name) ~= name and {} or roots
      if not is_root then
        list = below[parent] or {}
        below[parent] = list
      end
      list[#list + 1] = t
    end
  end
  local made, left_out = 0, 0
  local function rows(list)
    local out = {}
    for _, t in ipairs(sort(list)) do
      made = made + 1
      if made > ROWS_MAX then
        left_out = left_out + 1
      else
        local at = #out + 1
        out[at] = true -- before its children
        out[at] = row_of(t, below[t] and rows(below[t]) or {})
      end
    end
    return out
  end
  local list = rows(roots)
  index_clear()
  return list, count, left_out
end

return M
