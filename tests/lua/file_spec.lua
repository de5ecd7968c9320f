-- Files: read, write, append, stat, list, remove, make_dir; limits, order, cancelling. On virtual time:
-- file jobs hold it, so the same run gives the same result each time.
local ordinals = require "io_ordinals"
local support = require "support"

local function run(body, options)
  local said, faults, cell = support.run_task(body, options)
  assert.same({}, faults)
  return said, cell
end

local function leftovers(folder)
  return (support.shell(("find %s -name '.stator-*' | wc -l"):format(folder)):gsub("%s", ""))
end

describe("stator.file", function()
  after_each(support.finish)

  it("Y1: writes, reads, appends, tells and removes what is in the scene's folder", function()
    assert.same({ "true", "one\ntwo\n", "file\t8", "true", "false", "true", "not_found", "false" }, run [[
      print(await(stator.file.write("a.txt", "one\n")))
      await(stator.file.append("a.txt", "two\n"))
      print(await(stator.file.read("a.txt")))
      local info = await(stator.file.stat("./a.txt"))
      print(info.type, info.size)
      print(await(stator.file.exists("a.txt")))
      print(await(stator.file.exists("b.txt")))
      print(await(stator.file.remove("a.txt")))
      local _, e = stator.try(await, stator.file.read("a.txt"))
      print(e.code)
      print(await(stator.file.exists("a.txt/b")))]])
  end)

  it("Y1: lists sorted names and makes folders with those above them", function()
    assert.same({ "true true", "A B a b", "folder", "io" }, run [[
      print(tostring(await(stator.file.make_dir("x/y/z"))) .. " " .. tostring(await(stator.file.make_dir("x/y"))))
      for _, name in ipairs { "b", "A", "a", "B" } do await(stator.file.write("x/y/z/" .. name, "")) end
      print(table.concat(await(stator.file.list("x/y/z")), " "))
      print(await(stator.file.stat("x")).type)
      local _, e = stator.try(await, stator.file.remove("x"))
      print(e.code)]])
  end)

  it("Y1: keeps any bytes", function()
    assert.same({ "true" }, run [[
      local bytes = {}
      for i = 0, 255 do bytes[#bytes + 1] = string.char(i) end
      local text = table.concat(bytes):rep(1000)
      await(stator.file.write("bytes", text))
      print(await(stator.file.read("bytes")) == text)]])
  end)

  it("Y2: refuses at the script's line a path that leads out", function()
    local said = run [[
      for _, path in ipairs { "/etc/passwd", "../x", "a/../../x", "" } do
        print(select(2, pcall(stator.file.read, path)).message or select(2, pcall(stator.file.read, path)))
      end
      print(select(2, pcall(stator.file.read, "a", { limits = 1 })))
      print(select(2, pcall(function() return stator.file.raed end)))
      print(select(2, pcall(stator.file.write, "a", 7)))]]
    assert.matches('main.lua:%d+: file.read: "/etc/passwd" is absolute', said[1])
    assert.matches('"../x" leads out of the scene\'s folder', said[2], 1, true)
    assert.matches('"a/../../x" leads out of the scene\'s folder', said[3], 1, true)
    assert.matches("expected a text of 1 to 1024 bytes", said[4])
    assert.matches('unknown option "limits", did you mean "limit"%?', said[5])
    assert.matches('stator.file has no "raed", did you mean "read"%?', said[6])
    assert.matches("file.write: expected text, got 7", said[7])
  end)

  it("bounds what is read", function()
    assert.same({ "1234", "limit\tfour: more than 3 bytes (limit)", "0" }, run [[
      await(stator.file.write("four", "1234"))
      print(await(stator.file.read("four", { limit = 4 })))
      local _, e = stator.try(await, stator.file.read("four", { limit = 3 }))
      print(e.code, e.message)
      await(stator.file.write("none", ""))
      print(#await(stator.file.read("none", { limit = 0 })))]])
  end)

  it("refuses folders, pipes and devices in place of files and does not hang on them", function()
    local path, folder = support.scene { scripts = { ["main.lua"] = [[
      local stator = require "stator"
      stator.task("t", {}, function()
        for _, name in ipairs { "pipe", "null", "folder" } do
          for _, op in ipairs { "read", "append", "write" } do
            local ok, e = stator.try(stator.await, stator.file[op](name, op ~= "read" and "x" or nil))
            print(name, op, ok, e and e.code)
          end
        end
      end)]] } }
    support.shell(("cd %s; mkfifo pipe; ln -s /dev/null null; mkdir folder"):format(folder))
    local cell = support.cell { path = path }
    cell:advance(1)
    for _, line in ipairs(support.said(cell)) do assert.matches("\tfalse\tio$", line) end
    assert.equal(9, #support.said(cell))
    assert.equal("0", leftovers(folder))
  end)

  it("Y3: a write replaces the file as a whole and keeps its mode; a link stays one", function()
    local path, folder = support.scene { scripts = { ["main.lua"] = [[
      local stator = require "stator"
      stator.task("t", {}, function()
        stator.await(stator.file.write("real", "new"))
        stator.await(stator.file.write("link", "newer"))
        stator.await(stator.file.write("fresh", ""))
        print "done"
      end)]] } }
    support.shell(("cd %s; echo old > real; ln real other; chmod 600 real; ln -s real link"):format(folder))
    local cell = support.cell { path = path }
    cell:advance(1)
    assert.same({ "done" }, support.said(cell))
    assert.equal("newer", support.read(folder .. "/real"))
    assert.equal("old\n", support.read(folder .. "/other")) -- the old file was not written into
    local modes = support.shell(("cd %s; stat -c %%a real fresh; test -L link && echo link"):format(folder))
    assert.same("600\n644\nlink", (modes:gsub("%s+$", "")))
    assert.equal("0", leftovers(folder))
  end)

  it("Y3: a write that fails leaves no temporary file and the old text", function()
    local path, folder = support.scene { scripts = { ["main.lua"] = [[
      local stator = require "stator"
      stator.task("t", {}, function()
        local _, e = stator.try(stator.await, stator.file.write("no/such/folder", "x"))
        print(e.code, e.message)
      end)]] } }
    local cell = support.cell { path = path }
    cell:advance(1)
    assert.same({ "not_found\tno/such/folder: no such file or directory" }, support.said(cell))
    assert.equal("0", leftovers(folder))
  end)

  it("Y4: operations on one path are done in the order of their start, many at once", function()
    assert.same({ "true", "200" }, run [[
      local want, list = {}, {}
      for i = 1, 200 do
        want[i] = ("%04d"):format(i)
        list[i] = stator.start(stator.file.append("log", want[i]))
      end
      local seen = stator.start(stator.file.read("log"))
      for i = 1, 200 do await(list[i]) end
      print(await(seen) == table.concat(want))
      print(#await(stator.file.read("log")) / 4)]])
  end)

  it("Y4: is refused with code busy when too many wait, and the others are done", function()
    assert.same({ "busy\t976", "1024" }, run([[
      local futures, busy, done = {}, 0, 0
      for i = 1, 2001 do futures[i] = stator.start(stator.file.append("log", "x")) end
      for i = 1, 2001 do
        local ok, e = stator.try(await, futures[i])
        if ok then done = done + 1 elseif e.code == "busy" then busy = busy + 1 else print(e.message) end
      end
      print("busy", busy)
      print(#await(stator.file.read("log")) - 1)]]))
  end)

  it("bounds the bytes that all operations hold together", function()
    assert.same({ "limit\t20\tfile write: operations would hold more than 256 MiB together", "20" }, run [[
      local text, list, first = ("x"):rep(12 * 2 ^ 20), {}, nil
      for i = 1, 30 do
        local ok, op = pcall(stator.file.write, "f" .. i, text)
        if ok then list[#list + 1] = stator.start(op) else first = first or op end
      end
      print(first.code, #list - 1, first.message)
      for i = 1, #list do await(list[i]) end
      await(stator.file.write("again", text))
      print(#list - 1)]])
  end)

  it("Y5: what waits for its turn when it is cancelled is not done; what runs ends whole", function()
    assert.same({ "false\tenough", "true", "0" }, run [[
      await(stator.file.write("log", ""))
      local ok, e = stator.try(function()
        stator.scope(function()
          for i = 1, 50 do stator.start(stator.file.append("log", "12345")) end
          await(stator.sleep(0))
          stator.fail("enough")
        end)
      end)
      print(ok, e.code)
      print(#await(stator.file.read("log")) < 250)
      print(#await(stator.file.read("log")) % 5)]])
  end)

  it("survives failure, cancel, time-out and despawn at every await", function()
    local awaits = ordinals.check { virtual = true, run = [[
        step(stator.file.make_dir("d/e"))
        step(stator.file.write("d/a", ("x"):rep(100000)))
        step(stator.all { stator.file.append("d/a", "1"), stator.file.append("d/a", "2"), stator.file.read("d/a") })
        step(stator.file.read("d/a"))
        step(stator.file.stat("d/a"))
        step(stator.file.list("d"))
        step(stator.file.remove("d/a"))]],
      check = function(_, folder) assert.equal("0", leftovers(folder)) end }
    assert.equal(7, awaits)
  end)

  it("the VM that is lost takes its operations with it", function()
    local cell = support.cell { main = [[
      local stator = require "stator"
      local await = stator.await
      stator.task("writes", { restart = { min = 0.1, max = 0.1 } }, function()
        for i = 1, 20 do stator.start(stator.file.append("log", "x")) end
        await(stator.file.write("a", "whole"))
        print "again"
      end)
      stator.task("loses", { restart = "never" }, function()
        ("x"):rep(60):find(("x*"):rep(40) .. "y")
      end)]], patience = 1 }
    cell:advance(3)
    assert.matches("again", table.concat(support.said(cell), "\n"))
    local _, _, _, _, _, lost = cell:guard()
    assert.equal(1, lost)
  end)
end)
