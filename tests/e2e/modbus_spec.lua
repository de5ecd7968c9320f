-- The Modbus client against servers not written here, our server against a client not written here,
-- and devices that misbehave.
local support = require "support"

local start, stop_all = support.start_peer, support.stop_peers

local function cell_for(port, body, options)
  options = options or {}
  return support.cell {
    virtual = false,
    main = ([[
local stator = require "stator"
local await = stator.await
local plc = stator.link "plc"
%s
stator.task("t", {}, function(cmd)
  local Link, up = stator.entity("links/plc"), false
  while not up do await(stator.sleep(0.01)) up = Link:get(L).state == 2 end
%s
end)]]):format("local L = stator.component 'Link'\n" .. (options.before or ""), body),
    links = ('{ "plc": { "driver": "modbus_tcp", "host": "127.0.0.1", "port": %d%s } }'):format(port, options.link or ""),
    entities = options.entities,
  }
end

local EXERCISE = [[
  local c = await(plc:read_coils(0, 20))
  print("coils", c[0], c[1], c[19], c[20])
  local d = await(plc:read_discrete(3, 4))
  print("discrete", d[3], d[4], d[5], d[6])
  local h = await(plc:read_holding(100, 125))
  print("holding", h[100], h[224], h[225])
  local i = await(plc:read_input(7))
  print("input", i[7])
  await(plc:write_coil(2, true)) await(plc:write_coil(3, false))
  await(plc:write_coils(10, { true, true, false, true, true, true, true, true, false, true }))
  c = await(plc:read_coils(0, 20))
  print("written", c[2], c[3], c[10], c[12], c[18], c[19])
  await(plc:write_register(5, 65535)) await(plc:write_register(6, -2))
  await(plc:write_registers(20, { 1, 2, 3 }))
  h = await(plc:read_holding(0, 30))
  print("written", h[5], h[6], h[20], h[21], h[22])
  for _, order in ipairs { "abcd", "cdab", "badc", "dcba" } do
    await(plc:write_value(40, -1.5, { as = "f32", order = order }))
    await(plc:write_value(42, 123456789012345, { as = "i64", order = order }))
    local f = await(plc:read_holding(40, 2, { as = "f32", order = order }))
    local g = await(plc:read_holding(42, 4, { as = "i64", order = order }))
    local raw = await(plc:read_holding(40, 1))
    print(order, f[40], ("%.0f"):format(g[42]), ("%04x"):format(raw[40]))
  end
  local ok, e = stator.try(function() await(plc:read_holding(999, 5)) end)
  print(e.code, e.message)
  print("end")
]]

local EXPECTED = {
  "coils\tfalse\ttrue\ttrue\tnil", "discrete\ttrue\tfalse\tfalse\ttrue", "holding\t200\t448\tnil", "input\t1007",
  "written\ttrue\tfalse\ttrue\tfalse\tfalse\ttrue", "written\t65535\t65534\t1\t2\t3",
  "abcd\t-1.5\t123456789012345\tbfc0", "cdab\t-1.5\t123456789012345\t0000", "badc\t-1.5\t123456789012345\tc0bf",
  "dcba\t-1.5\t123456789012345\t0000", "modbus.illegal_data_address\tlink plc: read_holding 999..1003: the device answered "
    .. "exception 2 (illegal data address)", "end",
}

describe("the Modbus client", function()
  after_each(function() support.finish() stop_all() end)

  it("works with pymodbus", function()
    local peer = start("/usr/bin/python3 " .. support.root .. "/tests/support/peers/pymodbus_server.py")
    local cell = cell_for(peer.port, EXERCISE)
    support.wait_for(cell, "end$")
    assert.same(EXPECTED, support.said(cell))
  end)

  it("works with libmodbus", function()
    local peer = start(support.root .. "/build/" .. (os.getenv("STATOR_PRESET") or "dev") .. "/tests/libmodbus_server")
    local cell = cell_for(peer.port, EXERCISE)
    support.wait_for(cell, "end$")
    assert.same(EXPECTED, support.said(cell))
  end)

  it("keeps points in step with a real server", function()
    local peer = start("/usr/bin/python3 " .. support.root .. "/tests/support/peers/pymodbus_server.py")
    local cell = cell_for(peer.port, [[
      local io = stator.entity "io"
      await(io:when(Io, { word = 1010, bit = true, wide = 1310742 }))
      print("inputs are there")
      cmd:set(io, Io, { out_bit = true, out_word = 77, out_f = 2.5 })
      local c, h
      repeat
        await(stator.sleep(0.01))
        c, h = await(plc:read_coils(8, 1)), await(plc:read_holding(50, 3))
      until c[8] and h[50] == 77 and h[51] == 0x4020
      print(c[8], h[50], ("%04x%04x"):format(h[51], h[52]))
      print("end")
    ]], {
      before = 'local Io = stator.component("Io", { "uint16_t word", "bool bit", "uint32_t wide", "bool out_bit", '
        .. '"uint16_t out_word", "double out_f" })',
      link = ', "scan_s": 0.02, "points": { "io.Io.word": "ir 10", "io.Io.bit": "di 3", "io.Io.wide": "hr 10 u32 in", '
        .. '"io.Io.out_bit": "coil 8", "io.Io.out_word": "hr 50", "io.Io.out_f": "hr 51 f32" }',
      entities = [=[ [ { "name": "io", "components": { "Io": {} } } ] ]=],
    })
    support.wait_for(cell, "end$")
    assert.same({ "inputs are there", "true\t77\t40200000", "end" }, support.said(cell))
  end)

  it("checks limits before anything is sent", function()
    local peer = start("/usr/bin/python3 " .. support.root .. "/tests/support/peers/pymodbus_server.py")
    local cell = cell_for(peer.port, [[
      for _, call in ipairs {
        function() plc:read_holding(0, 126) end, function() plc:read_coils(0, 2001) end, function() plc:read_input(65535, 2) end,
        function() plc:read_holding(-1) end, function() plc:write_registers(0, {}) end, function() plc:write_register(0, 70000) end,
        function() plc:write_coil(0, 1) end, function() plc:read_holdin(0) end, function() plc:read_holding(0, 1, { as = "f33" }) end,
        function() plc:read_holding(0, 2, { timeout = 0 }) end, function() plc:read_holding(0, 1, { as = "f32" }) end,
        function() plc:read_coils(0, 1, { as = "u16" }) end, function() plc:read_holding(0, 2, { as = "f32", order = "x" }) end,
        function() plc.read_holding(0) end,
      } do print(select(2, pcall(call))) end
      print("end")
    ]])
    support.wait_for(cell, "end$")
    local said = support.said(cell)
    local expected = {
      "read_holding: the count is a whole number from 1 to 125, not 126", "from 1 to 2000, not 2001",
      "65535 %+ 2 goes past address 65535", "the address is a whole number from 0 to 65535, not %-1",
      "write_registers: the count is a whole number from 1 to 123, not 0", "a register is a whole number from %-32768 to 65535, not 70000",
      "write_coil: expected true or false, got 1", 'link "plc" %(modbus_tcp%) has no "read_holdin", did you mean "read_holding"',
      'unknown type "f33", did you mean "f32"', "timeout: expected seconds above 0, got 0",
      "read_holding: f32 takes 2 registers, 1 is no multiple of it", 'read_coils: unknown option "as"',
      'read_holding: unknown order "x"', "call it with a colon: plc:read_holding",
    }
    for i, pattern in ipairs(expected) do
      assert.matches(pattern, said[i])
      assert.matches("^main.lua:%d+: ", said[i])
    end
  end)
end)

describe("a device that misbehaves:", function()
  after_each(function() support.finish() stop_all() end)

  local function bad(mode, good) return start(("/usr/bin/python3 %s/tests/support/peers/bad_server.py %s %d"):format(support.root, mode, good or 0)) end

  local TRY = [[
      local ok, e = stator.try(function() return await(plc:read_holding(0, 4, { timeout = %s })) end)
      print(ok, e and e.code or "", e and e.message or "")
      print("end") ]]

  it("slow, within the deadline and past it", function()
    local cell = cell_for(bad("slow").port, TRY:format("2"))
    support.wait_for(cell, "end$")
    assert.equal("true\t\t", support.said(cell)[1])
    cell = cell_for(bad("slow").port, TRY:format("0.1"))
    support.wait_for(cell, "end$")
    assert.equal("false\ttimeout\tlink plc: read_holding 0..3: no reply within 0.1 s", support.said(cell)[1])
  end)

  it("closing in the middle of a reply", function()
    local cell = cell_for(bad("half").port, TRY:format("1"))
    support.wait_for(cell, "end$")
    assert.equal("false\tlink_down\tlink plc: read_holding 0..3: the connection was lost: the other side closed the connection",
      support.said(cell)[1])
    support.wait_for(cell, "link plc: up.*", 5)
  end)

  it("answering garbage", function()
    local cell = cell_for(bad("garbage").port, TRY:format("1"))
    support.wait_for(cell, "end$")
    assert.matches("^false\tlink_down\tlink plc: read_holding 0..3: the connection was lost: not Modbus TCP: protocol id 21584",
      support.said(cell)[1])
  end)

  it("never answering: times out, then makes the connection anew", function()
    local cell = cell_for(bad("mute").port, TRY:format("0.1") .. "\nfor i = 1, 3 do stator.try(function() await(plc:read_input(0)) end) end")
    support.wait_for(cell, "3 requests in a row were not answered", 10)
    assert.equal("false\ttimeout\tlink plc: read_holding 0..3: no reply within 0.1 s", support.said(cell)[1])
    support.wait_for(cell, "lost: 3 requests")
  end)

  it("answering with another transaction id, or a flood of replies", function()
    local cell = cell_for(bad("wrong_id").port, TRY:format("0.1"))
    support.wait_for(cell, "end$")
    assert.matches("^false\ttimeout", support.said(cell)[1])
    cell = cell_for(bad("flood").port, TRY:format("1"))
    support.wait_for(cell, "end$")
    assert.equal("true\t\t", support.said(cell)[1])
  end)

  it("stopped by SIGSTOP: no call of the loop but its wait blocks", function()
    local peer = bad("good", 1e6)
    local path = support.scene {
      scripts = { ["main.lua"] = [[
local stator = require "stator"
local plc = stator.link "plc"
stator.task("t", { restart = { min = 0.01, max = 0.02 } }, function()
  for _ in stator.every(0.01) do stator.await(plc:read_holding(0, 10, { timeout = 0.1 })) end
end)]] },
      links = ('{ "plc": { "driver": "modbus_tcp", "host": "127.0.0.1", "port": %d } }'):format(peer.port),
    }
    local trace = support.folder() .. "/trace"
    os.execute(("(sleep 0.7; kill -STOP %d) > /dev/null 2>&1 &"):format(peer.pid))
    local binary = support.root .. "/build/dev/stator" -- a sanitizer and ptrace do not go together
    local out = support.shell(("timeout 20 strace -f -T -o %s %s run --ticks 150 --log-level debug %s 2>&1"):format(trace, binary, path))
    assert.matches("no reply within 0.1 s", out)
    assert.matches("link plc: read_holding 0..9", out)
    local text = support.read(trace)
    local loop = text:match("^(%d+)")
    local waits, calls, slow, blocked = 0, 0, 0, {}
    for line in text:gmatch("[^\n]+") do
      local pid, call, took = line:match("^(%d+)%s+([%w_]+)%(.*<([%d%.]+)>$")
      if not pid then pid, call, took = line:match("^(%d+)%s+<%.%.%. ([%w_]+) resumed>.*<([%d%.]+)>$") end
      if pid == loop and call == "ppoll" then waits = waits + 1 end
      if pid == loop and waits > 0 and call ~= "ppoll" then -- past the start
        calls = calls + 1
        if tonumber(took) > 0.001 then slow = slow + 1 end
        if tonumber(took) > 0.02 then blocked[#blocked + 1] = line end
      end
    end
    assert.is_true(waits > 100)
    -- a call that waits for the stopped peer would last 100 ms; one in a hundred may be preempted
    assert.same({}, blocked)
    assert.is_true(slow * 100 < calls, slow .. " of " .. calls .. " calls took more than 1 ms")
  end)
end)

describe("the Modbus server", function()
  after_each(function() support.finish() stop_all() end)

  local function server_cell(sim)
    local cell = support.cell {
      virtual = false,
      main = 'local stator = require "stator"',
      links = '{ "plc": { "driver": "modbus_tcp", "simulate": "sim.lua" } }',
      files = { ["sim.lua"] = sim },
    }
    support.wait_for(cell, "link plc: up")
    return cell, tonumber(table.concat(cell:logs(), "\n"):match("up: 127.0.0.1:(%d+)"))
  end

  --- Runs a client while the cell goes on.
  local function client(cell, arguments, port, values)
    local folder = support.folder()
    os.execute(("(mbpoll -m tcp -p %d %s 127.0.0.1 %s > %s/out 2>&1; echo $? > %s/rc) > /dev/null 2>&1 &")
      :format(port, arguments, values or "", folder, folder))
    for _ = 1, 500 do
      cell:advance(0.01)
      local file = io.open(folder .. "/rc")
      local rc = file and file:read("*n")
      if file then file:close() end
      if rc then return support.read(folder .. "/out"), rc end
    end
    error("mbpoll did not end")
  end

  it("answers between ticks: replies do not wait for the next one", function()
    local cell = support.cell {
      virtual = false,
      main = [[
local stator = require "stator"
local plc = stator.link "plc"
stator.task("t", { restart = { min = 0.05, max = 1 } }, function()
  for _ = 1, 200 do stator.await(plc:read_holding(0, 10)) end
  print("end")
  stator.await(stator.sleep(1e6))
end)]],
      links = '{ "plc": { "driver": "modbus_tcp", "simulate": "sim.lua" } }',
      settings = '"tick_hz": 2',
      files = { ["sim.lua"] = "return function() end" },
    }
    support.wait_for(cell, "end$", 20)
    local _, _, _, _, _, ticks = cell:counts()
    assert.is_true(ticks < 20, ticks .. " ticks for 200 requests")
  end)

  it("serves mbpoll, which is libmodbus", function()
    local cell, port = server_cell [[return function(plc)
      for i = 0, 9 do plc.holding[i], plc.input[i], plc.coils[i], plc.discrete[i] = i * 11, i + 500, i % 2 == 0, i == 3 end
      plc.size = 100
    end]]
    local out, rc = client(cell, "-a 1 -0 -r 2 -c 3 -t 4 -1", port)
    assert.equal(0, rc, out)
    assert.matches("%[2%]:%s+22.*%[3%]:%s+33.*%[4%]:%s+44", out)
    out = client(cell, "-a 1 -0 -r 3 -c 2 -t 3 -1", port)
    assert.matches("%[3%]:%s+503.*%[4%]:%s+504", out)
    out = client(cell, "-a 1 -0 -r 0 -c 10 -t 0 -1", port)
    assert.matches("%[0%]:%s+1.*%[1%]:%s+0.*%[8%]:%s+1", out)
    out = client(cell, "-a 1 -0 -r 90 -c 2 -t 0 -1", port) -- never set: off
    assert.matches("%[90%]:%s+0.*%[91%]:%s+0", out)
    out = client(cell, "-a 1 -0 -r 2 -c 3 -t 1 -1", port)
    assert.matches("%[2%]:%s+0.*%[3%]:%s+1.*%[4%]:%s+0", out)
    out, rc = client(cell, "-a 1 -0 -r 50 -t 4", port, "123 456")
    assert.equal(0, rc, out)
    out = client(cell, "-a 1 -0 -r 50 -c 2 -t 4 -1", port)
    assert.matches("%[50%]:%s+123.*%[51%]:%s+456", out)
    out, rc = client(cell, "-a 1 -0 -r 60 -t 0", port, "1 0 1")
    assert.equal(0, rc, out)
    out = client(cell, "-a 1 -0 -r 60 -c 3 -t 0 -1", port)
    assert.matches("%[60%]:%s+1.*%[61%]:%s+0.*%[62%]:%s+1", out)
    out, rc = client(cell, "-a 1 -0 -r 99 -c 2 -t 4 -1", port)
    assert.is_true(rc ~= 0)
    assert.matches("Illegal data address", out)
  end)
end)
