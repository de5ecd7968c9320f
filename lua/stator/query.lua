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

local C, shared, cast = abi.C, abi.shared, ffi.cast
local POOL_MAX = 16

---@class stator.Query
local Query = {}
Query.__index = Query

local M = { Query = Query, KEYS = { "read", "write", "with", "without", "maybe", "changed", "added" } }

local function stale_loop()
  err.raise("this loop over a query went on after an await: views end there; take the query again")
end

-- ---- cursors --------------------------------------------------------------------------------

local function new_cursor(q, pooled)
  local c = C.ecs_cursor_open(q.pointer)
  if c == nil then err.raise("out of memory", "memory") end
  if not pooled then c = ffi.gc(c, C.ecs_cursor_close) end
  local cursor = table_new(#q.columns, 8) -- boxes in its list part: found without hashing
  cursor.c, cursor.q, cursor.row, cursor.last, cursor.epoch, cursor.left = c, q, 0, -1, 0, false
  for k, column in ipairs(q.columns) do
    local box = k <= q.write_count and column.writer_box or column.box
    cursor[k] = cast(box, c.box + (k - 1))[0]
  end
  return cursor
end

--- A cursor at the start. One of the query's pool when it is not in use in this slice; a loop left
--- by break keeps its cursor until the slice ends.
local function open(q)
  local epoch = shared.epoch
  if q.write_count > 0 and shared.writing == 0 then
    err.raise("a query that writes is for its system, while it runs: " .. q.what)
  end
  if q.epoch ~= epoch then
    q.epoch, q.used = epoch, 0
  end
  local used = q.used + 1
  q.used = used
  local cursor = q.pool[used]
  if not cursor then
    cursor = new_cursor(q, used <= POOL_MAX)
    if used <= POOL_MAX then q.pool[used] = cursor end
  end
  if cursor.left then C.ecs_cursor_rewind(cursor.c) end -- a walk to the end has done it
  cursor.row, cursor.last, cursor.epoch, cursor.left = 0, -1, epoch, true
  return cursor
end

local function close(q, cursor)
  cursor.left = false
  if q.used > 0 and q.pool[q.used] == cursor then q.used = q.used - 1 end
end

-- ---- iterators ------------------------------------------------------------------------------

--- Source of the two iterators for n columns; those from `maybe_from` on may be nil.
local function iterator_source(columns, maybe_from)
  local boxes, rows, locals = {}, {}, {}
  for k = 1, columns do
    boxes[k] = k >= maybe_from and ("optional(cursor[%d])"):format(k) or ("cursor[%d]"):format(k)
    locals[k] = ("local b%d = cursor[%d]"):format(k, k)
    rows[k] = k >= maybe_from and ("optional_row(b%d, row)"):format(k) or ("b%d.p[row]"):format(k)
  end
  local tail = columns > 0 and ", " or ""
  return ([[
local C, shared, close, stale_loop, optional, optional_row = ...
local next_chunk = C.ecs_cursor_next
local function chunk(cursor)
  local c = cursor.c
  if cursor.epoch ~= shared.epoch then stale_loop() end
  if next_chunk(c) then return 0, c.count - 1%s%s end
  close(cursor.q, cursor)
end
local function row(cursor)
  local row = cursor.row
  if cursor.epoch ~= shared.epoch then stale_loop() end
  if row > cursor.last then
    local c = cursor.c
    if not next_chunk(c) then close(cursor.q, cursor) return nil end
    row = 0
    cursor.last = c.count - 1
    cursor.ids = c.ids
  end
  cursor.row = row + 1
  %s
  return cursor.ids[row]%s%s
end
return chunk, row]]):format(tail, table.concat(boxes, ", "), table.concat(locals, " "), tail, table.concat(rows, ", "))
end

local function optional(box)
  if box.p ~= nil then return box end
end

local function optional_row(box, row)
  if box.p ~= nil then return box.p[row] end
end

local function make_iterators(q)
  local source = iterator_source(#q.columns, q.maybe_from)
  q.next_chunk, q.next_row = assert(loadstring(source, "=query"))(C, shared, close, stale_loop, optional, optional_row)
end

--- Walks the chunks: first row, last row, one box a column.
function Query:chunks()
  return self.next_chunk, open(self)
end

--- Walks the rows: entity, one reference a column.
function Query:each()
  return self.next_row, open(self)
end

--- How many entities match, without visiting them.
---@return integer
function Query:count() return C.ecs_query_count(self.pointer) end

--- The first row: entity, references; nothing when there is none.
function Query:first()
  local cursor = open(self)
  close(self, cursor)
  cursor.left = true -- in the middle
  return self.next_row(cursor)
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
  local cursor = open(self)
  while true do
    local row = { self.next_row(cursor) }
    if row[1] == nil then return list end
    local copy = { entity = row[1] }
    for k, column in ipairs(self.columns) do
      if row[k + 1] ~= nil then copy[column.name] = column:to_table(row[k + 1]) end
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
  local q = setmetatable({ what = what, place = place, options = options, pool = {}, used = 0, epoch = 0 }, Query)
  table.insert(registry.queries, q)
  return q
end

--- Declares a free-standing query.
function M.query(options)
  local _, _, place = registry.declare("a query", 3)
  registry.check_options("query", options, { "read", "with", "without", "maybe", "changed", "added" }, 2)
  return M.declare("query", options, place, 2)
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
  q.pointer = cast("ecs_query_t *", pointer)
  make_iterators(q)
end

return M
