-- The examples run as their README says, and end in order.
local support = require "support"

describe("example 01_conveyor", function()
  after_each(support.finish)

  it("counts, stops, loses its link, gets it back, and ends in order on SIGINT", function()
    local folder = support.folder()
    os.execute(("%s run %s/examples/01_conveyor/scene.json > %s/out 2>&1 & echo $! > %s/pid"):format(support.binary,
      support.root, folder, folder))
    local pid = support.read(folder .. "/pid"):match("%d+")
    for _ = 1, 200 do
      os.execute("sleep 0.1")
      if support.read(folder .. "/out"):find("1 diverted", 1, true) then break end
    end
    os.execute("kill -INT " .. pid)
    for _ = 1, 50 do
      if os.execute("kill -0 " .. pid .. " 2>/dev/null") ~= 0 then break end
      os.execute("sleep 0.1")
    end
    os.execute("kill -9 " .. pid .. " 2>/dev/null")
    -- order and words, not times; what only a slow machine shows is left out
    local got = {}
    for line in support.read(folder .. "/out"):gmatch("[^\n]+") do
      local text = line:match("^%S+ %S+%s+(.*)$"):gsub("127.0.0.1:%d+", "127.0.0.1:PORT"):gsub("position [%d.]+", "position N")
        :gsub("lost: .*;", "lost: REASON;") -- closed or reset: whichever the kernel tells first
      local shown = not text:find("cancelled after it was sent", 1, true) and not text:find("^status") and not text:find("entities,", 1, true)
      if shown then got[#got + 1] = text end
    end
    assert.equal(support.read(support.root .. "/examples/01_conveyor/expected.txt"), table.concat(got, "\n") .. "\n")
  end)
end)

describe("example 02_machine", function()
  after_each(support.finish)

  it("picks, is stopped and goes on, loses a part and tries again, while its feeder jams once", function()
    local out, code = support.shell(("timeout 20 %s run --virtual --ticks 900 %s/examples/02_machine/scene.json 2>&1"):format(
      support.binary, support.root))
    assert.equal(0, code)
    assert.equal(support.read(support.root .. "/examples/02_machine/expected.txt"), out)
  end)
end)

describe("example 03_commissioning", function()
  local folder, pid
  after_each(function()
    if pid then os.execute(("kill -9 %s 2>/dev/null"):format(pid)) end
    support.finish()
  end)

  local function out() return support.read(folder .. "/out") end

  --- Waits until the log holds a text in what came after `from`. Answers where it ends.
  local function wait_for(text, from)
    for _ = 1, 400 do
      local _, last = out():find(text, from or 1, true)
      if last then return last + 1 end
      os.execute "sleep 0.05"
    end
    error(("no %q after byte %d of:\n%s"):format(text, from or 1, out()), 2)
  end

  local function edit(what, file)
    assert.equal(0, os.execute(("sed -i '%s' %s/%s"):format(what, folder, file or "pick.lua")))
  end

  --- Saves another place to put parts while one is in the gripper, until the reload was seen to wait for it.
  local function move_place(from)
    local mm = 100
    for _ = 1, 10 do
      from = wait_for("is gripped", from)
      edit(("s/^local PLACE_MM = %d/local PLACE_MM = %d/"):format(mm, mm + 1))
      mm = mm + 1
      from = wait_for("is in force", from)
      if out():find("waits for pick/pick: a part is in the gripper", 1, true) then return from, mm end
    end
    error("the reload was never seen to wait:\n" .. out())
  end

  it("is changed while it runs, as it says, and its link never knows", function()
    folder = support.folder()
    support.write(folder .. "/out", "")
    os.execute(("cp %s/examples/03_commissioning/* %s"):format(support.root, folder))
    os.execute(("%s run %s/scene.json >> %s/out 2>&1 & echo $! > %s/pid"):format(support.binary, folder, folder, folder))
    pid = support.read(folder .. "/pid"):match "%d+"
    local from, mm = move_place(1)
    from = wait_for(("is placed at %d mm"):format(mm), from)

    edit "s/{ close = true }/{ clsoe = true }/"
    from = wait_for('Gripper has no field "clsoe", did you mean "close"?\n', from)
    from = wait_for(" goes on\n", from)
    from = wait_for("is placed at", from)
    edit "s/{ clsoe = true }/{ close = true }/"
    from = wait_for("is placed at", from)

    edit 's/{ "uint32_t placed" }/{ "uint32_t placed", "double last_mm" }/'
    from = wait_for("component Tray: changed: +last_mm; 1 entity\n", from)
    from = wait_for("is in force", from)
    assert.is_nil(out():find("begins; 0 parts on the tray", from, true))
    assert.matches("revision %d+ is accepted", (support.shell(("%s ctl %s/cell.sock accept"):format(support.binary, folder))))

    edit 's/^  end -- of the seq/  error "oops" end -- of the seq/'
    from = wait_for("is in force", from)
    from = wait_for("goes back to revision", from)
    from = wait_for("is in force again", from)
    edit 's/  error "oops" end/  end/'
    from = wait_for("is placed at", from)

    edit('s/"speed_mm_s": 200/"speed_mm_s": 400/', "scene.json")
    from = wait_for('the parameter "speed_mm_s" of the script "pick" changes from 200 to 400', from)
    from = wait_for("is placed at", from)

    edit "s/^local PLACE_MM = .*/local PLACE_MM = 90/" -- a plan that is asked for at once does not take the save over
    assert.matches("planned; nothing was done", (support.shell(("%s ctl %s/cell.sock reload --plan"):format(support.binary, folder))))
    wait_for("is placed at 90 mm", from)

    support.shell(("%s ctl %s/cell.sock stop"):format(support.binary, folder))
    wait_for "host: ended"
    local _, ups = out():gsub("link plc: up", "")
    assert.equal(1, ups)
    -- whatever came, a part that was gripped was put down before anything else was done
    local holds
    for line in out():gmatch "[^\n]+" do
      local number, what = line:match "part (%d+) is (%a+)"
      if what == "placed" then assert.equal(holds, number) end
      if what == "gripped" or line:find("begins;", 1, true) then assert.is_nil(holds) end
      if what then holds = what == "gripped" and number or nil end
    end
  end)
end)

describe("an end in order", function()
  after_each(support.finish)

  it("writes the outputs that the scripts' cleanup sets before the link closes", function()
    local cell = support.cell {
      virtual = false,
      main = [[
local stator = require "stator"
local Belt = stator.component("Belt", { "bool run" })
local belt = stator.entity "belt"
stator.task("run", {}, function(cmd)
  stator.defer(function() cmd:set(belt, Belt, { run = false }) end)
  cmd:set(belt, Belt, { run = true })
  stator.await(stator.sleep(1e6))
end)]],
      links = '{ "plc": { "driver": "modbus_tcp", "simulate": "sim.lua", "points": { "belt.Belt.run": "coil 5" } } }',
      entities = [=[ [ { "name": "belt", "components": { "Belt": {} } } ] ]=],
      files = { ["sim.lua"] = [[
local stator = require "stator"
return function(plc)
  stator.defer(function() print("in the end coil 5", plc.coils[5]) end)
  for _ in stator.every(0.001) do
    if plc.coils[5] then print "coil 5 is on" break end
  end
  stator.await(stator.sleep(1e6))
end]] },
    }
    support.wait_for(cell, "coil 5 is on")
    cell:stop "test"
    support.wait_for(cell, "link plc: closed", 3)
    support.wait_for(cell, "in the end coil 5\tfalse", 3)
  end)

  it("names a task that does not end in time, and exits with 1", function()
    local path = support.scene {
      scripts = { ["main.lua"] = [[
local stator = require "stator"
stator.task("stubborn", {}, function()
  stator.defer(function() stator.await(stator.sleep(100)) end, { within = 1000 })
  stator.await(stator.sleep(100))
end)]] },
      settings = '"stop_within_s": 0.3',
    }
    local out, code = support.shell(("timeout 20 %s run --ticks 5 %s 2>&1"):format(support.binary, path))
    assert.equal(1, code)
    assert.matches("error main/stubborn: did not end in time; it waits for sleep %S+ s left since %d", out)
    assert.matches("main.lua:3:", out)
  end)

  it("is a fault with the policy `fault` when a tick comes a period late", function()
    local path = support.scene { settings = '"late": "fault", "tick_hz": 500, "limits": { "slice_ms": 1000 }', scripts = { ["main.lua"] = [[
local stator = require "stator"
local n = 0
stator.system("busy", { every = 0.1 }, function() for i = 1, 3e7 do n = (n + i) % 7 end end)]] } }
    local out, code = support.shell(("timeout 20 %s run --ticks 4000 %s 2>&1"):format(support.binary, path))
    assert.equal(1, code)
    assert.matches("a tick was [%d.]+ ms late %(policy: fault%)\n.*stopping: late tick\n.*not in order", out)
  end)

  it("happens on SIGTERM too", function()
    local path = support.scene { scripts = { ["main.lua"] = [[
local stator = require "stator"
stator.task("t", {}, function()
  stator.defer(function() stator.await(stator.sleep(0.05)) print "cleaned up" end)
  stator.await(stator.sleep(100))
end)]] } }
    local out, code = support.shell(("timeout -s TERM 0.5 %s run %s 2>&1"):format(support.binary, path))
    assert.equal(124, code) -- of timeout: it sent the signal
    assert.matches("stopping: signal\n.*cleaned up\n.*ended in order", out)
  end)
end)

describe("a reader or peer that goes away", function()
  after_each(support.finish)

  it("does not end the cell", function()
    local path = support.scene {
      scripts = { ["main.lua"] = [[
local stator = require "stator"
stator.task("t", {}, function()
  for tick in stator.every(0.01) do stator.log.info("turn %d", tick.n) end
end)]] },
      links = '{ "plc": { "driver": "modbus_tcp", "simulate": "sim.lua" } }',
      files = { ["sim.lua"] = "return function() end" },
    }
    local out = support.folder() .. "/out"
    local pid = support.folder() .. "/pid"
    os.execute(("(%s run %s & echo $! > %s; wait) 2>&1 | tee %s | head -5 > /dev/null &"):format(support.binary, path, pid, out))
    local port
    for _ = 1, 100 do
      os.execute "sleep 0.05"
      local file = io.open(out)
      port = file and file:read("*a"):match("up: 127.0.0.1:(%d+)")
      if file then file:close() end
      if port then
        -- a client that sends many requests and leaves without reading: reset, then a broken pipe
        support.shell(([[/usr/bin/python3 -c "
import socket, time
for _ in range(20):
    s = socket.create_connection(('127.0.0.1', %s))
    s.sendall(b'\\0\\1\\0\\0\\0\\6\\1\\3\\0\\0\\0\\x7d' * 50)
    s.close()
time.sleep(0.3)
" 2>&1]]):format(port))
        break
      end
    end
    assert.is_string(port, "the cell never came up")
    local process = support.read(pid):match("%d+")
    assert.equal(0, os.execute("kill -0 " .. process .. " 2>/dev/null"))
    os.execute("kill -TERM " .. process)
  end)
end)

describe("the command line", function()
  after_each(support.finish)

  it("helps, and names what is wrong", function()
    local out, code = support.shell(support.binary .. " --help")
    assert.equal(0, code)
    assert.matches("stator run SCENE", out)
    assert.matches("not a safety function", out)
    assert.matches("^stator %d+%.%d+%.%d+\n$", (support.shell(support.binary .. " --version")))
    for arguments, text in pairs {
      [""] = "usage:", ["rum x"] = "unknown command rum", ["run"] = "a scene file is missing", ["run a --ticks"] = "a value is missing after %-%-ticks",
      ["run a --ticks x"] = "%-%-ticks expects a number from 1, got x", ["run a --log xml"] = "expects text or json, got xml",
      ["run a --set x"] = "expects KEY=VALUE, got x", ["run a b"] = "one scene at a time", ["run a --nope 1"] = "unknown option %-%-nope",
    } do
      out, code = support.shell(support.binary .. " " .. arguments .. " 2>&1")
      assert.equal(2, code, arguments)
      assert.matches(text, out)
    end
  end)

  it("writes JSON lines", function()
    local path = support.scene { scripts = { ["main.lua"] = [[
local stator = require "stator"
stator.task("t", {}, function() stator.log.warn('a "b" %d', 3) end)]] } }
    local out, code = support.shell(("timeout 20 %s run --virtual --log json --ticks 3 %s"):format(support.binary, path))
    assert.equal(0, code)
    assert.matches('{"time":"1970%-01%-01T00:00:00.%d+Z","level":"warn","source":"main/t","place":"main.lua:2","text":"a \\"b\\" 3"}\n', out)
  end)

  it("gives the same run every time on virtual time", function()
    local path = support.scene {
      scripts = { ["main.lua"] = [[
local stator = require "stator"
local N = stator.component("N", { "double v" })
local q = stator.query { read = { N } }
stator.per_entity("walk", { with = { N } }, function(cmd, me)
  for tick in stator.every(0.01) do
    cmd:add(me, N, { v = tick.n })
    if tick.n == 3 then cmd:spawn { N { v = 1 } } end
    if tick.n == 20 then cmd:despawn(me) end
  end
end)
stator.task("t", {}, function(cmd)
  for i = 1, 20 do cmd:spawn { N { v = i } } end
  stator.await(stator.sleep(0.5))
  local parts = {}
  for e, n in q:each() do parts[#parts + 1] = e .. "=" .. n.v end
  print(table.concat(parts, " "))
end)]] },
      settings = '"limits": { "slice_soft_ms": 60000, "slice_ms": 60000 }', -- the watchdog goes by real time
    }
    local first
    for _ = 1, 5 do
      local out = support.shell(("timeout 20 %s run --virtual --ticks 80 %s"):format(support.binary, path))
      assert.matches("%d=%d", out)
      if not first then first = out end
      assert.equal(first, out)
    end
  end)
end)
