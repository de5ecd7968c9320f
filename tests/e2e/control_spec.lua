-- The control socket of a running host, asked by stator ctl.
local support = require "support"

local MAIN = [[
local stator = require "stator"
local await = stator.await
local Tool = stator.component("Tool", { "bool closed", "double pose[2]", "char label[16]" })
local tool = stator.entity "tool"
stator.system("sys", { every = 0.05, read = { Tool } }, function() end)
stator.task("grip", {}, function()
  stator.within(3000, function()
    await(tool:when(Tool, "closed"))
  end)
end)
stator.task("loop", {}, function() for _ in stator.every(0.02) do end end)]]

local ENTITIES = '[ { "name": "tool", "components": { "Tool": { "label": "x\\"y" } } } ]'

--- Starts a host and waits until its socket is there.
local function start(options)
  local scene, folder = support.scene { scripts = { ["main.lua"] = options.main or MAIN }, entities = options.entities or ENTITIES,
    settings = options.settings or '"name": "demo", "control": "cell.sock"' }
  local host = { folder = folder, scene = scene, socket = options.socket or folder .. "/cell.sock" }
  os.execute(("%s run %s %s > %s/out 2>&1 & echo $! > %s/pid; wait $!; echo $? > %s/code"):format(support.binary, options.words or "",
    scene, folder, folder, folder):gsub("^(.*)$", "( %1 ) < /dev/null > /dev/null 2>&1 &"))
  for _ = 1, 200 do
    local _, code = support.shell(("test -S %s"):format(host.socket))
    if code == 0 then break end
    os.execute "sleep 0.05"
  end
  host.pid = support.read(folder .. "/pid"):match "%d+"
  return host
end

local function ctl(host, words) return support.shell(("%s ctl %s %s 2>&1"):format(support.binary, host.socket, words)) end

--- Waits for the end; answers exit code and log.
local function finish(host)
  for _ = 1, 200 do
    local file = io.open(host.folder .. "/code")
    local code = file and file:read "*n"
    if file then file:close() end
    if code then return code, support.read(host.folder .. "/out") end
    os.execute "sleep 0.05"
  end
  os.execute("kill -9 " .. host.pid)
  error("the host did not end:\n" .. support.read(host.folder .. "/out"))
end

describe("stator ctl", function()
  after_each(support.finish)

  it("L5 shows tasks, systems, status and entities, as tables and as JSON, and stops the host in order", function()
    local host = start {}
    local text, code = ctl(host, "tasks")
    assert.equal(0, code)
    assert.matches("^TASK +AT +STATE +FOR +DEADLINE +OWNER +WAITS FOR\n", text)
    assert.matches("main/grip +main.lua:8 +waiting .-scripts/main +condition Tool.closed of tool", text)
    assert.matches("main/loop +main.lua:11 +waiting", text)
    assert.is_nil(ctl(host, "tasks main/l"):find("grip", 1, true))
    for asked, told in pairs { ["main/lopp"] = ', did you mean "main/loop"?', ["mian/"] = ', did you mean "main/"?', zzzzzzzz = "" } do
      text, code = ctl(host, "tasks " .. asked)
      assert.equal(('stator ctl: there is no task whose name begins with "%s"%s\n'):format(asked, told), text)
      assert.equal(1, code)
    end
    assert.matches('"place":"main.lua:8".*"waits_for":"condition Tool.closed of tool"', (ctl(host, "tasks --json")))
    local status = ctl(host, "status")
    for _, word in ipairs { "name +demo", "ticks +%d+ at 100 Hz", "late +p50", "tasks +4", "entities +5", "faults +0", "revision +1",
      "memory +scripts [%d.]+ [KM]iB, world" } do
      assert.matches(word, status)
    end
    assert.matches("main/sys +read update +50 ms +%d+ +0", (ctl(host, "systems")))
    assert.matches("main/loop main.lua:11 +every +20 ms +%d+", (ctl(host, "systems")))
    assert.matches("scripts/main +Script\ntool +Tool\nworld", (ctl(host, "entities")))
    assert.equal('tool  (id 4294967300)\n  Tool { closed = false, label = "x\\"y", pose = { 0, 0 } }\n', (ctl(host, "entities tool")))
    assert.equal("stopping\n", (ctl(host, "stop")))
    local rc, out = finish(host)
    assert.equal(0, rc)
    assert.matches("stopping: told to on the control socket", out)
    assert.matches("ended in order", out)
    assert.equal(1, select(2, support.shell("test -e " .. host.socket)))
  end)

  it("L5 shows a tree of any depth", function()
    local host = start { main = [[
local stator = require "stator"
local function down(n)
  if n > 0 then stator.spawn(down, n - 1) end
  stator.await(stator.sleep(3000))
end
stator.task("deep", {}, function() down(150) end)]], entities = "[]" }
    local text, code = ctl(host, "tasks")
    assert.equal(0, code)
    assert.equal(152, select(2, text:gsub("\n", "")))
    assert.matches("\n" .. ("  "):rep(150) .. "main/deep", text)
    assert.matches('"depth":150', (ctl(host, "tasks --json")))
    ctl(host, "stop")
    finish(host)
  end)

  it("L5 shows a number that is not finite", function()
    local host = start { main = [[
local stator = require "stator"
local Odd = stator.component("Odd", { "double a", "float b", "double c[2]", "double d" })
local tool = stator.entity "tool"
stator.task("odd", {}, function(cmd)
  cmd:set(tool, Odd, { a = 0 / 0, b = math.huge, c = { 1, -math.huge }, d = 2 })
end)]], settings = '"name": "demo", "control": "cell.sock"', entities = '[ { "name": "tool", "components": { "Odd": {} } } ]' }
    local text
    for _ = 1, 100 do
      text = ctl(host, "entities tool")
      if text:find "d = 2" then break end
      os.execute "sleep 0.05"
    end
    assert.matches("Odd { a = nan, b = inf, c = { 1, %-inf }, d = 2 }", text)
    assert.matches('"Odd":{"a":null,"b":null,"c":%[1,null%],"d":2}', (ctl(host, "entities tool --json")))
    ctl(host, "stop")
    finish(host)
  end)

  it("tells what is wrong: no host, no such entity, unknown words", function()
    local host = start {}
    local text, code = ctl(host, "entities tol")
    assert.equal(1, code)
    assert.equal('stator ctl: there is no entity "tol", did you mean "tool"?\n', text)
    text, code = ctl(host, "taks")
    assert.equal(2, code)
    assert.matches("unknown command taks", text)
    assert.equal(2, select(2, ctl(host, "")))
    assert.equal(2, select(2, ctl(host, "status --fast")))
    ctl(host, "stop")
    finish(host)
    text, code = ctl(host, "status")
    assert.equal(1, code)
    assert.matches("no host listens there", text)
  end)

  it("is off unless asked for; --control names the path; the file is the owner's alone", function()
    local folder = support.folder()
    local host = start { settings = '"name": "demo"', words = "--control " .. folder .. "/own.sock", socket = folder .. "/own.sock" }
    assert.equal("600\n", (support.shell("stat -c %a " .. host.socket)))
    assert.equal(1, select(2, support.shell("test -e " .. host.folder .. "/cell.sock")))
    assert.matches("control socket " .. folder:gsub("%-", "%%-") .. "/own.sock", support.read(host.folder .. "/out"))
    ctl(host, "stop")
    finish(host)
  end)

  it("replaces the socket of a dead host; that of a live one, and another file, are errors", function()
    local host = start {}
    local second, code = support.shell(("%s run %s 2>&1"):format(support.binary, host.scene))
    assert.equal(1, code)
    assert.matches("cell.sock: another host listens there", second)
    assert.equal(0, select(2, ctl(host, "status"))) -- the first one goes on
    os.execute("kill -9 " .. host.pid)
    finish(host)
    assert.equal(0, select(2, support.shell("test -S " .. host.socket))) -- left behind
    os.remove(host.folder .. "/code")
    local _, rc = support.shell(("%s run --ticks 3 %s 2>&1"):format(support.binary, host.scene))
    assert.equal(0, rc)
    support.write(host.socket, "precious")
    local out
    out, rc = support.shell(("%s run --ticks 3 %s 2>&1"):format(support.binary, host.scene))
    assert.equal(1, rc)
    assert.matches("a file that is no socket is there", out)
    assert.equal("precious", support.read(host.socket))
  end)

  it("goes on through garbage, endless requests, silent clients and more of them than there is room for", function()
    local host = start {}
    for seed = 1, 3 do
      local text, code = support.shell(("python3 %s/tests/support/control_fuzz.py %s %d 150 2>&1"):format(support.root, host.socket,
        seed))
      assert.equal("held the line\n", text)
      assert.equal(0, code)
    end
    local text, code = ctl(host, "stop")
    assert.equal("stopping\n", text)
    assert.equal(0, code)
    local rc, out = finish(host)
    assert.equal(0, rc)
    assert.is_nil(out:find("fault", 1, true))
  end)

  it("counts sensors at 100 Hz, control at 20 Hz and actuators at 50 Hz on the real clock", function()
    local host = start { main = [[
local stator = require "stator"
stator.task("sense", {}, function() for _ in stator.every(0.01) do end end)
stator.system("control", { every = 0.05 }, function() end)
stator.async_system("act", { every = 0.02 }, function() end)
stator.component("Tool", { "char label[16]" })
]], words = "--stats --ticks 100" }
    local _, out = finish(host)
    local function counts(line)
      local runs, missed = out:match(line)
      return tonumber(runs), tonumber(missed)
    end
    -- what did not run was missed: together it is the rate, however slow the machine is
    local runs, missed = counts "main/sense main.lua:2 +every +10 ms +(%d+) +%- +(%d+)"
    local act, act_missed = counts "main/act +async update +20 ms +(%d+) +%d+ +(%d+)"
    local control, control_missed = counts "main/control +read update +50 ms +(%d+) +%d+ +(%d+)"
    assert.is_true(runs >= 1 and act >= 1 and control >= 1)
    local total = runs + missed
    assert.is_true(math.abs(total - 2 * (act + act_missed)) <= 4, out)
    assert.is_true(math.abs(total - 5 * (control + control_missed)) <= 10, out)
  end)
end)
