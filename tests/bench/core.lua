-- The table of the core alone: stator in C against plain arrays, LuaJIT on plain arrays, and peers.
-- Loaded by bench.lua. The workloads are in core_*.c and, under the same names, in peers/.
local ffi = require "ffi"

ffi.cdef [[
typedef struct core_row core_row_t;
core_row_t *core_open(const char *name);
void core_close(core_row_t *row);
double core_items(const core_row_t *row);
double core_sample(core_row_t *row);
double core_limit(core_row_t *row);
void limits_shuffle(double *list, uint32_t count);
]]
local C = ffi.C
local THROWN_AWAY = 2 -- samples, the first ones
local COLUMNS = { "value", "limit", "luajit" }

local M = {}

-- ---- LuaJIT on plain arrays -------------------------------------------------------------------

local function integrate(rows)
  local pos, vel = ffi.new("v3_t[?]", rows), ffi.new("v3_t[?]", rows)
  local passes = math.ceil(100000 / rows)
  local function pass(dt)
    for i = 0, rows - 1 do
      local p, v = pos[i], vel[i]
      p.x = p.x + v.x * dt
      p.y = p.y + v.y * dt
      p.z = p.z + v.z * dt
    end
  end
  return rows * passes, function()
    for _ = 1, passes do pass(0.01) end
  end
end

local function get_random(rows)
  local pos, order = ffi.new("v3_t[?]", rows), ffi.new("double[?]", rows)
  for i = 0, rows - 1 do order[i] = i end
  C.limits_shuffle(order, rows)
  local sum = 0
  return rows, function()
    for i = 0, rows - 1 do sum = sum + pos[order[i]].x end
  end
end

-- ---- rows -------------------------------------------------------------------------------------

-- name: of the workload, here and in peers; peer: in peers if it is another one there. A row that the
-- core lacks shows what peers have.
local ROWS = {
  { title = "pos += vel, 3 doubles, 1k rows", name = "integrate_1k", samples = 31, lua = integrate, rows = 1000 },
  { title = "pos += vel, 3 doubles, 10k rows", name = "integrate_10k", samples = 31, lua = integrate, rows = 10000 },
  { title = "pos += vel, 3 doubles, 100k rows", name = "integrate_100k", samples = 31, lua = integrate, rows = 100000 },
  { title = "pos += vel, 3 doubles, 1M rows", name = "integrate_1m", samples = 11, lua = integrate, rows = 1000000 },
  { title = "read 26 archetypes x 20 rows", name = "fragmented", samples = 31 },
  { title = "get component by id, random, 100k", name = "get_random", samples = 15, lua = get_random, rows = 100000 },
  { title = "spawn 100k, 4 components, 96 bytes, by commands, warm", name = "spawn_commands", samples = 15 },
  { title = "spawn 100k, 4 components, 96 bytes, by commands, cold", name = "spawn_commands_cold", samples = 15 },
  { title = "spawn 100k, 4 components, 96 bytes, in bulk, warm", name = "spawn_bulk", samples = 15 },
  { title = "spawn 100k, 4 components, 96 bytes, in bulk, cold", name = "spawn_bulk_cold", samples = 15 },
  { title = "despawn 100k", name = "despawn", samples = 15 },
  { title = "add a component to 100k, table", name = "add_table", samples = 15 },
  { title = "remove a component from 100k, table", name = "remove_table", samples = 15 },
  { title = "add a component to 100k, sparse", name = "add_sparse", samples = 15 },
  { title = "remove a component from 100k, sparse", name = "remove_sparse", samples = 15 },
  { title = "record one insert", name = "record", samples = 15 },
  { title = "apply 100k sets, id order", name = "apply_set_id", samples = 15, peer = "apply_insert_id" },
  { title = "apply 100k sets, random order", name = "apply_set_random", samples = 15, peer = "apply_insert_random" },
  { title = "apply 100k inserts, id order", name = "apply_insert_id", samples = 15 },
  { title = "apply 100k inserts, random order", name = "apply_insert_random", samples = 15 },
  { title = "spawn into 10k new archetypes", name = "archetypes_create", samples = 9 },
  { title = "make a query over 10k archetypes", name = "archetypes_query", samples = 9 },
  { title = "read 10k archetypes, one row each", name = "archetypes_iterate", samples = 15 },
  { title = "count 2,500 of 10k archetypes, each", name = "archetypes_count", samples = 15 },
  { title = "changed rows, 1 % of 100k, apart, per row", name = "changed_spread", samples = 31 },
  { title = "changed rows, 1 % of 100k, together, per row", name = "changed_together", samples = 31 },
  { title = "write a snapshot, 1M entities, 2 components", name = "snapshot_write", samples = 7 },
  { title = "restore it", name = "snapshot_restore", samples = 7 },
  { title = "(at once, not deferred) despawn 100k", name = "despawn_direct", samples = 15 },
  { title = "(at once) add a component to 100k, table", name = "add_table_direct", samples = 15 },
  { title = "(at once) remove a component from 100k, table", name = "remove_table_direct", samples = 15 },
  { title = "(at once) add a component to 100k, sparse", name = "add_sparse_direct", samples = 15 },
  { title = "(at once) remove a component from 100k, sparse", name = "remove_sparse_direct", samples = 15 },
  { title = "(at once) insert 100k, random order", name = "insert_direct_random", samples = 15 },
  { title = "(by the world, not a query) get component by id", name = "get_random_world", samples = 15 },
}

--- The figure of a peer for a workload, measured now: it prints name, tab, ns per item.
local function peer_figure(program, name)
  local pipe = assert(io.popen(("timeout 60 %s %s"):format(program, name)))
  local text = pipe:read "*a"
  pipe:close()
  return tonumber(text:match("^" .. name .. "\t([%d.]+)\n$"))
end

--- What is measured for a row, each returning ns per item; and what ends it.
local function parts_of(bench, spec)
  local parts, row = {}, C.core_open(spec.name)
  if row ~= nil then
    local items = C.core_items(row)
    parts.value = function()
      local took = C.core_sample(row)
      assert(took >= 0, "the core refused something in " .. spec.name)
      return took / items
    end
    parts.limit = function() return C.core_limit(row) / items end
  end
  if spec.lua then
    local items, work = spec.lua(spec.rows)
    local timed = bench.timed(work)
    parts.luajit = function() return timed() / items end
  end
  return parts, function()
    if row ~= nil then C.core_close(row) end
  end
end

--- Medians; the parts take turns, so that all see the same machine.
local function measure(bench, spec)
  local parts, close = parts_of(bench, spec)
  local lists, row = { value = {}, limit = {}, luajit = {} }, {}
  for i = 1, spec.samples + THROWN_AWAY do
    for _, name in ipairs(COLUMNS) do
      local took = parts[name] and parts[name]()
      if took and i > THROWN_AWAY then table.insert(lists[name], took) end
    end
  end
  close()
  for _, name in ipairs(COLUMNS) do row[name] = bench.median(lists[name]) end
  return row
end

local function cell(format, value) return value and format:format(value) or "-" end

local LINE = "%-54s %9s %9s %7s %9s %9s %7s\n"

local function print_row(r)
  io.stdout:write(LINE:format(r.title, cell("%.2f", r.value), cell("%.2f", r.limit), cell("%.2fx", r.ratio),
    cell("%.2f", r.luajit), cell("%.2f", r.bevy), cell("%.2fx", r.over_bevy)))
  io.stdout:flush()
end

local function rows_named(name)
  if not name then return ROWS end
  local found = {}
  for _, spec in ipairs(ROWS) do
    if spec.name == name then found[1] = spec end
  end
  return #found > 0 and found or error("no row of the core is named " .. name, 0)
end

--- Measures and prints all rows; `bench` has timed and median. Returns them.
--- `chosen`: `row`, the one row to measure; `bevy`, the program; `nobevy`, why there is none.
function M.run(bench, chosen)
  io.stdout:write("\n", LINE:format("the core alone, ns", "stator C", "limit", "ratio", "LuaJIT", "bevy 0.17", "to bevy"))
  if chosen.nobevy then io.stdout:write("no column of bevy: ", chosen.nobevy, "\n") end
  local rows = {}
  for _, spec in ipairs(rows_named(chosen.row)) do
    local r = measure(bench, spec)
    r.name, r.title, r.unit, r.target = "core: " .. spec.title, spec.title, "ns", ""
    r.bevy = chosen.bevy and peer_figure(chosen.bevy, spec.peer or spec.name)
    r.ratio = r.value and r.value / r.limit
    r.over_bevy = r.value and r.bevy and r.value / r.bevy
    if r.value or r.bevy then
      rows[#rows + 1] = r
      print_row(r)
    end
  end
  return rows
end

return M
