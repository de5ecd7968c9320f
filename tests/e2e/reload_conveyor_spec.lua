-- The conveyor of the examples under reloads, against a Modbus server not written here, judged by that server's log.
-- RELOADS=1000 runs as many; each takes some 0.12 s, because the watch waits for files to come to rest.
local process = require "process"
local support = require "support"
local uv = require "luv"

local ASAN = os.getenv "STATOR_PRESET" == "asan"
local ROUNDS = tonumber(os.getenv "RELOADS") or ASAN and 36 or 132
local KINDS = 6 -- of changes, in turn
local SCAN_S, TICK_S = 0.05, 0.01

-- ---- the cell ---------------------------------------------------------------------------------

--- What a round puts at the end of conveyor.lua. Round i: 0 a constant, 1 another system, 2 it goes and a task changes,
--- 3 a field more, 4 a field less, 5 only the module changes.
local function addition(i)
  local kind, constant = i % KINDS, i - i % KINDS
  return ([[

local gauge = require "gauge"
local Mark = stator.component("Mark", { "uint32_t constant", "uint32_t gauge", "uint32_t starts", "uint32_t task"%s })
%s
stator.task("mark", {}, function(cmd)
  cmd:add(belt, Mark, { starts = 1 })
  cmd:set(belt, Mark, { constant = %d, gauge = gauge.version, task = %d })
  await(stator.sleep(1e6))
end)
]]):format(kind == 3 and ', "double extra[8]"' or "",
    kind == 1 and 'stator.system("more", { read = { Mark }, every = 0.02 }, function() end)' or "", constant,
    kind >= 2 and constant + 2 or constant)
end

local function gauge_of(i) return i % KINDS == 5 and i or i - i % KINDS end

--- A folder with the conveyor, its plant a server at a port, and a script that nobody changes.
local function conveyor(port)
  local folder, from = support.folder(), support.root .. "/examples/01_conveyor/"
  local text = support.read(from .. "conveyor.lua")
  local cell = { folder = folder }
  function cell.save(i)
    if i % KINDS ~= 5 or i == 0 then support.write(folder .. "/conveyor.lua", text .. addition(i)) end
    if i % KINDS == 5 or i % KINDS == 0 then
      support.write(folder .. "/gauge.lua", ("return { version = %d }\n"):format(gauge_of(i)))
    end
  end
  support.write(folder .. "/other.lua", [[
local stator = require "stator"
local Beats = stator.component("Beats", { "uint32_t starts", "uint32_t count" })
local belt = stator.entity "belt1"
stator.task("beat", {}, function(cmd)
  cmd:add(belt, Beats, { starts = 1 })
  for _ in stator.every(0.01) do cmd:add(belt, Beats, { count = 1 }) end
end)
]])
  local scene = support.read(from .. "scene.json"):gsub('"host": "[^"]*"', '"host": "127.0.0.1"')
    :gsub('"port": %d+', '"port": ' .. port):gsub('"simulate": "[^"]*",', "")
    :gsub('"heartbeat.lua"', '"heartbeat.lua", "other.lua"'):gsub('"Counter": {}', '"Counter": { "passed": 7, "diverted": 3 }, '
    .. '"Mark": {}, "Beats": {}')
  support.write(folder .. "/scene.json", scene)
  cell.save(0)
  return cell
end

local function start_plant(options)
  local log = support.folder() .. "/server.log"
  local peer = support.start_peer(("/usr/bin/python3 %s/tests/support/peers/pymodbus_server.py --seconds 600 --still --log %s %s"):format(
    support.root, log, options or ""))
  peer.log = log
  return peer
end

-- ---- what the server saw ----------------------------------------------------------------------

--- Times of the polls, and how many connections there were but for the server's own probe.
local function server_log(peer)
  local polls, connections, lost = {}, -1, -1
  for line in io.lines(peer.log) do
    local at = tonumber(line:match "^[%d.]+")
    if line:find("Factory Request[ReadDiscreteInputsRequest", 1, true) then polls[#polls + 1] = at end
    if line:find("connection established", 1, true) then connections = connections + 1 end
    if line:find("client disconnected", 1, true) then lost = lost + 1 end
  end
  return polls, connections, lost
end

--- Gaps between polls from the a-th to the b-th that are longer than the period and a tick.
local function gaps(polls, a, b)
  local count, longest = 0, 0
  for i = a + 1, b do
    local gap = polls[i] - polls[i - 1]
    longest = math.max(longest, gap)
    if gap > SCAN_S + TICK_S then count = count + 1 end
  end
  return count, longest
end

local function rss_kb(pid) return tonumber(support.read(("/proc/%s/status"):format(pid)):match "VmRSS:%s+(%d+)") end

-- ---- the proof --------------------------------------------------------------------------------

describe("the conveyor, reloaded again and again", function()
  local host
  after_each(function()
    if host then host:kill() end
    support.stop_peers()
    support.finish()
  end)

  --- What is to be seen after round i.
  local function assert_round(i)
    local constant = i - i % KINDS
    local mark = host:value("belt1", "Mark")
    assert.same({ constant = constant, gauge = gauge_of(i), starts = i + 1, task = i % KINDS >= 2 and constant + 2 or constant,
      extra = i % KINDS == 3 and { 0, 0, 0, 0, 0, 0, 0, 0 } or nil }, mark)
  end

  local function reload(cell, i)
    cell.save(i)
    local said, code = host:ctl "reload"
    assert.equal(0, code, said)
    assert.matches(("\nrevision %d is in force\n$"):format(i + 1), said)
  end

  it("keeps its one connection, its polls, its values and its memory", function()
    local peer = start_plant()
    local cell = conveyor(peer.port)
    host = process.start(cell.folder .. "/scene.json", "--no-watch --log-level warn")
    local began = uv.hrtime()
    local lua_low, rss_low, lua_high, rss_high = math.huge, math.huge, math.huge, math.huge
    for i = 1, ROUNDS do
      reload(cell, i)
      if i % KINDS == 3 or i > ROUNDS - KINDS then assert_round(i) end
      local part = math.floor(i * 4 / (ROUNDS + 1)) -- 0: to warm up; 1 and 3 are compared
      if part % 2 == 1 then
        local lua, rss = host:status().lua_bytes, rss_kb(host.pid)
        if part == 1 then
          lua_low, rss_low = math.min(lua_low, lua), math.min(rss_low, rss)
        else
          lua_high, rss_high = math.min(lua_high, lua), math.min(rss_high, rss)
        end
      end
    end
    local took_ms = math.ceil((uv.hrtime() - began) / 1e6)
    local status, with_reloads = host:status(), server_log(peer)
    uv.sleep(math.min(took_ms, 5000)) -- the same without reloads
    local later, polls, connections, lost = host:status(), server_log(peer)
    local beats, counter = host:value("belt1", "Beats"), host:value("belt1", "Counter")

    assert.same({ 0, 0, 0 }, { later.faults, later.rejected, later.lost_vms })
    assert.equal(ROUNDS + 1, later.revision)
    assert.same({ passed = 7, diverted = 3 }, counter)
    -- the script that was not touched went on, without a beat lost to anything but a skipped tick
    assert.equal(1, beats.starts)
    assert.is_true(beats.count >= later.ticks - later.skipped_ticks - 5, beats.count .. " beats")
    -- one connection, and no reload that kept a poll or a tick waiting: what the machine does it also does without
    assert.same({ 1, 0, 0, 0 }, { connections, lost, later.links[1].reconnects, later.links[1].errors })
    local waited, longest = gaps(polls, 1, #with_reloads)
    local waited_without, longest_without = gaps(polls, #with_reloads, #polls)
    local said = ("%d gaps in %d polls, the longest %.3f s; without reloads %d in %d, %.3f s; %d ticks skipped, then %d"):format(
      waited, #with_reloads, longest, waited_without, #polls - #with_reloads, longest_without, status.skipped_ticks,
      later.skipped_ticks - status.skipped_ticks)
    if os.getenv "RELOADS" then
      print(("%d reloads in %.1f s: %s; Lua %.2f -> %.2f MB, RSS %.1f -> %.1f MB"):format(ROUNDS, took_ms / 1e3, said, lua_low / 1e6,
        lua_high / 1e6, rss_low / 1e3, rss_high / 1e3))
    end
    local share = #with_reloads / math.max(1, #polls - #with_reloads)
    assert.is_true(waited <= waited_without * 2 * share + ROUNDS / 10, said)
    assert.is_true(status.skipped_ticks <= (later.skipped_ticks - status.skipped_ticks) * 2 * share + ROUNDS / 10, said)
    assert.is_true(lua_high <= lua_low * 1.15 + 2e5, ("Lua's bytes grew from %d to %d"):format(lua_low, lua_high))
    if not ASAN then -- its quarantine grows
      assert.is_true(rss_high <= rss_low * 1.1 + 1024, ("RSS grew from %d to %d kB"):format(rss_low, rss_high))
    end
    local code, log = host:stop()
    assert.equal(0, code, log)
  end)

  --- Kills the server, with what happens then, and gives it back at the same port; how often the link came up.
  local function pull_plug(cell, peer, meanwhile)
    os.execute(("kill -9 %d"):format(peer.pid))
    meanwhile(cell)
    host:wait_for "link plc: lost"
    local again = start_plant("--port " .. peer.port)
    host:wait_for("link plc: up", 2)
    local before = #server_log(again)
    for _ = 1, 1000 do
      if #server_log(again) > before + 3 then break end
      uv.sleep(10)
    end
    assert.is_true(#server_log(again) > before + 3)
    return select(2, server_log(again))
  end

  it("goes through a reload while the plug is pulled, and the link comes back as without one", function()
    for _, meanwhile in ipairs {
      function() end,
      function(cell) reload(cell, 1) end,
      function(cell)
        local done = support.folder() .. "/done"
        cell.save(1)
        os.execute(("( %s ctl %s reload; echo $? > %s.part; mv %s.part %s ) > /dev/null 2>&1 &"):format(support.binary, host.socket, done,
          done, done))
        while not uv.fs_stat(done) do uv.sleep(5) end
        assert.equal("0\n", support.read(done))
      end,
    } do
      local peer = start_plant()
      local cell = conveyor(peer.port)
      host = process.start(cell.folder .. "/scene.json", "--no-watch")
      host:wait_for "link plc: up"
      assert.equal(1, pull_plug(cell, peer, meanwhile))
      local revision = host:status().revision
      assert_round(revision - 1)
      local code, log = host:stop()
      assert.equal(0, code, log)
      support.stop_peers()
    end
  end)
end)
