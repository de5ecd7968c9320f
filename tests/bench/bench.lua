-- Measurements, as ratios against limits taken in the same run. Run by ./dev bench, inside the VM of
-- a cell (bench_main.c), with everything on that a cell has on. Times are reported, ratios judged.
local arguments = { ... }
if os.getenv "JV" then require("jit.v").on(os.getenv "JV") end
local ffi = require "ffi"
local abi = require "stator.abi"
local command = require "stator.command"
local core = require "stator.core.task"
local registry = require "stator.registry"
local script = require "stator.script"
local task = require "stator.task"
local instrument = require "stator.instrument"
local world = require "stator.core.world"

ffi.cdef [[
typedef struct { double x, y, z; } v3_t;
double bench_now_ns(void);
void bench_plain(v3_t *pos, const v3_t *vel, double count, double dt);
double bench_ecs_query(ecs_query_t *query, double dt);
void bench_empty(double id);
void *bench_slot(double id, double mask);
double bench_get(ecs_world_t *world, const double *ids, double count, double component);
typedef struct bench_commands bench_commands_t;
bench_commands_t *bench_commands_make(const double *ids, double count);
void bench_commands_free(bench_commands_t *commands);
void bench_store(ecs_world_t *world, const bench_commands_t *commands, double component);
double bench_spawn_bulk(ecs_world_t *world, const double *components, double count, double *ids);
double bench_apply(ecs_world_t *world);
double bench_spawn(ecs_world_t *world, const double *components, double count, double *ids);
void bench_memcpy(char *to, const char *from, double rows, double bytes);
double bench_resumes(double tasks, double rounds);
int ecs_phase_set(ecs_world_t *world, int phase);
int ecs_write_begin(ecs_world_t *world, uint64_t owner);
void ecs_epoch_bump(ecs_world_t *world);
int ecs_views_expire(ecs_world_t *world);
]]
-- luacheck: globals bench_task_bytes bench_scalars bench_step bench_lateness bench_echo
-- luacheck: globals bench_walls bench_plain_call bench_guarded_call bench_run
local scalars, step, lateness, echo = bench_scalars, bench_step, bench_lateness, bench_echo
local C = ffi.C
local now = C.bench_now_ns
local PHASE = { run = 2, apply = 3, write = 4 }
local components = registry.live.components
local Pos, Vel, Frag = components.Pos, components.Vel, components.Frag
local writer, frag_query = registry.live.queries[1], registry.live.queries[2]

local rows = {}

local function median(list)
  table.sort(list)
  return list[math.floor(#list / 2) + 1]
end

local function mean(list)
  local sum = 0
  for _, x in ipairs(list) do sum = sum + x end
  return sum / #list
end

--- Two functions measured in turn, so that both see the same machine: medians of ns per operation.
local function pair(samples, measured, limit, per)
  local a, b = {}, {}
  for i = 1, samples + 2 do
    local x, y = measured(), limit()
    if i > 2 then a[#a + 1], b[#b + 1] = x / per, y / per end
  end
  return median(a), median(b)
end

local function timed(fn)
  return function()
    local start = now()
    fn()
    return now() - start
  end
end

local function row(name, unit, value, limit, target)
  local ratio = value / limit
  rows[#rows + 1] = { name = name, unit = unit, value = value, limit = limit, ratio = ratio, target = ("<= %gx"):format(target) }
  io.stdout:write(("%-66s %10.2f %10.2f %7.2fx  %-8s %s\n"):format(name .. " (" .. unit .. ")", value, limit, ratio,
    rows[#rows].target, ratio <= target and "" or "MISSED"))
  io.stdout:flush()
end

-- ---- filling the world ------------------------------------------------------------------------

local function phase(p) C.ecs_phase_set(abi.world, PHASE[p]) end

local function batch(fn)
  phase "run"
  world.begin(0, 0)
  fn()
  world.seal()
  local took = C.bench_apply(abi.world)
  assert(took >= 0, abi.last_error())
  return took
end

local function despawn_all(ids)
  batch(function() for i = 1, #ids do command:despawn(ids[i]) end end)
end

local function spawn_moving(n)
  local ids = {}
  batch(function()
    for i = 1, n do ids[i] = command:spawn { Pos { x = i, y = i, z = i }, Vel { x = 1, y = 2, z = 3 } } end
  end)
  return ids
end

local function shuffle(list)
  local seed = 42
  for i = #list, 2, -1 do
    seed = (seed * 1103515245 + 12345) % 2147483648
    local j = seed % i + 1
    list[i], list[j] = list[j], list[i]
  end
end

-- ---- writers and queries ----------------------------------------------------------------------

--- A function compiled as those of scripts are, with what is put into their loops.
local function as_script(text, ...)
  local env = setmetatable(script.NAMES, { __index = _G })
  return setfenv(assert(script.load_text(text, "=bench")), env)(...)
end

local integrate = as_script [[
  return function(q, dt)
    for first, last, pos, vel in q:chunks() do
      for i = first, last do
        local p, v = pos[i], vel[i]
        p.x = p.x + v.x * dt
        p.y = p.y + v.y * dt
        p.z = p.z + v.z * dt
      end
    end
  end]]

local function writing(fn)
  return function()
    phase "write"
    C.ecs_write_begin(abi.world, 0)
    local start = now()
    fn()
    local took = now() - start
    C.ecs_epoch_bump(abi.world)
    phase "run"
    return took
  end
end

local function bench_writer(n, samples)
  local ids = spawn_moving(n)
  local pos, vel = ffi.new("v3_t[?]", n), ffi.new("v3_t[?]", n)
  local plain = timed(function() C.bench_plain(pos, vel, n, 0.01) end)
  local lua, limit = pair(samples, writing(function() integrate(writer, 0.01) end), plain, n)
  local c, c_limit = pair(samples, writing(function() C.bench_ecs_query(writer.pointer, 0.01) end), plain, n)
  despawn_all(ids)
  return lua, limit, c, c_limit
end

local function writers()
  local lua, limit, c, c_limit = bench_writer(100000, 31)
  row("writer, pos += vel, 3 doubles, 100k rows, from Lua", "ns/row", lua, limit, 1.7)
  row("the same in C through ecs.h", "ns/row", c, c_limit, 1.2)
  local small, small_limit = bench_writer(10000, 101)
  local large, large_limit = bench_writer(1000000, 11)
  row("Lua ns per row, 1M against 10k, over plain C's quotient", "x", large / small, large_limit / small_limit, 1.2)
end

--- Everything handed out is stale now, and the view at another address.
local function rotate(id)
  batch(function() command:set(id, Frag, { v = 1 }) end)
  assert(C.ecs_views_expire(abi.world) == 0)
end

--- The first pass over each chunk after the view has moved.
local function fragmented()
  local ids = {}
  batch(function()
    for t = 1, 26 do
      for i = 1, 20 do ids[#ids + 1] = command:spawn { Frag { v = i }, components["Tag" .. t] } end
    end
  end)
  local raw = {}
  local function point()
    local n = 0
    for _, _, box in frag_query:chunks() do
      n = n + 1
      raw[n] = raw[n] or {}
      raw[n].n, raw[n].p = #box, box.p
    end
  end
  point()
  local walk = as_script([[
    local frag_query, sum = ..., 0
    return function()
      for first, last, frag in frag_query:chunks() do
        for i = first, last do sum = sum + frag[i].v end
      end
    end]], frag_query)
  local sum = 0
  local function by_pointers()
    for k = 1, #raw do
      local chunk = raw[k]
      local p = chunk.p
      for i = 0, chunk.n - 1 do sum = sum + p[i].v end
    end
  end
  local function many(fn, prepare)
    return function()
      local total = 0
      for _ = 1, 100 do
        rotate(ids[1])
        if prepare then prepare() end
        total = total + bench_run(fn)
        C.ecs_epoch_bump(abi.world)
      end
      return total
    end
  end
  local value, limit = pair(31, many(walk), many(by_pointers, point), 100 * 520)
  row("read-only query, 26 archetypes x 20 rows, after a rotation", "ns/row", value, limit, 1.5)
  despawn_all(ids)
end

local function random_get()
  local n = 100000
  local ids = spawn_moving(n)
  shuffle(ids)
  local array = ffi.new("double[?]", n)
  for i = 1, n do array[i - 1] = ids[i] end
  local sum = 0
  local value, limit = pair(15, timed(function()
    for i = 0, n - 1 do sum = sum + array[i]:get(Pos).x end
  end), timed(function() sum = sum + C.bench_get(abi.world, array, n, Pos.id) end), n)
  row("get component by id, random, 100k, from Lua", "ns", value, limit, 1.5)
  return ids, array, n
end

-- ---- recording and applying -------------------------------------------------------------------

-- Functions of functions that have returned, as a script's are: what they refer to lies where it stays.
local function setting(cmd, component, ids, n)
  return function()
    world.begin(0, 0)
    local start = now()
    for i = 1, n do cmd:set(ids[i], component, { x = i, y = 1, z = 2 }) end
    local took = now() - start
    world.drop()
    return took
  end
end

local function storing(library, cast, ids, n)
  local pointer = ffi.typeof "v3_t *"
  return timed(function()
    for i = 1, n do
      local p = cast(pointer, library.bench_slot(ids[i], 7))
      p.x, p.y, p.z = i, 1, 2
    end
  end)
end

local function record_rows(ids, n)
  local value, limit = pair(15, setting(command, Pos, ids, n), storing(C, ffi.cast, ids, n), n)
  row("record one set from compiled Lua", "ns", value, limit, 1.5)
end

local function c_loop(array, n)
  local commands = ffi.gc(C.bench_commands_make(array, n), C.bench_commands_free)
  return timed(function() C.bench_store(abi.world, commands, Pos.id) end)
end

local function apply_rows(ids, array, n)
  local function sets(order)
    return function()
      return batch(function() for i = 1, n do command:set(order[i], Pos, { x = i, y = 1, z = 2 }) end end)
    end
  end
  local value, limit = pair(9, sets(ids), c_loop(array, n), n)
  row("apply 100k sets, random order", "ns", value, limit, 3)
  local sorted = {}
  for i = 1, n do sorted[i] = ids[i] end
  table.sort(sorted)
  for i = 1, n do array[i - 1] = sorted[i] end
  value, limit = pair(9, sets(sorted), c_loop(array, n), n)
  row("apply 100k sets, id order", "ns", value, limit, 8)
end

local function spawn_rows()
  local n, bytes = 100000, 96
  local from, to = ffi.new("char[?]", n * bytes), ffi.new("char[?]", n * bytes)
  local ids, spawned = ffi.new("double[?]", n), {}
  local list = ffi.new("double[4]", Pos.id, Vel.id, components.Load.id, components.Blob.id)
  local function spawn(by)
    phase "run"
    local took = by(abi.world, list, n, ids)
    for i = 1, n do spawned[i] = ids[i - 1] end
    despawn_all(spawned)
    return took
  end
  local copy = timed(function() C.bench_memcpy(to, from, n, bytes) end)
  for _, way in ipairs { { "in bulk", C.bench_spawn_bulk }, { "one by one", C.bench_spawn } } do
    local value, limit = pair(9, function() return spawn(way[2]) end, copy, n)
    row(("spawn 100k with 4 components, 96-byte rows, %s"):format(way[1]), "ns", value, limit, 10)
  end
end

-- ---- tasks ------------------------------------------------------------------------------------

local ORDER = registry.order(registry.PHASES.update, 1, 1)

local function settle_rows()
  local n, rounds, settle = 1000, 20, core.settle
  local futures = {}
  local stop = false
  for i = 1, n do
    task.spawn({ name = "waiter", order = ORDER }, function()
      while not stop do task.await(futures[i]) end
    end)
  end
  local function renew()
    for i = 1, n do futures[i] = core.future() end
    collectgarbage() -- a cell has idle time for it
    collectgarbage "stop"
  end
  renew()
  step(1)
  local function settle_all()
    local total = 0
    for _ = 1, rounds do
      local old = {}
      for i = 1, n do old[i] = futures[i] end
      renew()
      local start = now()
      for i = 1, n do settle(old[i], true, 1) end
      step(1)
      total = total + now() - start
    end
    return total
  end
  jit.off(settle_all) -- as code of tasks that settle: interpreted
  local value, limit = pair(25, settle_all, function() return C.bench_resumes(n, rounds) * n * rounds end, n * rounds)
  row("1,000 tasks each awaiting a future that another settles", "ns", value, limit, 4)
  stop = true
  for i = 1, n do settle(futures[i], true) end
  step(2)
end

local function sleeper_rows()
  local n = 10000
  local stop, total, woken = false, 0, 0
  for _ = 1, n do
    task.spawn({ name = "sleeper", order = ORDER }, function()
      while not stop do
        task.await(core.sleep(0.002))
        woken = woken + 1
      end
    end)
  end
  step(1)
  local function wake()
    local before = woken
    local deadline = now() + 2.2e6
    while now() < deadline do end
    total = step(1)
    assert(woken - before == n, woken - before)
    return total
  end
  local value, limit = pair(25, wake, function() return C.bench_resumes(n, 1) * n end, n)
  row("10,000 sleepers woken in one tick", "ns", value, limit, 1.3)
  stop = true
  local deadline = now() + 2.5e6
  while now() < deadline do end
  step(2)
end

local function memory_row()
  local n = 10000
  collectgarbage() collectgarbage()
  local before, stop = collectgarbage "count", core.future()
  for _ = 1, n do
    task.spawn({ name = "idle", order = ORDER }, function() task.await(stop) end)
  end
  step(1)
  collectgarbage() collectgarbage()
  local bytes = (collectgarbage "count" - before) * 1024 / n + bench_task_bytes
  row("bytes of a waiting task", "B", bytes, 696, 2)
  core.settle(stop, true)
  step(2)
end

local function round_row()
  local samples = {}
  for i = 1, 51 do samples[i] = step(1000) / 1000 end
  row("one empty round", "ns", median(samples), 1000, 1)
end

local function awaiting_record_row(ids)
  local n, rounds = 200, 300
  local total, count = 0, 0
  for i = 1, n do
    task.spawn({ name = "recorder", order = ORDER }, function()
      for _ = 1, rounds do
        local start = now()
        command:set(ids[i], Pos, { x = i, y = 1, z = 2 })
        total, count = total + now() - start, count + 1
        task.await(core.commit())
      end
    end)
  end
  step(rounds + 2)
  local clock, calls = 0, 0
  for _ = 1, n * rounds do
    local start = now()
    clock, calls = clock + now() - start, calls + 1
  end
  local value = total / count - clock / calls
  local c = {}
  for i = 1, 31 do
    c[i] = timed(function() for k = 1, 1000 do scalars(k, 1, 2, 3) end end)() / 1000
  end
  row("record one set from a task that awaits", "ns", value, median(c), 2)
end

local function lateness_rows()
  local p50, p99, bare50, bare99 = {}, {}, {}, {}
  for i = 1, 5 do
    for which = 0, 1 do
      local half, most = lateness(1000, 800, which == 1)
      if which == 1 then p50[i], p99[i] = half, most else bare50[i], bare99[i] = half, most end
    end
  end
  row("tick lateness at 1 kHz, p50", "ns", median(p50), median(bare50), 1.3)
  row("tick lateness at 1 kHz, p99", "ns", median(p99), median(bare99), 1.3)
end

--- 32 clients, ping-pong of 64 bytes; the cell's tasks also set a component for each message.
local function echo_rows()
  local net = require "stator.core.net"
  local entities, connections, seconds = spawn_moving(32), 0, 1.6
  local listener = assert(net.listen("127.0.0.1", 0))
  task.spawn({ name = "echo", order = ORDER }, function()
    while true do
      local conn = task.await(listener:accept())
      connections = connections + 1
      local e = entities[(connections - 1) % 32 + 1]
      task.child(function()
        while true do
          local data = task.await(conn:read())
          command:set(e, Pos, { x = #data })
          task.await(conn:write(data))
        end
      end, { quiet = true })
    end
  end)
  step(1)
  local rate, user, bare_rate, bare_user = {}, {}, {}, {} -- user time comes in jiffies: much of it is needed
  for i = 1, 5 do
    bare_rate[i], bare_user[i] = echo(0, 32, seconds)
    rate[i], user[i] = echo(listener:port(), 32, seconds)
    collectgarbage()
    collectgarbage "stop"
  end
  row("user CPU per device reply, read callback to applied", "ns", mean(user), mean(bare_user), 4)
  local value, limit = median(rate), median(bare_rate)
  rows[#rows + 1] = {
    name = "messages a second, 32 connections, each also sets a component", unit = "1/s", value = value, limit = limit,
    ratio = value / limit, target = ">= 0.8x",
  }
  io.stdout:write(("%-66s %10.0f %10.0f %7.2fx  %-8s %s\n"):format(rows[#rows].name .. " (1/s)", value, limit,
    value / limit, ">= 0.8x", value / limit >= 0.8 and "" or "MISSED"))
end

-- ---- walls ------------------------------------------------------------------------------------

--- A row without a target.
local function told(name, unit, value, limit)
  rows[#rows + 1] = { name = name, unit = unit, value = value, limit = limit, ratio = value / limit, target = "" }
  io.stdout:write(("%-66s %10.2f %10.2f %7.2fx\n"):format(name .. " (" .. unit .. ")", value, limit, value / limit))
end

--- A wall's cost has no target of its own: it counts in the rows above.
local function wall(name, ...) told("wall: " .. name, ...) end

local function loop_of(text, n, interpreted)
  local f = assert(loadstring(text))
  if interpreted then require("jit").off(f) end
  return function()
    for _ = 1, 20 do f(n / 100) end
    return timed(function() f(n) end)()
  end
end

local function turn_rows()
  for name, fn in pairs(script.NAMES) do _G[name] = fn end
  local source = "local n, s = ..., 0 while n > 0 do n = n - 1 s = s + n end return s"
  for _, mode in ipairs { "compiled", "interpreted" } do
    local n = mode == "compiled" and 1e6 or 1e5
    local off = mode == "interpreted"
    local with, without = pair(15, loop_of(instrument.text(source), n, off), loop_of(source, n, off), n)
    wall("a turn of a loop that can be stopped, " .. mode, "ns", with, without)
  end
end

local function box_row()
  local n = 100000
  local ids = spawn_moving(n)
  local function raw(q, dt)
    for first, last, pos, vel in q:chunks() do
      local pp, vv = pos.p, vel.p
      for i = first, last do
        local p, v = pp[i], vv[i]
        p.x = p.x + v.x * dt
        p.y = p.y + v.y * dt
        p.z = p.z + v.z * dt
      end
    end
  end
  local with, without = pair(31, writing(function() integrate(writer, 0.01) end), writing(function() raw(writer, 0.01) end), n)
  wall("boxes: bounds and epoch of two columns", "ns/row", with, without)
  despawn_all(ids)
end

local function wall_rows()
  turn_rows()
  box_row()
  for _, size in ipairs { 1000, 1000000 } do
    local function on() return bench_walls("round", 0, size, 500) end
    local function off() return bench_walls("round", 1, size, 500) end
    local with, without = pair(3, on, off, 1)
    wall(("a round that moves the view, %d rows"):format(size), "ns", with, without)
    with, without = pair(3, function() return bench_walls("write", 0, size, 500) end,
      function() return bench_walls("write", 1, size, 500) end, 1)
    wall(("a write phase that moves the window; without: by mprotect, %d rows"):format(size), "ns", with, without)
  end
  local guarded, plain = bench_guarded_call, bench_plain_call
  local with, without = pair(15, timed(function() for i = 1, 1e5 do guarded(i) end end),
    timed(function() for i = 1, 1e5 do plain(i) end end), 1e5)
  wall("a function of the host that is not left half done", "ns", with, without)
end

-- ---- all --------------------------------------------------------------------------------------

local function cell_rows()
  io.stdout:write(("%-66s %10s %10s %8s  %s\n"):format("row", "value", "limit", "ratio", "target"))
  writers()
  fragmented()
  local ids, array, n = random_get()
  record_rows(ids, n)
  apply_rows(ids, array, n)
  awaiting_record_row(ids)
  despawn_all(ids)
  spawn_rows()
  settle_rows()
  sleeper_rows()
  memory_row()
  round_row()
  lateness_rows()
  echo_rows()
  wall_rows()
end

local CELL_FIELDS = { "value", "limit", "ratio" }
local CORE_FIELDS = { "value", "limit", "ratio", "luajit", "bevy", "over_bevy" }

local function json_string(text)
  return '"' .. text:gsub('[%c"\\]', function(c) return ("\\u%04x"):format(c:byte()) end) .. '"'
end

--- What was not measured is null, and `reason` says why; columns of a table are in its rows only.
local function json_row(r)
  local parts = { ('"name": %s, "unit": "%s", "target": "%s"'):format(json_string(r.name), r.unit, r.target) }
  for _, field in ipairs(r.fields or CELL_FIELDS) do
    local x = r[field]
    parts[#parts + 1] = ('"%s": %s'):format(field, x and x - x == 0 and ("%.17g"):format(x) or "null")
  end
  for _, field in ipairs { "reason", "seen" } do
    if r[field] then parts[#parts + 1] = ('"%s": %s'):format(field, json_string(r[field])) end
  end
  return "  { " .. table.concat(parts, ", ") .. " }"
end

local function json_text(rows_list)
  local parts = {}
  for i, r in ipairs(rows_list) do parts[i] = json_row(r) end
  return "[\n" .. table.concat(parts, ",\n") .. "\n]\n"
end

local folder = debug.getinfo(1, "S").source:match "^@(.*/)"
local core_table = assert(loadfile(folder .. "core.lua"))()
local peer_tables = assert(loadfile(folder .. "peers.lua"))()
local chosen = assert(loadfile(folder .. "options.lua"))().parse(arguments, peer_tables.NAMES)
if not chosen then return end
local tools = { timed = timed, median = median }
local core_alone = chosen.core or chosen.row
collectgarbage "stop"
if not (core_alone or chosen.peers) then
  cell_rows()
  local reload_row = assert(loadfile(folder .. "reload.lua"))()
  reload_row.run(folder, reload_row.ROUNDS, row, told)
end
if not chosen.peers then
  for _, r in ipairs(core_table.run(tools, chosen)) do
    r.fields = CORE_FIELDS
    rows[#rows + 1] = r
  end
end
if not core_alone then
  for _, r in ipairs(peer_tables.run(tools, folder, chosen)) do rows[#rows + 1] = r end
end

if chosen.json then
  local file = assert(io.open(chosen.json, "w"))
  file:write(json_text(rows))
  file:close()
end
