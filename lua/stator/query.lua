--- Queries over entities. Columns come in the order write, read, maybe.
---
---   for first, last, pose, vel in q:chunks() do      -- boxes: a column of one chunk
---     for i = first, last do local p, v = pose[i], vel[i] ... end
---   end
---   for e, pose, vel in q:each() do ... end          -- rows
---
--- `changed` and `added` name components, and leave out the chunks in which none of them was written, or
--- came to an entity, since the query's last walk that went to its end began.
---
--- Both are read-only views, good until the next await. The iterators are shared functions with a
--- cursor as state: no closure is made per loop.
local ffi = require "ffi"
local table_new = require "table.new"
local abi = require "stator.abi"
local component = require "stator.component"
local core = require "stator.core.world"
local err = require "stator.err"
local registry = require "stator.registry"
local views = require "stator.views"

local C, shared, cast = abi.C, abi.shared, ffi.cast
local POOL_MAX = 16
local NEVER = 0xffffffff -- an epoch that does not come

---@class stator.Query
local Query = {}
Query.__index = Query

local M = { Query = Query, KEYS = { "read", "write", "with", "without", "maybe", "changed", "added" } }

local function stale_loop()
  err.raise("this loop over a query went on after an await: views end there; take the query again")
end

-- ---- cursors --------------------------------------------------------------------------------

--- The C cursor lies behind the boxes, in the list part of the table: found without hashing.
local function new_cursor(q, pooled)
  local c = C.ecs_cursor_open(q.pointer)
  if c == nil then err.raise("out of memory", "memory") end
  if not pooled then c = ffi.gc(c, C.ecs_cursor_close) end
  local cursor = table_new(#q.columns + 1, 4)
  for k, column in ipairs(q.columns) do
    local box = k <= q.write_count and column.writer_box or column.box
    cursor[k] = cast(box, c.box + (k - 1))[0]
  end
  cursor[#q.columns + 1] = c
  c.epoch = 0
  return cursor
end

--- A cursor for a loop in a loop over the same query: one that no loop of this slice has. A loop left by
--- break keeps its own until the slice ends.
local function another_cursor(q)
  local epoch, last = shared.epoch, #q.columns + 1
  local cursor
  for _, pooled in ipairs(q.pool) do
    if pooled[last].epoch ~= epoch then cursor = pooled break end
  end
  if not cursor then
    local pooled = #q.pool < POOL_MAX
    cursor = new_cursor(q, pooled)
    if pooled then table.insert(q.pool, cursor) end
  end
  local c = cursor[last]
  if c.epoch ~= 0 then C.ecs_cursor_rewind(c) end -- a loop was left by break
  c.epoch = epoch
  return cursor
end

local function not_writing(q)
  err.raise("a query that writes is for its system, while it runs: " .. q.what)
end

-- ---- iterators ------------------------------------------------------------------------------

--- Source of the walks of a query: functions of its own, whose cursor is a constant in compiled code. Columns
--- from `maybe_from` on may be nil. c.epoch is that of the slice which walks, 0 when none does.
local function walks_source(q)
  local columns, boxes, rows, locals = #q.columns, {}, {}, {}
  for k = 1, columns do
    local maybe = k >= q.maybe_from
    boxes[k] = maybe and ("optional(cursor[%d])"):format(k) or ("cursor[%d]"):format(k)
    locals[k] = ("local b%d = cursor[%d]"):format(k, k)
    rows[k] = maybe and ("optional_row(b%d, row)"):format(k) or ("b%d.p[row]"):format(k)
  end
  return (([[
local q, C, shared, first, first_c, another_cursor, not_writing, stale_loop, optional, optional_row, again = ...
local next_chunk = C.ecs_cursor_next
local function open()
  CHECK
  local epoch = shared.epoch
  if first_c.epoch == epoch then return another_cursor(q) end
  if first_c.epoch ~= 0 then again(q, first_c) end
  first_c.epoch = epoch
  return first
end
local function chunk(cursor)
  local c = cursor[LAST]
  if c.epoch ~= shared.epoch then stale_loop() end
  if next_chunk(c) then return 0, c.count - 1BOXES end
  c.epoch = 0
end
local function row(cursor)
  local row, c = cursor.row, cursor[LAST]
  if c.epoch ~= shared.epoch then stale_loop() end
  if row > cursor.last then
    if not next_chunk(c) then c.epoch = 0 return nil end
    row = 0
    cursor.last = c.count - 1
    cursor.ids = c.ids
  end
  cursor.row = row + 1
  LOCALS
  return cursor.ids[row]ROWS
end
local function open_rows()
  local cursor = open()
  cursor.row, cursor.last = 0, -1
  return cursor
end
return function() return chunk, open() end, function() return row, open_rows() end]]):gsub("%u+", {
    CHECK = q.write_count > 0 and "if shared.writing == 0 then not_writing(q) end" or "",
    LAST = columns + 1, BOXES = columns > 0 and ", " .. table.concat(boxes, ", ") or "",
    LOCALS = table.concat(locals, " "), ROWS = columns > 0 and ", " .. table.concat(rows, ", ") or "",
  }))
end

--- A loop was left by break; or the query was released.
local function again(q, c)
  if q.pool then C.ecs_cursor_rewind(c) end
end

local function optional(box)
  if box.p ~= nil then return box end
end

local function optional_row(box, row)
  if box.p ~= nil then return box.p[row] end
end

--- Gives a query its walks:
---   q:chunks()  first row, last row, one box a column
---   q:each()    entity, one reference a column
local function make_walks(q)
  local cursor = new_cursor(q, true)
  q.pool[1] = cursor
  q.chunks, q.each = assert(loadstring(walks_source(q), "=query"))(q, C, shared, cursor, cursor[#cursor],
    another_cursor, not_writing, stale_loop, optional, optional_row, again)
end

--- How many entities match, without visiting them.
---@return integer
function Query:count() return C.ecs_query_count(self.pointer) end

local function ended(cursor, ...)
  local c = cursor[#cursor]
  if c.epoch ~= 0 then C.ecs_cursor_rewind(c) end -- it was in the middle
  c.epoch = 0
  return ...
end

--- The first row: entity, references; nothing when there is none.
function Query:first()
  local row, cursor = self:each()
  return ended(cursor, row(cursor))
end

---@return number[] ids in iteration order
function Query:ids()
  local list, n = {}, 0
  for e in self:each() do
    n = n + 1
    list[n] = e
  end
  return list
end

--- Every row as { entity = id, Name = { field = value } }; outlives awaits.
function Query:copy()
  local list = {}
  local next_row, cursor = self:each()
  while true do
    local row = { next_row(cursor) }
    if row[1] == nil then return list end
    local copy = { entity = row[1] }
    for k, column in ipairs(self.columns) do
      if row[k + 1] ~= nil then copy[column.name] = views.to_table(column, row[k + 1]) end
    end
    list[#list + 1] = copy
  end
end

-- ---- declaring ------------------------------------------------------------------------------

local TERMS_MAX = 16

local function check_terms(what, options, level)
  for _, key in ipairs(M.KEYS) do
    local list = options[key]
    if list ~= nil and (type(list) ~= "table" or getmetatable(list) == component.Component) then
      error(("%s: %s expects a list of components, as { Pose }"):format(what, key), level + 1)
    end
    for i, term in ipairs(list or {}) do
      if getmetatable(term) ~= component.Component then
        error(("%s: %s[%d] is no component but %s"):format(what, key, i, type(term)), level + 1)
      end
    end
  end
  local columns = #(options.write or {}) + #(options.read or {}) + #(options.maybe or {})
  local others = 0
  for _, key in ipairs { "with", "without", "changed", "added" } do others = math.max(others, #(options[key] or {})) end
  if math.max(columns, others) > TERMS_MAX then
    error(("%s: at most %d components"):format(what, TERMS_MAX), level + 1)
  end
end

--- A query that is built when the registry is frozen.
---@param level integer stack level to blame
function M.declare(what, options, place, level)
  check_terms(what, options, level + 1)
  local q = setmetatable({
    what = what, place = place, script = registry.script, options = options, pool = {},
  }, Query)
  table.insert(registry.recording.queries, q)
  return q
end

--- Declares a free-standing query.
function M.query(options)
  local _, _, place = registry.declare("a query", 3)
  registry.check_options("query", options, { "read", "with", "without", "maybe", "changed", "added" }, 2)
  return M.declare("query", options, place, 2)
end

--- Whether a query that is not built names one of the components.
---@param components table<stator.Component, boolean>
function M.names_any(q, components)
  for _, key in ipairs(M.KEYS) do
    for _, c in ipairs(q.options[key] or {}) do
      if components[c] then return true end
    end
  end
  return false
end

local function ids(list)
  local out = {}
  for i, c in ipairs(list or {}) do out[i] = c.id end
  return out
end

--- Builds a declared query in the core. Answers a problem as text, or nil.
function M.build(q)
  local o = q.options
  q.columns = {}
  for _, key in ipairs { "write", "read", "maybe" } do
    for _, c in ipairs(o[key] or {}) do
      if c.is_tag then
        return ('%s: %s: %s is a tag and has no values: name it in "with"'):format(q.place, q.what, c.name)
      end
      q.columns[#q.columns + 1] = c
    end
  end
  q.write_count = #(o.write or {})
  q.maybe_from = q.write_count + #(o.read or {}) + 1
  local pointer, message = core.query {
    write = ids(o.write), read = ids(o.read), maybe = ids(o.maybe), with = ids(o.with), without = ids(o.without),
    changed = ids(o.changed), added = ids(o.added),
  }
  if not pointer then return ("%s: %s: %s"):format(q.place, q.what, message) end
  q.pointer, q.handle = cast("ecs_query_t *", pointer), pointer
  make_walks(q)
end

--- How many entities carry a component.
---@param c stator.Component
---@return integer
function M.carriers(c)
  local pointer = core.query { write = {}, read = {}, maybe = {}, with = { c.id }, without = {}, changed = {},
    added = {} }
  local count = C.ecs_query_count(cast("ecs_query_t *", pointer))
  core.query_release(pointer)
  return count
end

--- What is left of a query that was released: every use of it raises.
local Released = {
  __index = function(q, key)
    err.raise(("%s: %s, declared at %s, was released: its script has another revision now"):format(
      tostring(key), rawget(q, "what"), rawget(q, "place")), "released")
  end,
}

--- Ends a query: any use of it raises from now on. Loops over it that tasks have left at an await raise as they
--- would have; a task that waits for its count goes on. A second time does nothing.
function M.release(q)
  if getmetatable(q) == Released then return end
  local handle, what, place = q.handle, q.what, q.place
  if handle then
    for _, cursor in ipairs(q.pool) do -- loops may have them, and functions that scripts keep
      local c = ffi.gc(cursor[#q.columns + 1], C.ecs_cursor_close)
      c.epoch = NEVER
    end
    core.query_release(handle)
  end
  for key in pairs(q) do q[key] = nil end -- in any order: all of them
  q.what, q.place = what, place
  setmetatable(q, Released)
end

return M
