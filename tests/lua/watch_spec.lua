-- The file watcher on real files. Most cells are on virtual time, which the specs move: nothing depends on
-- how quick the machine is.
local support = require "support"
local watching = require "watching"

local LOSES = [[
local stator = require "stator"
stator.task("loses", { restart = "never" }, function()
  stator.await(stator.sleep(3));
  ("x"):rep(60):find(("x*"):rep(40) .. "y")
end)]]

--- Each way to save a.lua, which changes nothing else that is watched.
local SAVES = {
  { "write in place", "echo 'return 2000' > a.lua" },
  { "append", "echo 'return 2' >> a.lua" },
  { "write and rename", "echo 'return 2' > new && mv new a.lua" },
  { "delete and create", "rm a.lua && echo 'return 23' > a.lua" },
  { "sed -i", "sed -i 's/1/2/' a.lua" },
  { "cp over it", "echo 'return 234' > new && cp new a.lua" },
  { "backup and rename", "mv a.lua a.lua~ && echo 'return 2' > a.lua" },
  { "vim, backupcopy=no", "vim -u NONE -N -n -es --cmd 'set nowritebackup backupcopy=no' -c '%s/1/2345/' -c wq a.lua" },
  { "vim, writebackup by rename", "vim -u NONE -N -n -es --cmd 'set writebackup backupcopy=no' -c '%s/1/2/' -c wq a.lua" },
  { "vim, backupcopy=yes", "vim -u NONE -N -n -es --cmd 'set writebackup backupcopy=yes' -c '%s/1/2345/' -c wq a.lua" },
  { "vim, with swap file and backup", "vim -u NONE -N -es --cmd 'set backup backupdir=.' -c '%s/1/2/' -c wq a.lua" },
  { "touch without a change", "touch -d 2001-01-01 a.lua" },
  { "mode", "chmod 600 a.lua && chmod 640 a.lua && touch -d 2002-01-01 a.lua" },
  { "link to another", "echo 'return 2' > other && ln -sf other a.lua" },
  { "same size and time", "touch -r a.lua ref; was=$(stat -c %z a.lua); while [ \"$was\" = \"$(stat -c %z a.lua)\" ]; do "
    .. "printf 'return 2\\n' > a.lua; touch -r ref a.lua; done; test $(stat -c %s a.lua) = 9" },
  { "deleted", "rm a.lua" },
}

describe("the watch", function()
  local watched
  after_each(function()
    watching.events(true)
    if watched then watched:finish() end
    watched = nil
    support.finish()
  end)

  for _, mode in ipairs { "events", "poll" } do
    it("RW1: tells each way to save a file once, " .. mode, function()
      for _, save in ipairs(SAVES) do
        watched = watching.open()
        watched:follow("a.lua b.lua", mode)
        watched:shell(save[2])
        watched.cell:advance(0.75)
        assert.same({ save[1], "saved: a.lua" }, { save[1], watched:told() })
        watched.cell:advance(3)
        assert.same({ save[1], "" }, { save[1], watched:told() })
        watched:finish()
        watched = nil
        support.finish()
      end
    end)
  end

  it("RW1: files that are saved a moment apart are one change", function()
    watched = watching.open()
    watched:follow "a.lua b.lua"
    watched:write("a.lua", "return 22")
    watched.cell:advance(0.09)
    watched:write("b.lua", "return 22")
    watched.cell:advance(0.09)
    assert.equal("", watched:told())
    watched.cell:advance(0.15)
    assert.equal("saved: a.lua b.lua", watched:told())
  end)

  it("RW1: a file that is written bit by bit is told once it rests", function()
    watched = watching.open()
    watched:follow "a.lua b.lua"
    local file = assert(io.open(watched.folder .. "/a.lua", "w"))
    for i = 1, 30 do
      file:write("local v", i, " = ", i, "\n")
      file:flush()
      watched.cell:advance(0.08)
      assert.equal("", watched:told())
    end
    file:close()
    watched.cell:advance(0.3)
    assert.equal("saved: a.lua", watched:told())
    watched.cell:advance(3)
    assert.equal("", watched:told())
  end)

  it("RW1: one that never rests is named in the log, once, and told when it does", function()
    watched = watching.open()
    watched:follow "a.lua b.lua"
    local function change(name)
      local file = assert(io.open(watched.folder .. "/" .. name, "w"))
      for i = 1, 500 do
        file:write(i, "\n")
        file:flush()
        watched.cell:advance(0.05)
      end
      file:close()
      assert.equal("", watched:told())
      watched.cell:advance(0.3)
      assert.equal("saved: " .. name, watched:told())
    end
    change "b.lua"
    change "a.lua"
    local lines = {}
    for _, line in ipairs(watched.cell:logs()) do
      lines[#lines + 1] = line:match "(.%.lua changes all the time: it is read once it rests)$"
    end
    assert.same({ "b.lua changes all the time: it is read once it rests",
      "a.lua changes all the time: it is read once it rests" }, lines)
  end)

  it("RW1: what is as it was when it comes to rest is not told", function()
    watched = watching.open()
    watched:follow "a.lua b.lua"
    watched:shell "mv a.lua kept" -- changes ctime, so that a print that is as before is one of b only
    watched.cell:advance(0.3)
    assert.equal("saved: a.lua", watched:told())
    watched:write("a.lua", "passing by")
    watched.cell:advance(0.05)
    watched:shell "rm a.lua"
    watched.cell:advance(2)
    assert.equal("", watched:told())
  end)

  it("RW2: what was read before it was watched is told once, be it there or not", function()
    watched = watching.open()
    watched:set "a.lua b.lua not/there.lua"
    watched:eval "S.follow()"
    watched.cell:advance(0.5)
    assert.equal("saved: a.lua b.lua not/there.lua", watched:told())
    watched:set "a.lua c.lua not/there.lua" -- only the new one
    watched.cell:advance(0.5)
    assert.equal("saved: c.lua", watched:told())
    watched:set "a.lua b.lua" -- one that was away is new
    watched.cell:advance(0.5)
    assert.equal("saved: b.lua", watched:told())
  end)

  it("RW2: a save while the caller reads is found by unchanged, and told with what came before", function()
    watched = watching.open()
    watched:follow "a.lua b.lua"
    watched:finish()
    watched:eval [[
      S.spawn(function()
        repeat
          S.note(S.await(S.watch.next()))
          S.await(require("stator").sleep(1)) -- reads
          local same = S.await(S.watch.unchanged())
          S.told[#S.told + 1] = tostring(same)
        until same
        S.watch.ack()
        S.told[#S.told + 1] = "ack"
        S.note(S.await(S.watch.next()))
      end)]]
    watched:write("a.lua", "return 22")
    watched.cell:advance(0.5)
    assert.equal("saved: a.lua", watched:told())
    watched:write("b.lua", "return 22")
    watched.cell:advance(1)
    assert.equal("false | saved: a.lua b.lua", watched:told())
    watched.cell:advance(3)
    assert.equal("true | ack", watched:told())
    watched:write("a.lua", "return 333")
    watched.cell:advance(0.5)
    assert.equal("saved: a.lua", watched:told())
  end)

  it("RW2: a save after the look and before the acknowledgement is told by the next", function()
    watched = watching.open()
    watched:follow "a.lua b.lua"
    watched:finish()
    watched:eval [[
      S.spawn(function()
        S.note(S.await(S.watch.next()))
        S.told[#S.told + 1] = tostring(S.await(S.watch.unchanged()))
        S.await(require("stator").sleep(2)) -- stages, drains
        S.watch.ack()
        S.note(S.await(S.watch.next()))
      end)]]
    watched:write("a.lua", "return 22")
    watched.cell:advance(1)
    assert.equal("saved: a.lua | true", watched:told())
    watched:write("b.lua", "return 4444")
    watched.cell:advance(0.5)
    assert.equal("", watched:told())
    watched.cell:advance(2)
    assert.equal("saved: b.lua", watched:told())
  end)

  it("RW2: without an acknowledgement the same is told again; one that loses a race takes nothing", function()
    watched = watching.open()
    watched:follow "a.lua b.lua"
    watched:finish()
    watched:write("a.lua", "return 22")
    watched:eval [[
      local stator = require "stator"
      S.spawn(function()
        for _ = 1, 3 do S.note(S.await(S.watch.next())) end
        for i = 1, 40 do
          local who = S.await(stator.race { x = stator.sleep(i / 100), y = S.watch.next() })
          if who == "y" then S.watch.ack() S.told[#S.told + 1] = "y" break end
        end
        S.await(stator.sleep(1))
        S.watch.ack()
        S.note(S.await(S.watch.next()))
      end)]]
    watched.cell:advance(5)
    assert.equal("saved: a.lua | saved: a.lua | saved: a.lua | y", watched:told())
    watched:write("b.lua", "return 22")
    watched.cell:advance(0.5)
    assert.equal("saved: b.lua", watched:told())
  end)

  it("RW2: a result that another won the race against is not acknowledged", function()
    watched = watching.open()
    watched:follow "a.lua b.lua"
    watched:finish()
    watched:write("a.lua", "return 22")
    watched:eval [[
      local stator = require "stator"
      S.spawn(function()
        S.note(S.await(S.watch.next()))
        S.await(stator.sleep(0.5)) -- b is saved
        S.await(S.watch.unchanged())
        S.await(stator.sleep(0.2)) -- one look more, and it has settled
        local before = stator.start(S.watch.unchanged()) -- its look is under way: both of the race take the one after
        S.told[#S.told + 1] = S.await(stator.race { S.watch.unchanged(), S.watch.next() })
        S.watch.ack() -- of a alone: what `next` told in the same step was not heard
        S.await(before)
        S.note(S.await(S.watch.next()))
      end)]]
    watched.cell:advance(0.3)
    watched:write("b.lua", "return 22")
    watched.cell:advance(2)
    assert.equal("saved: a.lua | 1 | saved: b.lua", watched:told())
  end)

  it("RW2: a path that came into the list since is not unchanged; a second next is refused", function()
    watched = watching.open()
    watched:follow "a.lua"
    watched:eval [[
      S.spawn(function()
        S.told[#S.told + 1] = tostring(S.await(S.watch.unchanged()))
        S.set "a.lua b.lua"
        S.told[#S.told + 1] = tostring(S.await(S.watch.unchanged()))
        local _, e = require("stator").try(S.await, S.watch.next())
        S.told[#S.told + 1] = e.code .. " " .. e.message
      end)]]
    watched.cell:advance(0.05)
    assert.equal("true | false | busy watch.next: another one waits already", watched:told())
    watched.cell:advance(0.5)
    assert.equal("saved: b.lua", watched:told())
  end)

  it("RW2: a look that had begun before does not answer unchanged, nor one at an older list", function()
    watched = watching.open()
    watched:follow "a.lua b.lua"
    watched:finish()
    watched:eval([[
      local folder, stator = ..., require "stator"
      S.spawn(function()
        for i = 1, 20 do
          local future = stator.start(S.watch.next()) -- looks
          for _ = 1, 2e5 do end
          local file = io.open(folder .. "/a.lua", "a")
          file:write(("x"):rep(i))
          file:close()
          if S.await(S.watch.unchanged()) then S.told[#S.told + 1] = "missed" end
          S.note(S.await(future))
          S.watch.ack()
        end
        local future = stator.start(S.watch.next())
        local names = {}
        for i = 1, 500 do names[i] = i .. ".lua" end
        S.set(table.concat(names, " "))
        S.told[#S.told + 1] = #S.await(future).paths
      end)]], watched.folder)
    watched.cell:advance(20)
    assert.equal(("saved: a.lua | "):rep(20) .. "500", watched:told())
  end)

  it("RW3: with events a save is seen at once, else at the next poll", function()
    for _, case in ipairs { { "events", 0.2 }, { "poll", 0.45 } } do
      watched = watching.open()
      watched:follow("a.lua b.lua", case[1])
      watched:shell "rm a.lua"
      watched.cell:advance(2)
      watched:told()
      watched:write("a.lua", "return 55") -- the last look was a moment ago, whenever that was
      watched.cell:advance(case[2])
      assert.same({ case[1], "saved: a.lua" }, { case[1], watched:told() })
      assert.equal(case[1] == "poll" and 0 or 1, (watching.open_count()))
      watched:finish()
      watched = nil
      support.finish()
    end
  end)

  it("RW3: it looks for watched names only, and while somebody waits", function()
    watched = watching.open()
    watched:follow "a.lua"
    watched.cell:advance(5)
    local before = watched.cell:looks()
    for i = 1, 90 do
      watched:write("log" .. i, "x")
      watched.cell:advance(0.01)
    end
    assert.is_true(watched.cell:looks() - before <= 1, watched.cell:looks() - before) -- the poll of this second
    assert.equal("", watched:told())
    watched:finish() -- nobody waits: nobody looks
    watched.cell:advance(0.1)
    before = watched.cell:looks()
    watched:write("a.lua", "return 22")
    watched.cell:advance(5)
    assert.equal(before, watched.cell:looks())
  end)

  it("RW3: a folder that is not there yet, goes and comes back is watched again", function()
    watched = watching.open()
    watched:follow "sub/deep/c.lua"
    watched:shell "mkdir -p sub/deep && echo 1 > sub/deep/c.lua"
    watched.cell:advance(1.5)
    assert.equal("saved: sub/deep/c.lua", watched:told())
    for i = 1, 4 do
      watched:write("sub/deep/c.lua", ("x"):rep(20 + i)) -- by events, so they are heard again
      watched.cell:advance(0.2)
      assert.equal("saved: sub/deep/c.lua", watched:told())
      watched:shell(i % 2 == 0 and "rm -r sub" or "mv sub sub" .. i)
      watched.cell:advance(1.5)
      assert.equal("saved: sub/deep/c.lua", watched:told())
      watched:shell("mkdir -p sub/deep && echo 1 > sub/deep/c.lua")
      watched.cell:advance(1.5)
      assert.equal("saved: sub/deep/c.lua", watched:told())
    end
    assert.equal(1, (watching.open_count()))
  end)

  it("RW3: a folder that is moved away with the one above it, or gets another place in the list, is heard", function()
    watched = watching.open()
    watched:shell "mkdir -p p/sub p/one && echo 1 > p/sub/c.lua"
    watched:follow "p/sub/c.lua"
    watched:shell "mv p q && mkdir -p p/sub && echo 22 > p/sub/c.lua"
    watched.cell:advance(1.5)
    assert.equal("saved: p/sub/c.lua", watched:told())
    watched:write("p/sub/c.lua", "return 333")
    watched.cell:advance(0.2)
    assert.equal("saved: p/sub/c.lua", watched:told())
    watched:set "a.lua p/sub/c.lua"
    watched.cell:advance(0.5)
    assert.equal("saved: a.lua", watched:told())
    watched:write("p/sub/c.lua", "return 4444")
    watched.cell:advance(0.2)
    assert.equal("saved: p/sub/c.lua", watched:told())
  end)

  it("RW3: a save just before the events of its folder come is seen at once", function()
    watching.events(false)
    watched = watching.open()
    watched:follow "a.lua b.lua"
    watching.events(true, watched.folder .. "/b.lua")
    watched.cell:advance(0.5)
    assert.equal("saved: b.lua", watched:told())
  end)

  it("RW3: a folder that is replaced between two looks is watched again", function()
    watched = watching.open()
    watched:shell "mkdir sub && echo 1 > sub/c.lua"
    watched:follow "sub/c.lua"
    for i = 1, 5 do
      watched:shell("rm -r sub && mkdir sub && echo " .. ("1"):rep(i + 1) .. " > sub/c.lua")
      watched.cell:advance(0.5)
      assert.equal("saved: sub/c.lua", watched:told())
      watched:write("sub/c.lua", ("x"):rep(20 + i))
      watched.cell:advance(0.2)
      assert.equal("saved: sub/c.lua", watched:told())
    end
  end)

  it("RW3: where events cannot be opened it polls, says so once at debug, and hears them later", function()
    watching.events(false)
    watched = watching.open { debug = true }
    watched:follow "a.lua b.lua"
    watched:write("a.lua", "return 22")
    watched.cell:advance(0.45)
    assert.equal("saved: a.lua", watched:told())
    watched.cell:advance(2)
    local lines = table.concat(watched.cell:logs(), "\n")
    assert.equal(1, select(2, lines:gsub(" debug +watch: [^\n]-no events %(no space left on device%): polled each 0.25 s", "")))
    watching.events(true)
    watched.cell:advance(0.5)
    watched:write("a.lua", "return 333")
    watched.cell:advance(0.2)
    assert.equal("saved: a.lua", watched:told())
  end)

  it("RW4: asking wakes, with its reason, also before anybody waits, until it is acknowledged", function()
    watched = watching.open()
    watched:set "a.lua"
    watched:eval "S.watch.ask 'SIGHUP' S.follow()"
    watched.cell:advance(0.5)
    assert.equal("SIGHUP: a.lua", watched:told())
    watched.cell:advance(5)
    assert.equal("", watched:told())
    watched:eval "S.watch.ask 'asked'"
    watched.cell:advance(0.05)
    assert.equal("asked:", watched:told())
    watched:finish()
    watched.cell:advance(0.1)
    watched:eval [[
      S.watch.ask "first"
      S.spawn(function()
        S.note(S.await(S.watch.next()))
        S.watch.ask "second" -- while the first is being done
        S.watch.ack()
        S.note(S.await(S.watch.next()))
        S.note(S.await(S.watch.next()))
        S.watch.ack()
        S.note(S.await(S.watch.next()))
      end)]]
    watched.cell:advance(5)
    assert.equal("first: | second: | second:", watched:told())
    for _, reason in ipairs { "", ("x"):rep(64) } do
      assert.has_error(function() watched:eval("S.watch.ask(...)", reason) end)
    end
  end)

  it("RW4: what is asked for waits until a file that is being written rests", function()
    watched = watching.open()
    watched:follow "a.lua b.lua"
    for i = 1, 5 do
      watched:write("a.lua", ("x"):rep(i + 20))
      watched:eval "S.watch.ask 'SIGHUP'"
      watched.cell:advance(0.05)
      assert.equal("", watched:told())
    end
    watched.cell:advance(0.3)
    assert.equal("SIGHUP: a.lua", watched:told())
  end)

  it("RW4: with --no-watch, and with mode off, only asking wakes", function()
    for _, no_watch in ipairs { true, false } do
      watched = watching.open { no_watch = no_watch }
      assert.equal("off", watched:set("a.lua b.lua", no_watch and "events" or "off"))
      watched:eval "S.follow()"
      watched.cell:advance(5)
      watched:write("a.lua", "return 22")
      watched.cell:advance(5)
      assert.equal("", watched:told())
      assert.equal(0, (watching.open_count()))
      watched:eval "S.watch.ask 'SIGHUP'"
      watched.cell:advance(0.3)
      assert.equal("SIGHUP: a.lua b.lua", watched:told())
      watched:write("b.lua", "return 22")
      watched:eval "S.watch.ask 'asked'"
      watched.cell:advance(0.3)
      assert.equal("asked: b.lua", watched:told())
      watched:finish()
      watched = nil
      support.finish()
    end
  end)

  it("RW4: SIGHUP asks, and the log says so", function()
    watched = watching.open { virtual = false, signals = true }
    watched:set("a.lua", "off")
    watched:eval "S.follow()"
    support.shell("kill -HUP " .. watching.pid())
    assert.equal("SIGHUP: a.lua", watched:wait())
    support.wait_for(watched.cell, "info +host: SIGHUP: a reload is asked for")
    support.shell("kill -HUP " .. watching.pid())
    assert.equal("SIGHUP:", watched:wait())
  end)

  it("RW4: SIGHUP does not end a host, and is heard without a watch as well", function()
    local scene, folder = support.scene { scripts = { ["main.lua"] = "local stator = require 'stator'" } }
    local out = support.shell(([[
      %s run --no-watch %s > %s/out 2>&1 & pid=$!
      for i in $(seq 200); do grep -q ' Hz' %s/out && break; sleep 0.05; done
      kill -HUP $pid
      for i in $(seq 200); do grep -q SIGHUP %s/out && break; sleep 0.05; done
      kill -INT $pid; wait $pid; echo code $?; cat %s/out]]):format(support.binary, scene, folder, folder, folder, folder))
    assert.matches("code 0", out)
    assert.matches(" info +host: SIGHUP: a reload is asked for", out)
  end)

  it("RW5: list, acknowledgements and what was asked for outlive the VM", function()
    watched = watching.open { main = LOSES, patience = 1 }
    watched:follow "a.lua b.lua"
    watched.cell:advance(3) -- loses the VM while next waits
    assert.equal(1, select(6, watched.cell:guard()))
    assert.equal(1, (watching.open_count()))
    watched:write("b.lua", "return 22")
    watched.cell:advance(1)
    watched:inside()
    watched:set "a.lua b.lua"
    watched:eval "S.watch.ask 'SIGHUP' S.follow()"
    watched.cell:advance(0.5)
    assert.equal("SIGHUP: b.lua", watched:told())
  end)

  it("RW5: an ask of the VM before is heard in the next", function()
    watched = watching.open { main = LOSES, patience = 1 }
    watched:set("a.lua", "off")
    watched:eval "S.watch.ask 'SIGHUP'"
    watched.cell:advance(4)
    assert.equal(1, select(6, watched.cell:guard()))
    watched:inside()
    watched:eval "S.follow()"
    watched.cell:advance(0.5)
    assert.equal("SIGHUP: a.lua", watched:told())
  end)

  it("RW6: refuses more than 4096 paths or 256 folders, and what is no path; the list stays", function()
    watched = watching.open()
    watched:follow "a.lua b.lua"
    assert.equal("limit watch.set: at most 4096 paths", watched:eval [[
      local paths = {}
      for i = 1, 4097 do paths[i] = "/tmp/p" .. i end
      local _, e = pcall(S.watch.set, paths)
      return e.code .. " " .. e.message]])
    assert.equal("limit watch.set: at most 256 folders", watched:eval [[
      local paths = {}
      for i = 1, 257 do paths[i] = "/tmp/p" .. i .. "/x" end
      local _, e = pcall(S.watch.set, paths)
      return e.code .. " " .. e.message]])
    for _, bad in ipairs { "''", "7", "'a\\0b'", "('x'):rep(4096)", "{}" } do
      local text = watched:eval(("return tostring(select(2, pcall(S.watch.set, { 'a', %s })))"):format(bad))
      assert.matches("watch.set: path 2: expected a text of 1 to 4095 bytes", text)
    end
    assert.has_error(function() watched:set("a.lua", "often") end)
    watched:write("a.lua", "return 22")
    watched.cell:advance(0.5)
    assert.equal("saved: a.lua", watched:told())
  end)

  it("RW6: takes 4096 paths in 256 folders, repeated ones once", function()
    watched = watching.open()
    watched:shell "for i in $(seq 256); do mkdir d$i; done"
    watched:eval([[
      local folder, paths = ..., {}
      for i = 1, 4096 do paths[i] = ("%s/d%d/%d.lua"):format(folder, (i - 1) % 256 + 1, i) end
      for i = 4000, 4096 do paths[i] = paths[1] end
      S.watch.set(paths)
      S.spawn(function()
        S.told[1] = #S.await(S.watch.next()).paths
        S.watch.ack()
        S.note(S.await(S.watch.next()))
      end)]], watched.folder)
    watched.cell:advance(0.5)
    assert.equal("3999", watched:told())
    assert.equal(256, (watching.open_count()))
    watched:write("d7/7.lua", "1")
    watched.cell:advance(0.2)
    assert.equal("saved: d7/7.lua", watched:told())
  end)

  it("RW6: a thousand lists leave no event, descriptor or memory behind", function()
    watched = watching.open()
    watched:shell "for i in $(seq 20); do mkdir d$i; done"
    watched:eval "S.follow()"
    local function some(turns)
      for i = 1, turns do
        local names = {}
        for k = 1, i % 20 + 1 do names[k] = ("d%d/%d.lua"):format((i + k) % 20 + 1, k) end
        watched:set(table.concat(names, " "), i % 7 == 0 and "poll" or "events")
        watched.cell:advance(i % 5 == 0 and 0.5 or 0.01)
        watched:told()
      end
      watched:set "a.lua"
      watched.cell:advance(0.5)
      watched:told()
      local events, files = watching.open_count()
      watched:eval "collectgarbage() collectgarbage()"
      return events, files, (watched.cell:memory())
    end
    local events, files, bytes = some(100)
    assert.equal(1, events)
    local events_later, files_later, bytes_later = some(1000)
    assert.same({ events, files }, { events_later, files_later })
    if os.getenv "STATOR_PRESET" ~= "asan" then assert.is_true(bytes_later < bytes + 2 ^ 18, bytes_later - bytes) end
  end)

  it("RW7: the end of a cell does not wait for a look, and leaves nothing", function()
    for i = 1, 20 do
      watched = watching.open { virtual = i % 2 == 0 }
      watched:set("a.lua b.lua", i % 3 == 0 and "poll" or "events")
      watched:eval "S.follow() S.spawn(function() S.await(S.watch.unchanged()) end)"
      for _ = 1, i do watched.cell:turn() end
      watched.cell:close()
      watched = nil
      assert.equal(0, (watching.open_count()))
    end
  end)

  it("RW7: virtual time stands still while a look runs: the same run each time", function()
    local function run()
      watched = watching.open()
      watched:follow "a.lua b.lua"
      watched:eval "S.told = {} S.finished = require('stator').now()"
      local out = {}
      for i = 1, 40 do
        if i % 7 == 0 then watched:write("a.lua", ("x"):rep(i + 20)) end
        watched.cell:advance(0.03)
        out[i] = watched:told()
      end
      local ticks = select(6, watched.cell:counts())
      watched:finish()
      watched = nil
      support.finish()
      return table.concat(out, ";") .. ticks
    end
    assert.equal(run(), run())
  end)

  for _, mode in ipairs { "events", "poll" } do
    it("works on real time, " .. mode, function()
      watched = watching.open { virtual = false }
      watched:set("a.lua b.lua", mode)
      watched:eval "S.follow()"
      assert.equal("saved: a.lua b.lua", watched:wait())
      for i = 1, 3 do
        watched:write("a.lua", ("x"):rep(i + 20))
        assert.equal("saved: a.lua", watched:wait())
      end
      watched:shell "sed -i s/x/yy/ a.lua"
      assert.equal("saved: a.lua", watched:wait())
      watched:eval "S.watch.ask 'SIGHUP'"
      assert.equal("SIGHUP:", watched:wait())
    end)
  end
end)
