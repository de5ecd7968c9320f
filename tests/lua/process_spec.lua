-- Processes and signals, in real time: a process knows no other.
local ordinals = require "io_ordinals"
local support = require "support"

-- .@ in a body and in what is looked for: a word of this run's own, for others may run beside it
local PID = support.shell("echo $PPID"):match "%d+"
local function own(text) return (text:gsub("%.@", "." .. PID)) end

local function task(body)
  return own(([[
local stator = require "stator"
local await = stator.await
stator.task("t", { restart = "never" }, function(cmd)
%s
print "END"
end)]]):format(body))
end

local function run(body, options)
  options = options or {}
  local cell = support.cell { main = task(body), virtual = false, files = options.files, patience = options.patience }
  support.wait_for(cell, "END", options.seconds or 20)
  local said = support.said(cell)
  said[#said] = nil
  assert.same({}, support.faults(cell))
  return said, cell
end

--- Processes whose arguments hold a word; none is left, not even as a zombie.
local function left(word)
  local out = support.shell("ps -eo stat=,args= | grep -F '" .. own(word) .. "' | grep -vc grep")
  return tonumber((out:gsub("%s", "")))
end

local function zombies()
  local out = support.shell(("ps -o stat= --ppid %s | grep -c Z"):format(PID))
  return tonumber((out:gsub("%s", "")))
end

describe("stator.process", function()
  after_each(function()
    support.finish()
    assert.equal(0, zombies())
  end)

  it("Y6: answers code and both outputs, and gives the text to standard input", function()
    assert.same({ "3\tnil\thello\terr", "0\tnil\t\t", "nil\tSIGUSR1\t\t" }, run [[
      local r = await(stator.process.run { "sh", "-c", "cat; printf err >&2; exit 3", stdin = "hello" })
      print(r.code, r.signal, r.stdout, r.stderr)
      r = await(stator.process.run { "cat" }) -- without a text, standard input is empty
      print(r.code, r.signal, r.stdout, r.stderr)
      r = await(stator.process.run { "sh", "-c", "kill -USR1 $$" })
      print(r.code, r.signal, r.stdout, r.stderr)]])
  end)

  it("Y6: passes words as they are: there is no shell", function()
    assert.same({ "[$HOME;ls | *][ ][][7]" }, run [[
      print(await(stator.process.run { "printf", "[%s]", "$HOME;ls | *", " ", "", 7 }).stdout)]])
  end)

  it("sets folder and environment", function()
    local said = run([[
      print(await(stator.process.run { "cat", "here.txt" }).stdout)
      print(await(stator.process.run { "pwd", cwd = "/" }).stdout)
      print(await(stator.process.run { "sh", "-c", "echo $A-$HOME-${PATH:+path}", env = { A = "a b", HOME = false } })
        .stdout)]], { files = { ["here.txt"] = "beside the scene" } })
    assert.same({ "beside the scene", "/\n", "a b--path\n" }, said)
  end)

  it("moves large texts through both ends at once", function()
    assert.same({ "true" }, run [[
      local text = ("0123456789"):rep(100000)
      print(await(stator.process.run { "cat", stdin = text, limit = 2000000 }).stdout == text)]])
  end)

  it("does not mind a process that does not read its input", function()
    assert.same({ "0" }, run [[
      print(await(stator.process.run { "true", stdin = ("x"):rep(1000000) }).code)]])
  end)

  it("Y7: ends one that says too much, with code limit", function()
    assert.same({ "limit\tyes: more than 1000 bytes of output (limit)" }, run [[
      local _, e = stator.try(await, stator.process.run { "yes", "1357.@", limit = 1000 })
      print(e.code, e.message)]])
    support.finish()
    assert.equal(0, left "1357.@")
  end)

  it("Y7: ends one that takes too long, with code timeout", function()
    local said = run [[
      local _, e = stator.try(await, stator.process.run { "sleep", "1234.@", within = 0.05 })
      print(e.code, e.message)
      _, e = stator.try(stator.within, 0.05, await, stator.process.run { "sleep", "1234.@" })
      print(e.code)]]
    assert.same({ "timeout\tprocess: not done within 0.05 s", "timeout" }, said)
    support.finish()
    assert.equal(0, left "1234.@")
  end)

  it("Y7: kills one that ignores SIGTERM, with all that it has started", function()
    local said = run [[
      local _, e = stator.try(await, stator.process.run {
        "sh", "-c", "trap '' TERM; sh -c \"trap '' TERM; sleep 2345.@\"; sleep 2345.@", within = 0.1 })
      print(e.code)]]
    assert.same({ "timeout" }, said)
    support.finish()
    assert.equal(0, left "2345.@")
  end)

  it("Y7: kills what a process leaves running behind it, and does not wait for it", function()
    assert.same({ "hi\n" }, run [[
      print(await(stator.process.run { "sh", "-c", "sleep 3456.@ & echo hi", within = 10 }).stdout)]])
    support.finish()
    assert.equal(0, left "3456.@")
  end)

  it("does not wait for long for one that left the group and holds the output open", function()
    assert.same({ "hi" }, run [[
      print(await(stator.process.run { "sh", "-c", "setsid sleep 4 & printf hi; sleep 0.2", within = 10 }).stdout)]])
  end)

  it("tells a program or folder that is not there", function()
    local said = run [[
      local _, e = stator.try(await, stator.process.run { "no-such-program-here" })
      print(e.code, e.message)
      _, e = stator.try(await, stator.process.run { "true", cwd = "/no/such/folder" })
      print(e.code, e.message)
      _, e = stator.try(await, stator.process.run { "/etc/passwd" })
      print(e.code)]]
    assert.same({ "not_found\tno-such-program-here: no such file or directory",
      "not_found\t/no/such/folder: no such file or directory", "denied" }, said)
  end)

  it("refuses misuse at the script's line", function()
    local said = run [[
      for _, command in ipairs { "ls", {}, { "" }, { "a\0b" }, { "ls", true }, { "ls", stdinn = "" }, { "ls", env = { ["a=b"] = "" } },
          { "ls", within = -1 } } do
        local _, e = pcall(stator.process.run, command)
        print(e)
      end]]
    assert.matches('main.lua:%d+: process.run: expected { "command"', said[1])
    assert.matches("expected a command and at most 255 arguments", said[2])
    assert.matches("word 1: expected a text", said[3])
    assert.matches("word 1: expected a text without zero bytes", said[4])
    assert.matches("word 2: expected a text", said[5])
    assert.matches('unknown option "stdinn", did you mean "stdin"', said[6])
    assert.matches("env: expected a name without =", said[7])
    assert.matches("within: expected a number", said[8])
  end)

  it("runs a bounded number at once; the others wait for their turn", function()
    assert.same({ "40\ttrue" }, run([[
      local list = {}
      for i = 1, 40 do
        list[i] = stator.process.run { "sh", "-c", "mkdir r; echo r/* > /dev/null; : > r/$$; ls r | wc -l; rm r/$$" }
      end
      local most, done = 0, 0
      for _, r in ipairs { await(stator.all(list)) } do
        done = done + 1
        most = math.max(most, tonumber(r.stdout))
      end
      print(done, most <= 16)]]))
  end)

  it("the host's end kills and reaps what still runs", function()
    local cell = support.cell { main = task [[
      await(stator.process.run { "sh", "-c", "trap '' TERM; while :; do sleep 0.01; done; : 4567.@" })]], virtual = false }
    cell:advance(0.2)
    assert.equal(1, left "4567.@")
    cell:close()
    assert.equal(0, left "4567.@")
  end)

  it("the VM that is lost takes its processes with it", function()
    local cell = support.cell { main = own [[
      local stator = require "stator"
      stator.task("runs", { restart = "never" }, function()
        stator.await(stator.process.run { "sleep", "5678.@" })
      end)
      stator.task("loses", { restart = "never" }, function()
        stator.await(stator.sleep(0.1));
        ("x"):rep(60):find(("x*"):rep(40) .. "y")
      end)]], virtual = false, patience = 1 }
    support.wait_for(cell, "VM is given up", 20)
    support.finish()
    assert.equal(0, left "5678.@")
  end)

  it("survives failure, cancel, time-out and despawn at every await", function()
    local awaits = ordinals.check { run = own [[
        step(stator.process.run { "echo", "6789.@" })
        step(stator.all { stator.process.run { "sleep", "0.02" }, stator.process.run { "cat", stdin = "x" } })
        step(stator.race { stator.process.run { "sleep", "6789.@" }, stator.process.run { "true" } })]],
      check = function() end }
    assert.equal(3, awaits)
    assert.equal(0, left "6789.@")
  end)
end)

describe("stator.signal", function()
  after_each(support.finish)

  local function signal(name) support.shell(("kill -%s %s"):format(name, PID)) end

  it("Y8: wakes all who wait for it, in order, and is dropped when nobody does", function()
    local cell = support.cell { virtual = false, main = [[
      local stator = require "stator"
      for i = 1, 3 do
        stator.task("t" .. i, {}, function()
          print(i, stator.await(stator.signal "SIGUSR1"))
          if i < 3 then return end
          stator.await(stator.sleep(0.2))
          print "waits"
          print("again", stator.await(stator.signal "SIGUSR1"))
        end)
      end
      stator.task("other", {}, function() print(stator.await(stator.signal "SIGUSR2")) end)]] }
    cell:advance(0.05)
    signal "USR1"
    support.wait_for(cell, "3.SIGUSR1")
    signal "USR1" -- nobody waits: dropped, and the process lives on
    support.wait_for(cell, "waits")
    assert.is_falsy(table.concat(cell:logs(), "\n"):find "again")
    signal "USR1"
    support.wait_for(cell, "again")
    signal "USR2"
    support.wait_for(cell, "SIGUSR2")
    local said = table.concat(support.said(cell), "|"):gsub("\t", " ")
    assert.equal("1 SIGUSR1|2 SIGUSR1|3 SIGUSR1|waits|again SIGUSR1|SIGUSR2", said)
  end)

  it("refuses the host's signals and unknown ones", function()
    local said = support.run_task [[
      for _, name in ipairs { "SIGTERM", "SIGUSR3", 7 } do print(select(2, pcall(stator.signal, name))) end]]
    assert.matches("signal: SIGTERM is the host's: use stator.defer", said[1])
    assert.matches('got "SIGUSR3", did you mean "SIGUSR1"', said[2])
    assert.matches("got 7", said[3])
  end)

  it("survives failure, cancel, time-out and despawn at every await", function()
    assert.equal(2, ordinals.check { virtual = true, run = [[
        step(stator.race { stator.signal "SIGUSR1", stator.signal "SIGUSR2", stator.sleep(0.01) })
        step(stator.race { stator.sleep(0.01), stator.signal "SIGUSR2" })]] })
  end)
end)
