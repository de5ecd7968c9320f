-- The tables of peers that are programs of their own: echo work, a device's reply to the value in the
-- world, and what goes wrong (behaviour.lua). Loaded by bench.lua. What a peer prints and asks: peers.h, device.h; the programs: peers/.
-- luacheck: globals bench_self bench_peer_start bench_peer_pause bench_peer_stop bench_peer_echo
-- luacheck: globals bench_peer_replies bench_peer_cpu
local self = bench_self
local start, pause, stop, play = bench_peer_start, bench_peer_pause, bench_peer_stop, bench_peer_echo
local replies, cpu_of = bench_peer_replies, bench_peer_cpu

local ROUNDS = 3
local CONNECTIONS, WARM_UP_S = 32, 0.2

local M = { SECONDS = 1, REPLIES = 600, NAMES = { "luv", "node", "tokio", "bevy_async", "behaviour" } }

-- self: words for this program; cell: the react of a cell in it; peer: another program, with words of ours
local ECHO = {
  { title = "bare libuv in C", self = "echo-libuv" },
  { title = "stator", cell = "immediate" },
  { title = "plain luv in LuaJIT", peer = "luv" },
  { title = "Node.js", peer = "node" },
  { title = "tokio, current-thread", peer = "tokio", words = "current" },
  { title = "tokio, multi-thread", peer = "tokio", words = "multi" },
}
local REPLY = {
  { title = "stator, react = immediate, ticks at 60 Hz", cell = "immediate" },
  { title = "stator, react = tick, 60 Hz", cell = "tick" },
  { title = "bevy-tokio-tasks, 60 Hz", peer = "bevy_async", words = "tokio_tasks 60hz" },
  { title = "bevy-tokio-tasks, free-running", peer = "bevy_async", words = "tokio_tasks free" },
  { title = "bevy-async-ecs, 60 Hz", peer = "bevy_async", words = "async_ecs 60hz" },
  { title = "bevy-async-ecs, free-running", peer = "bevy_async", words = "async_ecs free" },
}
local ECHO_FIELDS = { "value", "user_ns", "cpu_ns", "over_value", "over_user", "over_cpu" }
local REPLY_FIELDS = { "value", "p99_us", "cpu_us", "cpu_percent", "over_value", "over_p99", "over_cpu" }

--- The command of a row's program; nil and why there is none.
local function command_of(spec, script, folder, chosen)
  if spec.self then return self() .. " " .. spec.self end
  if spec.cell then
    return ("%s %speers/cell/%s.json %speers/cell/%s.lua"):format(self(), folder, spec.cell, folder, script)
  end
  local program = chosen.peer[spec.peer]
  if not program then return nil, chosen.nopeer[spec.peer] or "no program was given" end
  return spec.words and program .. " " .. spec.words or program
end

local function cell(format, value) return value and format:format(value) or "-" end

local function print_row(line, r, ...)
  io.stdout:write((line:format(r.title, ...):gsub(" +$", "")), r.reason and "  " .. r.reason or "", "\n")
  io.stdout:flush()
end

--- Nothing of it is nothing to compare with: a short sample may have no user time.
local function over(stator, other) return stator and other and other > 0 and stator / other or nil end

-- ---- echo -------------------------------------------------------------------------------------

local function echo_open(folder, chosen)
  local rows = {}
  for i, spec in ipairs(ECHO) do
    local r = {
      name = "echo: " .. spec.title, title = spec.title, unit = "1/s", target = "", fields = ECHO_FIELDS,
      messages = 0, user = 0, cpu = 0, samples = {},
    }
    rows[i] = r
    local command, why = command_of(spec, "echo", folder, chosen)
    if command then r.pid, why = start(command) end
    r.port = r.pid and tonumber(why)
    if r.port then
      pause(r.pid, true)
    else
      r.reason = r.pid and "it printed no port" or why
    end
  end
  return rows
end

--- Messages, user ns and CPU ns of one sample.
local function echo_sample(r, seconds)
  local before = cpu_of(r.pid)
  pause(r.pid, false)
  local messages, user = play(r.pid, r.port, CONNECTIONS, seconds)
  pause(r.pid, true)
  return messages, user, cpu_of(r.pid) - before
end

local function echo_round(rows, seconds, counts)
  for _, r in ipairs(rows) do
    if not r.reason then
      local messages, user, cpu = echo_sample(r, seconds)
      if messages <= 0 then
        r.reason = "it does not echo"
      elseif counts then
        r.messages, r.user, r.cpu = r.messages + messages, r.user + user, r.cpu + cpu
        r.samples[#r.samples + 1] = messages / seconds
      end
    end
  end
end

local function echo_figures(bench, rows)
  local stator = rows[2]
  for _, r in ipairs(rows) do
    if not r.reason then
      r.value, r.user_ns, r.cpu_ns = bench.median(r.samples), r.user / r.messages, r.cpu / r.messages
    end
  end
  for _, r in ipairs(rows) do
    r.over_value, r.over_user = over(stator.value, r.value), over(stator.user_ns, r.user_ns)
    r.over_cpu = over(stator.cpu_ns, r.cpu_ns)
  end
end

local function echo_rows(bench, folder, chosen)
  local line = "%-42s %11s %13s %12s %8s %8s %8s"
  print_row("\n" .. line, { title = ("echo, %d connections, 64 bytes"):format(CONNECTIONS) }, "messages/s",
    "user ns each", "CPU ns each", "to rate", "to user", "to CPU")
  local rows, seconds = echo_open(folder, chosen), chosen.seconds or M.SECONDS
  echo_round(rows, math.min(WARM_UP_S, seconds), false)
  for _ = 1, ROUNDS do echo_round(rows, seconds, true) end
  echo_figures(bench, rows)
  for _, r in ipairs(rows) do
    if r.pid then stop(r.pid) end
    print_row(line, r, cell("%.0f", r.value), cell("%.0f", r.user_ns), cell("%.0f", r.cpu_ns), cell("%.2fx", r.over_value),
      cell("%.2fx", r.over_user), cell("%.2fx", r.over_cpu))
  end
  return rows
end

-- ---- reply to world ---------------------------------------------------------------------------

local function reply_open(folder, chosen)
  local rows = {}
  for i, spec in ipairs(REPLY) do
    local r = {
      name = "reply to world: " .. spec.title, title = spec.title, unit = "us", target = "", fields = REPLY_FIELDS,
      took = {}, cpu = 0, wall = 0,
    }
    r.command, r.reason = command_of(spec, "reply", folder, chosen)
    rows[i] = r
  end
  return rows
end

local function reply_sample(r, count, first)
  local took, cpu, wall = replies(r.command, count, first)
  if not took then
    r.reason = cpu
    return
  end
  for _, ns in ipairs(took) do r.took[#r.took + 1] = ns end
  r.cpu, r.wall = r.cpu + cpu, r.wall + wall
end

local function reply_figures(r)
  local n = #r.took
  table.sort(r.took)
  r.value, r.p99_us = r.took[math.floor(n / 2) + 1] / 1e3, r.took[math.floor(n * 0.99) + 1] / 1e3
  r.cpu_us, r.cpu_percent = r.cpu / n / 1e3, r.cpu / r.wall * 100
end

local function reply_rows(folder, chosen)
  local line = "%-42s %11s %13s %12s %8s %8s %8s %8s"
  print_row("\n" .. line, { title = "a device's reply to the value in the world" }, "p50 us", "p99 us", "CPU us each",
    "CPU", "to p50", "to p99", "to CPU")
  local rows, count = reply_open(folder, chosen), math.ceil((chosen.replies or M.REPLIES) / ROUNDS)
  for round = 1, ROUNDS do
    for _, r in ipairs(rows) do
      if not r.reason then reply_sample(r, count, (round - 1) * count) end
    end
  end
  for _, r in ipairs(rows) do
    if not r.reason then reply_figures(r) end
    r.over_value, r.over_p99 = over(rows[1].value, r.value), over(rows[1].p99_us, r.p99_us)
    r.over_cpu = over(rows[1].cpu_us, r.cpu_us)
    print_row(line, r, cell("%.1f", r.value), cell("%.1f", r.p99_us), cell("%.1f", r.cpu_us), cell("%.1f %%", r.cpu_percent),
      cell("%.4fx", r.over_value), cell("%.4fx", r.over_p99), cell("%.4fx", r.over_cpu))
  end
  return rows
end

--- Measures and prints the tables; `bench` has median. Returns their rows; one that could not be measured has a
--- `reason`. `chosen`: `peer` and `nopeer`, by name a command or why there is none; `seconds` of an echo sample;
--- `replies` in all of each system.
function M.run(bench, folder, chosen)
  local rows = echo_rows(bench, folder, chosen)
  for _, r in ipairs(reply_rows(folder, chosen)) do rows[#rows + 1] = r end
  for _, r in ipairs(assert(loadfile(folder .. "behaviour.lua"))().run(chosen)) do rows[#rows + 1] = r end
  return rows
end

return M
