-- The function blocks of IEC 61131-3 against the standard's timing diagrams. A line is a signal, a mark is
-- a scan of 10 ms: "1" true, "." false; ET in tenths of PT, "a" is PT.
local support = require "support"
local run = support.run_task

local SCAN = [[
local function mark(value, pt_s)
  if type(value) == "boolean" then return value and "1" or "." end
  local n = pt_s and math.floor(value / pt_s * 10 + 0.5) + 1
  return pt_s and ("0123456789a"):sub(n, n) or tostring(value)
end
-- prints one line for each output of the block
local function scan(block, pt_s, ...)
  local lines = {}
  for i = 1, #(...) do
    local inputs = {}
    for k = 1, select("#", ...) do inputs[k] = (select(k, ...)):sub(i, i) == "1" end
    for k, value in ipairs { block(unpack(inputs)) } do lines[k] = (lines[k] or "") .. mark(value, pt_s) end
    await(stator.sleep(0.01))
  end
  for _, line in ipairs(lines) do print(line) end
end
]]

local function diagram(body) return (run(SCAN .. body)) end

describe("IEC timers", function()
  after_each(support.finish)

  it("I1 ton: Q once IN has been true for PT, not for a shorter IN; ET holds at PT, and is 0 without IN", function()
    assert.same({
      ".......111............11..",
      "0002468aaa000240002468aa00",
    }, diagram [[ scan(stator.ton(0.05), 0.05,
      "..11111111..111..1111111..") ]])
  end)

  it("I1 tof: Q with IN and for PT after it; a new IN ends the delay; ET holds at PT until IN comes", function()
    assert.same({
      ".11111111..1111111111111..",
      "000002468aa0000240002468aa",
    }, diagram [[ scan(stator.tof(0.05), 0.05,
      ".111.......111...11.......") ]])
  end)

  it("I1 tp: Q for PT from the edge whatever IN does; not triggered again; ET holds at PT while IN is true", function()
    assert.same({
      ".11111.....11111....11111....",
      "0024680000002468aaa002468a000",
    }, diagram [[ scan(stator.tp(0.05), 0.05,
      ".1.........11111111.1.1.11...") ]])
  end)

  it("I1 ton and tp with PT 0, and a PT that changes", function()
    assert.same({ ".11.", "0000", "....", "0000" }, diagram [[
      local ton, tp = stator.ton(0), stator.tp(0)
      scan(ton, 1, ".11.") scan(tp, 1, ".11.")
    ]])
    local said = run [[
      local t = stator.ton(1)
      print(t(true)) await(stator.sleep(0.5)) print(t(true)) print(t(true, 0.5)) print(t.q, t.et_s, t.pt_s)
    ]]
    assert.same({ "false\t0", "false\t0.5", "true\t0.5", "true\t0.5\t0.5" }, said)
  end)

  it("I1 use the time of the step, so a scan sees one time, and long runs are exact", function()
    local said = run [[
      local a, b = stator.ton(0.3), stator.ton(0.3)
      await(stator.sleep(0.4)) a(true) b(true)
      await(stator.sleep(0.3)) -- 0.7 - 0.4 is less than 0.3 in numbers
      print("a", a(true)) print("b", b(true))
    ]]
    assert.same({ "a\ttrue\t0.3", "b\ttrue\t0.3" }, said)
  end)

  it("work in systems, which never wait", function()
    local cell = support.cell {
      main = [[
local stator = require "stator"
local Eye = stator.component("Eye", { "bool blocked", "bool present" })
local debounce = stator.ton(0.05)
stator.system("eye", { write = { Eye } }, function(_, q)
  for _, eye in q:each() do eye.present = debounce(eye.blocked) end
end)
stator.task("t", {}, function(cmd)
  local eye = stator.entity "eye"
  cmd:set(eye, Eye, { blocked = true })
  stator.await(eye:when(Eye, "present"))
  print(("%.2f"):format(stator.now()))
end)]],
      entities = [=[ [ { "name": "eye", "components": { "Eye": {} } } ] ]=],
    }
    cell:advance(0.2)
    assert.same({ "0.06" }, support.said(cell))
  end)
end)

describe("IEC edges and latches", function()
  after_each(support.finish)

  it("I2 r_trig and f_trig: one call for each edge; the first call counts as the standard says", function()
    assert.same({ "..1....1.", "1........" }, diagram [[
      scan(stator.r_trig(), nil, "..1111.11") scan(stator.r_trig(), nil, "111111111") ]])
    assert.same({ "1.....1..", ".......1.", "1........" }, diagram [[
      scan(stator.f_trig(), nil, "..1111.11") scan(stator.f_trig(), nil, "1111111.1") scan(stator.f_trig(), nil, ".........") ]])
  end)

  it("I2 sr and rs: setting or resetting wins", function()
    assert.same({ ".111..1.", ".111...." }, diagram [[
      scan(stator.sr(), nil, ".1....1.", "....1.11") scan(stator.rs(), nil, ".1....1.", "....1.11") ]])
  end)
end)

describe("IEC counters", function()
  after_each(support.finish)

  it("I3 ctu: counts rising edges, Q from PV on, R goes first", function()
    assert.same({ "......111.....", "01122233400001" }, diagram [[
      scan(stator.ctu(3), nil, ".1.11.1.1.11.1", ".........11...") ]])
  end)

  it("I3 ctd: counts down from what LD sets, Q from 0 on", function()
    assert.same({ "...111.", "2110002" }, diagram [[ scan(stator.ctd(2), nil, ".1.1...", "1.....1") ]])
    assert.same({ "true\t-1" }, (run "print(stator.ctd(5)(true))"))
  end)

  it("I3 ctud: R before LD before counting; both edges at once do not count", function()
    assert.same({ "...1111..11", "1.......1..", "01122221022" }, diagram [[
      scan(stator.ctud(2), nil, ".1.1.1.....", ".....1.1...", "........1..", "........11.") ]])
  end)
end)

describe("misuse of IEC blocks", function()
  after_each(support.finish)

  it("names the input and what it got: 0 is no boolean", function()
    local said = run [[
      local ton, ctu, sr = stator.ton(1), stator.ctu(1), stator.sr()
      for i, call in ipairs {
        function() ton(0) end, function() ton() end, function() ton(true, -1) end, function() stator.tp("1") end,
        function() stator.tof(math.huge) end, function() stator.ctu(1.5) end, function() ctu(1) end,
        function() ctu(true, 1) end, function() sr(true) end, function() stator.r_trig()(nil) end,
      } do print(select(2, pcall(call))) end
    ]]
    for i, text in ipairs {
      "main.lua:7: ton: IN is true or false, not 0", "ton: IN is true or false, not nil", "ton: PT is seconds from 0, not %-1",
      'tp: PT is seconds from 0, not "1"', "tof: PT is seconds from 0, not inf", "ctu: PV is a whole number of 32 bits, not 1.5",
      "ctu: CU is true or false, not 1", "ctu: R is true or false, not 1", "sr: R is true or false, not nil",
      "r_trig: CLK is true or false, not nil",
    } do assert.matches(text, said[i]) end
  end)
end)
