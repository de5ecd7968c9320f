--- Attacks on a cell, as texts: each is a function's body that runs inside the cell's VM in the place
--- that `where` names, with ffi and the raw pcall at hand. `ends` lists how it may end: the code of an error,
--- "lost" for a VM that is given up, "done" when nothing has to happen.
---
--- At hand: S (a table that lasts as long as the VM), q (the query of Victim: rows to read, in a writer to
--- write), e (an entity with Victim and Pose), cmd, take (a fresh view of e's Pose), p (a raw pointer to it),
--- scratch (a double[512] of its own), hot(f, ...) (calls f until it is compiled), touch() (writes something
--- and waits), raw_pcall.
local LONG = { "stopped", "lost", "memory" } -- one that makes garbage may reach the limit of the heap first

local M = {}

local function add(name, where, ends, body)
  M[#M + 1] = { name = name, where = where, ends = type(ends) == "table" and ends or { ends }, body = body }
end

local function everywhere(name, ends, body)
  for _, where in ipairs { "task", "reader", "writer", "observer" } do add(name .. " in " .. where, where, ends, body) end
end

-- ---- writes ---------------------------------------------------------------------------------------

local FILL = "local function fill(to, n) for i = 0, n do to[i % 8] = i end end "
everywhere("a field of a view", "error", "take().x = 9")
everywhere("a cast pointer", "read_only", "p[0] = 9")
add("a compiled loop", "task", "read_only", FILL .. "hot(fill, scratch, 99) fill(p, 99)")
add("a compiled loop in a writer", "writer", "read_only", FILL .. "hot(fill, scratch, 99) fill(p, 99)")
add("while a trace is recorded", "task", "read_only",
  "for i = 1, 57 do scratch[i] = i end for i = 0, 100 do (i > 56 and p or scratch)[i % 8] = i end")
add("libc's copy", "task", "read_only", "ffi.copy(p, scratch, 512)")
add("libc's fill", "reader", "read_only", "ffi.fill(p, 512)")
add("libc's fill of a hundred pages", "task", "read_only", "ffi.fill(p, 400000)")
add("a sort's comparator", "task", "read_only", "table.sort({ 3, 1, 2 }, function(a, b) p[0] = 9 return a < b end)")
add("a replacement of gsub", "writer", "read_only", "string.gsub('abc', '.', function() p[0] = 9 end)")
add("a callback of C", "task", "read_only", [[
  S.sort = S.sort or ffi.cast("int (*)(const void *, const void *)", function() S.target[0] = 9 return 0 end)
  S.target = p
  ffi.C.qsort(scratch, 20, 8, S.sort)]])
add("fifty pcalls that rethrow", "task", "read_only", [[
  local function deep(n) if n == 0 then p[0] = 9 return end
    local ok, problem = raw_pcall(deep, n - 1) if not ok then error(problem, 0) end end
  deep(50)]])
add("five coroutines", "task", "read_only", [[
  local function deep(n) if n == 0 then p[0] = 9 return end
    local ok, problem = coroutine.resume(coroutine.create(deep), n - 1) if not ok then error(problem, 0) end end
  deep(5)]])
add("a finalizer", "task", "read_only", [[
  (function() local x = newproxy(true) getmetatable(x).__gc = function() p[0] = 9 end end)() collectgarbage()]])
add("caught, then another", "task", "read_only", "raw_pcall(function() p[0] = 9 end) p[1] = 9")
add("a write to the ids", "reader", "read_only", "ffi.cast('double *', ffi.cast('const void *', S.ids()))[0] = 9")
add("past the end of the world", "task", "stale_view", "p[90000000] = 9")
add("a read past the end of the world", "task", "stale_view", "return p[90000000] + 1")

-- ---- stale ----------------------------------------------------------------------------------------

add("a view", "task", "stale_view", "local kept = take() touch() return kept.x + 1")
add("a view, written", "task", "stale_view", "touch() local kept = p touch() kept[0] = 9")
add("a view in compiled code", "task", "stale_view", [[
  local function sum(v) local s = 0 for _ = 1, 200 do s = s + v.x end return s end
  hot(sum, take()) local kept = take() touch() sum(kept)]])
add("a row of each", "task", "stale_view", "local kept for _, row in q:each() do kept = row end touch() return kept.n + 1")
add("a row of a box", "task", "stale_view", "local kept for _, _, box in q:chunks() do kept = box[0] end touch() return kept.n + 1")
add("a box", "task", "error", "local kept for _, _, box in q:chunks() do kept = box end touch() return kept[0]")
add("a loop of each", "task", "error", "for _ in q:each() do touch() end")
add("a loop of chunks", "task", "error", "for _ in q:chunks() do touch() end")
add("a view of the tick before", "reader", { "stale_view", "done" }, "local kept = S.view S.view = take() if kept then return kept.x + 1 end")
add("a box of the tick before", "reader", { "error", "done" }, [[
  local kept = S.box for _, _, box in q:chunks() do S.box = box end if kept then return kept[0] end]])
add("a row of the tick before, written", "writer", { "stale_view", "done" }, [[
  local kept = S.row for _, row in q:each() do S.row = row end if kept then kept.n = 1 end]])
add("a writer's row, written", "task", { "stale_view", "done" }, "if S.written then S.written.n = 2 end")
add("a writer keeps a row", "writer", "done", "for _, row in q:each() do S.written = row row.n = 1 end")

-- ---- indexes --------------------------------------------------------------------------------------

for _, where in ipairs { "task", "writer" } do
  for _, index in ipairs { "-1", "1e9", "-1e9", "0/0", "1/0", "2^31" } do
    add(("row %s in %s"):format(index, where), where, "error", ("for _, _, box in q:chunks() do return box[%s].n end"):format(index))
    add(("array %s in %s"):format(index, where), where, "error", ("for _, row in q:each() do return row.list[%s] end"):format(index))
  end
  add("array 0 in " .. where, where, "error", "for _, row in q:each() do return row.list[0] end")
  add("an unknown field in " .. where, where, "error", "for _, row in q:each() do return row.nn end")
end
add("an array written past its end", "writer", "error", "for _, row in q:each() do row.list[4] = 1 end")
add("an array written before its start", "writer", "error", "for _, row in q:each() do row.list[0] = 1 end")
add("an array written at NaN", "writer", "error", "for _, row in q:each() do row.list[0/0] = 1 end")
add("a text that is too long", "writer", "error", "for _, row in q:each() do row.label = ('x'):rep(9) end")
add("a text with 1e6 bytes", "task", "error", "cmd:set(e, Victim, { label = ('x'):rep(1e6) })")

-- ---- loops ----------------------------------------------------------------------------------------

everywhere("an empty loop", LONG, "while true do end")
add("a compiled sum", "task", LONG, "local n = 0 while true do n = n + 1 end")
add("an interpreted loop", "task", LONG, "local function loop() while true do end end require('jit').off(loop) loop()")
add("an allocating loop", "task", LONG, "while true do local t = { 1, {} } t[3] = 1 end")
add("a tail call", "task", LONG, "local function f(n) return f(n + 1) end f(1)")
add("calls", "reader", LONG, "local function g(x) return x + 1 end local n = 0 while true do n = g(n) end")
add("an FFI array", "writer", LONG, "while true do for i = 0, 99 do scratch[i] = scratch[i] + 1 end end")
add("a coroutine", "task", LONG, "coroutine.wrap(function() while true do end end)()")
add("one that swallows", "task", LONG, "while true do raw_pcall(function() while true do end end) end")
add("pcall(error)", "task", LONG, "while true do raw_pcall(error, 'x') end")
add("a comparator", "writer", LONG, "table.sort({ 3, 2, 1, 5 }, function() while true do end end)")
add("a replacement", "task", LONG, "string.gsub('aaa', 'a', function() while true do end end)")
add("a finalizer that loops", "task", LONG, [[
  (function() local x = newproxy(true) getmetatable(x).__gc = function() while true do end end end)() collectgarbage()]])
add("a pattern without end", "task", "lost", "string.find(('a'):rep(60), ('a-'):rep(40) .. 'b')")
add("a pattern without end in a writer", "writer", "lost", "string.find(('a'):rep(60), ('a-'):rep(40) .. 'b')")
add("a pattern without end in an observer", "observer", "lost", "string.find(('a'):rep(60), ('a-'):rep(40) .. 'b')")
add("a long sort", "task", LONG, "local t = {} for i = 1, 3e5 do t[i] = (i * 7919) % 100003 end while true do table.sort(t) t[1] = 1e9 end")
add("long strings", "task", { "stopped", "lost", "memory" }, "while true do local s = ('x'):rep(3e6) if #s == 1 then break end end")
add("loading code", "task", LONG, "while true do loadstring('return 1')() end")
add("calls of the core", "task", LONG, "while true do ffi.C.ecs_has(world, e, 1) end")
add("long calls of the core", "task", LONG, "while true do ffi.C.ecs_hash(world) end")
add("records", "task", LONG, "while true do cmd:set(e, Victim, { n = 1 }) end")
add("queries", "reader", LONG, "while true do for _ in q:each() do end end")
add("a call that sleeps", "task", { "stopped", "lost", "done" }, "ffi.C.usleep(60000) local n = 0 while n < 1e9 do n = n + 1 end")
add("operations that nobody awaits", "task", { "error", "never_awaited" }, "while true do require('stator.time').sleep(1) end")

-- ---- memory and depth ------------------------------------------------------------------------------

add("a table that grows", "task", { "memory", "stopped", "lost" }, "local t = {} for i = 1, 1e9 do t[i] = { i } end")
add("a string that grows", "task", { "memory", "stopped", "lost", "error" }, "local s = 'xx' while true do s = s .. s end")
add("a heap that is kept", "task", { "memory", "lost", "stopped" }, "S.keep = {} for i = 1, 1e9 do S.keep[i] = ('%08d'):format(i):rep(1000) end")
add("recursion", "task", { "stack", "error", "stopped", "lost", "memory" }, "local function f(n) return 1 + f(n + 1) end f(1)")
add("recursion in a writer", "writer", { "stack", "error", "stopped", "lost", "memory" }, "local function f(n) return 1 + f(n + 1) end f(1)")
add("recursion through gsub", "task", { "stack", "error", "stopped", "lost" }, "local function f(s) return (string.gsub(s, '.', f)) end f('a')")
add("recursion through sort", "reader", { "stack", "error", "stopped", "lost" },
  "local function f() table.sort({ 1, 2 }, function(a, b) f() return a < b end) end f()")
add("recursion through coroutines", "task", { "stack", "error", "stopped", "lost", "memory" },
  "local function f() return coroutine.wrap(f)() end f()")
add("recursion that swallows", "task", { "done", "stack", "error", "stopped", "lost" },
  "local function f(s) return (string.gsub(s, '.', function(c) raw_pcall(f, c) end)) end f('a')")

return M
