-- Reload as people do it: files saved by editors and tools, the control socket, signals, a host that hangs.
local process = require "process"
local support = require "support"
local uv = require "luv"

local host

--- A cell of one script and its module; the script tells "pair <its version> <that of the module>".
local function cell(options)
  options = options or {}
  local scene, folder = support.scene {
    scripts = { ["main.lua"] = options.main or "" }, settings = options.settings, files = options.files,
    entities = options.entities,
  }
  local self = { folder = folder, scene = scene }
  function self.text(version)
    return ([[
local stator = require "stator"
local m = require "m"
local VERSION = %d
stator.task("tell", {}, function()
  print("pair", VERSION, m.version)
  stator.await(stator.sleep(1e6))
end)
]]):format(version)
  end
  function self.module(version) return ("return { version = %d }\n"):format(version) end
  function self.write(name, text) support.write(folder .. "/" .. name, text) end
  function self.shell(command)
    local out, code = support.shell(("cd %s && { %s; } 2>&1"):format(folder, command))
    assert.equal(0, code, out)
  end
  function self.pair(script, module) return ("^main/tell: pair\t%d\t%d$"):format(script, module) end
  if not options.main then
    self.write("main.lua", self.text(1))
    self.write("m.lua", self.module(1))
  end
  host = process.start(scene, options.words)
  return self
end

local function ended_well()
  local code, log = host:stop()
  assert.equal(0, code, log)
end

local function ctl(words, expected_code, pattern)
  local said, code = host:ctl(words)
  assert.equal(expected_code, code, said)
  if pattern then assert.matches(pattern, said) end
  return said
end

local function after()
  if host then host:kill() end
  host = nil
  support.finish()
end

-- ---- saves ------------------------------------------------------------------------------------

describe("what is saved", function()
  after_each(after)

  it("together is never run as a mix, and is taken up also when it was saved during a reload", function()
    local c = cell()
    host:wait_for(c.pair(1, 1))
    local rounds, seed, apart = os.getenv "STATOR_PRESET" == "asan" and 10 or 40, 7, {}
    local function random(n)
      seed = (seed * 1103515245 + 12345) % 2147483648
      return math.floor(seed / 65536) % n
    end
    for i = 2, rounds do
      local began = uv.hrtime()
      local first, second = "main.lua", "m.lua"
      if random(2) == 0 then first, second = second, first end
      c.write(first, first == "m.lua" and c.module(i) or c.text(i))
      uv.sleep(random(60))
      c.write(second, second == "m.lua" and c.module(i) or c.text(i))
      apart[i] = uv.hrtime() - began > 95e6 -- this machine was too slow: two saves, as it was
      uv.sleep(random(250)) -- the watch waits 100 ms: in many rounds the reload is under way
    end
    host:wait_for(c.pair(rounds, rounds))
    local runs = 0
    for _, line in ipairs(host:lines "^main/tell: pair") do
      local a, b = line:match "pair\t(%d+)\t(%d+)"
      a, b = tonumber(a), tonumber(b)
      runs = runs + 1
      assert.is_true(a == b or math.abs(a - b) == 1 and apart[math.max(a, b)] == true, line)
    end
    assert.is_true(runs > rounds / 5, runs .. " revisions ran")
    ended_well()
  end)

  it("is noticed however it is saved", function()
    local c, version = cell(), 1
    host:wait_for(c.pair(1, 1))
    local function save(how)
      version = version + 1
      how()
      host:wait_for(c.pair(version, 1))
    end
    local function sed() return ("sed 's/VERSION = .*/VERSION = %d/' main.lua"):format(version) end
    save(function() c.shell(("sed -i 's/VERSION = .*/VERSION = %d/' main.lua"):format(version)) end)
    save(function() c.shell(sed() .. " > new && mv new main.lua") end)
    save(function() c.shell(sed() .. " > new && cp new main.lua && rm new") end)
    save(function() c.shell(sed() .. " > new && mv main.lua main.lua~ && mv new main.lua") end) -- a backup first
    save(function() c.shell("cp main.lua new && cat new > main.lua~ && " .. sed() .. " > new && cat new > main.lua") end)
    save(function() -- in two halves, a moment apart
      local text = c.text(version)
      c.write("main.lua", text:sub(1, 70))
      uv.sleep(30)
      c.write("main.lua", text)
    end)
    save(function() c.shell("mkdir other && " .. sed() .. " > other/main.lua && ln -sf other/main.lua main.lua") end)
    save(function() c.shell(sed() .. " > new && mv new other/main.lua") end) -- what a link leads to
    if select(2, support.shell "command -v vim") == 0 then
      for _, options in ipairs { "set backupcopy=yes", "set backupcopy=no writebackup", "set backup backupcopy=auto" } do
        save(function()
          c.shell("rm -f main.lua.tmp && cp --remove-destination \"$(readlink -f main.lua)\" main.lua.tmp && mv main.lua.tmp main.lua")
          c.shell(("vim -es -u NONE -c '%s' -c '%%s/VERSION = .*/VERSION = %d/' -c wq main.lua < /dev/null > /dev/null || true"):format(options,
            version))
        end)
      end
    end
    assert.equal(version, host:status().revision)
    ended_well()
  end)

  it("half is refused, and what ran goes on; a module that goes comes back", function()
    local c = cell()
    host:wait_for(c.pair(1, 1))
    c.write("main.lua", c.text(2):sub(1, 70))
    assert.matches("^reload: main.lua:%d+: ", host:wait_for "^reload: main.lua:")
    host:wait_for "^reload: saved: 1 problem; revision 1 goes on$"
    assert.equal(1, host:status().revision)
    c.write("main.lua", c.text(2))
    host:wait_for(c.pair(2, 1))
    os.remove(c.folder .. "/m.lua")
    host:wait_for("goes on$", 2)
    assert.matches("m.lua: ", table.concat(host:lines "^reload: ", "\n"))
    assert.equal(2, host:status().revision)
    c.write("m.lua", c.module(1))
    ctl("reload", 0, "^nothing has changed\n$")
    c.write("m.lua", c.module(3))
    host:wait_for(c.pair(2, 3))
    c.write("scene.json", '{ "scripts": [ "main.lua" ')
    host:wait_for("goes on$", 3)
    assert.matches("scene.json", table.concat(host:lines "^reload: .*scene.json", "\n"))
    assert.equal(3, host:status().revision)
    c.write("scene.json", '{ "scripts": ["main.lua"] }')
    ctl("reload", 0, "^nothing has changed\n$")
    assert.equal(0, host:status().faults)
    ended_well()
  end)

  it("is left alone with --no-watch, until somebody asks, by SIGHUP too", function()
    local c = cell { words = "--no-watch" }
    host:wait_for(c.pair(1, 1))
    c.write("main.lua", c.text(2))
    uv.sleep(600) -- a watch would have seen it
    assert.equal(1, #host:lines "pair")
    ctl("reload", 0, "revision 2 is in force\n$")
    host:wait_for(c.pair(2, 1))
    c.write("main.lua", c.text(3))
    os.execute("kill -HUP " .. host.pid)
    host:wait_for(c.pair(3, 1))
    assert.matches("^reload: revision 3, SIGHUP: main", host:wait_for "^reload: revision 3, ")
    ended_well()
  end)
end)

-- ---- asking -----------------------------------------------------------------------------------

describe("stator ctl", function()
  after_each(after)

  it("plans without doing, reloads, accepts and reverts, and says so by its exit code", function()
    local c = cell { words = "--no-watch" }
    host:wait_for(c.pair(1, 1))
    ctl("reload", 0, "^nothing has changed\n$")
    ctl("reload --plan", 0, "^nothing has changed\n$")
    ctl("accept", 0, "^there is nothing to accept\n$")
    ctl("revert", 1, "^stator ctl: there is no revision to go back to\n$")
    ctl("reload --plam", 1, 'unknown option %-%-plam, did you mean "%-%-plan"')
    ctl("reload --drop", 1, "%-%-drop expects the name of a component")

    c.write("main.lua", c.text(2) .. 'stator.task("two", {}, function() end)\n')
    for _ = 1, 2 do
      local planned = ctl("reload --plan", 0, "^revision 2, control socket: main %(main.lua changed%)\n")
      assert.matches("\n  added: task main/two\n  replaced: task main/tell\n  cancels main/tell[^\n]*sleep[^\n]*\n", planned)
      assert.matches("\n  pause: about [%d.]+ ms\nplanned; nothing was done\n$", planned)
    end
    assert.equal(1, host:status().revision)
    assert.equal(1, #host:lines "pair")
    ctl("reload", 0, "revision 2 is in force\n$")
    host:wait_for(c.pair(2, 1))
    assert.matches("revision +2, on probation for [%d.]+ s more: 0 faults, could go back to 1", ctl("status", 0))
    ctl("revert", 0, "^revision 1 is in force again\n$")
    host:wait_for(c.pair(1, 1), 2)
    assert.equal("idle", host:status().reload.state)

    c.write("main.lua", c.text(3))
    ctl("reload", 0, "revision 3 is in force\n$")
    ctl("accept", 0, "^revision 3 is accepted\n$")
    ctl("revert", 1, "no revision to go back to")
    c.write("main.lua", "return = 4\n")
    ctl("reload --plan", 1, "^stator ctl: main.lua:1: ")
    local said = ctl("reload", 1, "^stator ctl: main.lua:1: ")
    assert.is_nil(said:find("in force", 1, true))
    c.write("main.lua", c.text(5):gsub("local VERSION", "error 'no' local VERSION"))
    ctl("reload", 1, "^stator ctl: main.lua:3: no")
    assert.equal(3, host:status().revision)
    c.write("main.lua", c.text(6))
    assert.matches('"ok":true', ctl("reload --json", 0))
    host:wait_for(c.pair(6, 1))
    ended_well()
  end)

  it("waits for a motion, and goes over it when it is forced", function()
    local main = [[
local stator = require "stator"
stator.task("move", {}, function()
  stator.scope(function()
    stator.no_reload "part in the gripper"
    stator.defer(function() print "put down" end)
    print "moves %d"
    stator.await(stator.sleep(1e6))
  end)
end)]]
    local c = cell { words = "--no-watch", main = main:gsub("%%d", "1") }
    host:wait_for "moves 1"
    c.write("main.lua", (main:gsub("%%d", "2")))
    ctl("reload --plan", 0, "nothing was done")
    ctl("reload", 0, "waiting: main/move: part in the gripper") -- after a while it says how far it is
    assert.equal("waiting", host:status().reload.state)
    assert.equal(0, #host:lines "put down")
    ctl("reload --force", 0, "revision 2 is in force\n$")
    host:wait_for "moves 2"
    assert.equal(1, #host:lines "put down")
    ended_well()
  end)

  it("says that the scene has reload locked, and still plans", function()
    local c = cell { settings = '"reload": { "lock": true }' }
    host:wait_for(c.pair(1, 1))
    c.write("main.lua", c.text(2))
    host:wait_for "^reload: saved: the scene has reload locked"
    ctl("reload", 1, "^stator ctl: the scene has reload locked\n$")
    ctl("reload --force", 1, "the scene has reload locked")
    ctl("reload --plan", 0, "main %(main.lua changed%).*nothing was done")
    assert.equal(1, host:status().revision)
    assert.equal(1, #host:lines "pair")
    ended_well()
  end)

  it("asks before values of a component are dropped", function()
    local main = [[
local stator = require "stator"
local Tool = stator.component("%s", { "double x" })
stator.task("t", {}, function(cmd)
  cmd:insert(stator.entity "t", Tool, { x = 1 })
  stator.await(cmd:commit())
  print "carries it"
end)]]
    local c = cell { words = "--no-watch", main = main:format "Tool", entities = '[ { "name": "t", "components": {} } ]' }
    host:wait_for "carries it"
    c.write("main.lua", main:format "Tools")
    local refused = "component Tool is declared nowhere any more, but 1 entities carry it: declare it, or reload with %-%-drop Tool"
    ctl("reload --plan", 1, "  refused: " .. refused)
    ctl("reload", 1, refused)
    ctl("reload --drop Tools", 1, refused)
    assert.equal(1, host:status().revision)
    ctl("reload --drop Tool", 0, "revision 2 is in force\n$")
    host:wait_for("carries it", 2)
    assert.matches("\n  Tools { x = 1 }\n$", ctl("entities t", 0))
    ended_well()
  end)
end)

-- ---- probation --------------------------------------------------------------------------------

describe("a revision on probation", function()
  after_each(after)

  local function main(version, body)
    return ([[
local stator = require "stator"
stator.task("tell", {}, function() print("runs", %d) stator.await(stator.sleep(1e6)) end)
%s]]):format(version, body)
  end

  it("goes back by itself when it faults too often", function()
    local c = cell { words = "--no-watch", main = main(1, "") }
    c.write("main.lua", main(2, 'stator.task("bad", { restart = { min = 0.02, max = 0.02 } }, function() error "broken" end)'))
    ctl("reload", 0, "revision 2 is in force\n$")
    host:wait_for "^reload: revision 1 is in force again$"
    host:wait_for("^main/tell: runs\t1$", 2)
    local status = host:status()
    assert.same({ 1, "idle" }, { status.revision, status.reload.state })
    local faults = status.faults
    uv.sleep(200)
    assert.equal(faults, host:status().faults)
    host:stop()
  end)

  for what, body in pairs {
    ["task"] = 'stator.task("hang", {}, function() pcall(string.rep, "x") local s = ("a"):rep(30) s:find(("a*"):rep(20) .. "b") end)',
    ["system"] = 'stator.system("hang", {}, function() local s = ("a"):rep(30) s:find(("a*"):rep(20) .. "b") end)',
  } do
    it(("whose VM is lost in a %s that hangs goes back by itself"):format(what), function()
      local c = cell { words = "--no-watch", main = main(1, "") }
      c.write("main.lua", main(2, body))
      local said, code = host:ctl "reload"
      if code == 0 then -- it was told before the first tick
        assert.matches("revision 2 is in force\n$", said)
      else
        assert.equal("stator ctl: the scripts' VM was lost before there was an answer; the log says what came of it\n", said)
      end
      host:wait_for "the scripts' VM is given up"
      host:wait_for "^reload: revision 1 is in force again$"
      host:wait_for("^main/tell: runs\t1$", 2)
      uv.sleep(200) -- what was asked for is not done once more
      assert.same({ 1, 1 }, { host:status().revision, host:status().lost_vms })
      -- what is saved now is taken as ever
      c.write("main.lua", main(3, ""))
      ctl("reload", 0, "is in force\n$")
      host:wait_for "^main/tell: runs\t3$"
      host:stop()
    end)
  end
end)
