-- stator.net: listeners, servers, socket files, names (N6, N7, N9 of docs/semantics.md).
local support = require "support"
local harness = require "harness"

local BEFORE = [[
local net = stator.net
local function code(op) local ok, e = stator.try(await, op) return ok and "ok" or e.code end
local function dial(l) return await(net.connect("127.0.0.1", l:port())) end
]]

local function run(body, options)
  options = options or {}
  return support.run_task(body, { before = BEFORE, seconds = options.seconds })
end

local function says(expected, body, options)
  local said, faults, cell = run(body, options)
  assert.same({ expected, {} }, { said, faults })
  return cell
end

local function handles(cell) return (select(4, cell:counts())) end

--- The same on real time, until `count` lines are there: for the resolver's threads.
local function says_in_time(expected, body)
  local cell = support.cell { main = "local stator = require 'stator'\nlocal await = stator.await\n" .. BEFORE
    .. "stator.task('t', {}, function(cmd)\n" .. body .. "\nend)", virtual = false }
  support.wait_for(cell, expected[#expected])
  assert.same(expected, support.said(cell))
  return cell
end

describe("a listener", function()
  after_each(support.finish)

  it("N6 gives connections to those who wait in the order in which they came", function()
    says({ "first a", "second b", "third c" }, [[
      local l = net.listen { port = 0 }
      for _, who in ipairs { "first", "second", "third" } do
        stator.spawn(function() print(who .. " " .. await(await(l:accept()):read_line())) end)
      end
      for _, text in ipairs { "a", "b", "c" } do
        await(stator.sleep(0.01))
        local c = dial(l)
        await(c:write(text .. "\n"))
      end
      await(stator.sleep(0.01))
    ]])
  end)

  it("N6 holds clients back when nobody accepts, and loses none", function()
    says({ "40" }, [[
      local l = net.listen { port = 0 }
      for i = 1, 40 do stator.spawn(function() local c = dial(l) await(c:write(i .. "\n")) await(c:read()) end) end
      await(stator.sleep(1))
      local seen, count = {}, 0
      for _ = 1, 40 do
        local s = await(l:accept())
        local i = await(s:read_line())
        if not seen[i] then seen[i], count = true, count + 1 end
        await(s:write("done"))
      end
      print(count)
    ]])
  end)

  it("N6 keeps a client whose accept was cancelled or timed out", function() -- rivals: permit lost on cancel
    says({ "timeout", "hello", "first", "second hello" }, [[
      local l, m = net.listen { port = 0 }, net.listen { port = 0 }
      print((select(2, stator.try(stator.within, 0.1, function() return await(l:accept()) end))).code)
      local c = dial(l)
      await(c:write("hello\n"))
      print(await(await(l:accept()):read_line()))
      stator.spawn(function()
        await(stator.sleep(0.1))
        local a, b = stator.start(net.connect("127.0.0.1", l:port())), stator.start(net.connect("127.0.0.1", m:port()))
        await(a)
        await(await(b):write("hello\n"))
        await(stator.sleep(1))
      end)
      print((await(stator.race { first = l:accept(), second = m:accept() })))
      print("second " .. await(await(m:accept()):read_line()))
    ]])
  end)

  it("N6 refuses a port that is taken, and fails what waits when it is closed", function()
    local said = run [[
      local l = net.listen { port = 0 }
      local ok, e = stator.try(net.listen, { port = l:port() })
      print(e.code, (e.message:gsub("port %d+", "port P")))
      local waits = stator.start(l:accept())
      l:close()
      print(code(waits))
      local again = net.listen { host = "::1", port = 0 }
      print(again:port() > 0)
    ]]
    assert.same({ "in_use\tmain.lua:9: listen on port P: somebody else listens there", "closed", "true" }, said)
  end)
end)

describe("serve", function()
  after_each(support.finish)

  it("N6 runs a task for each client, and goes on when one fails", function()
    local said, faults, cell = run([[
      stator.scope(function()
        local l, served = net.listen { port = 0 }, 0
        stator.spawn(function()
          net.serve(l, function(conn)
            for line in conn:lines { limit = 10 } do
              if line == "bug" then error "a bug" end
              await(conn:write(line .. "!\n"))
            end
            served = served + 1
            print(served == 1 and "served it" or "served it again")
          end)
        end)
        local a, b, c, d = dial(l), dial(l), dial(l), dial(l)
        await(a:write("bug\n"))
        print(code(a:read()))
        await(b:write("this is too long a line\n"))
        print("too long: " .. code(b:read()))
        await(c:write("hi\n"))
        print(await(c:read_line()))
        c:close()
        await(stator.sleep(0.1))
        await(d:write("ho\n"))
        print(await(d:read_line()))
        d:close()
        l:close()
      end)
      print "over"
    ]])
    local lines = {}
    for _, line in ipairs(said) do
      if not line:find("^fault") and not line:find("^client") then lines[#lines + 1] = line end
    end
    assert.same({ "closed", "too long: closed", "hi!", "served it", "ho!", "served it again", "over" }, lines)
    assert.equal(1, #faults)
    assert.matches("^client 127.0.0.1:%d+: main.lua:%d+: a bug", faults[1])
    assert.matches("client 127.0.0.1:%d+: no line ends within 10 bytes", table.concat(said, "\n"))
    assert.equal(0, handles(cell))
  end)

  it("N6 serves at most max_clients at a time; the others wait", function()
    says({ "most 3", "10" }, [[
      local l = net.listen { port = 0 }
      local now, most, ended = 0, 0, 0
      local server = stator.spawn(function()
        net.serve({ listener = l, max_clients = 3 }, function(conn)
          now = now + 1
          most = math.max(most, now)
          await(stator.sleep(0.1))
          await(conn:write(await(conn:read_line()) .. "\n"))
          now = now - 1
        end)
      end)
      stator.scope(function()
        for i = 1, 10 do
          stator.spawn(function()
            local c = dial(l)
            await(c:write(i .. "\n"))
            if await(c:read_line()) == tostring(i) then ended = ended + 1 end
          end)
        end
      end)
      l:close() -- ends it in order
      await(server)
      print("most " .. most)
      print(ended)
    ]])
  end)

  it("N6 closes its listener and its clients when its block ends", function()
    local folder = support.folder()
    local cell = says({ "timeout", "closed", "refused" }, ([[
      local where = { unix = "%s/sock" }
      local c
      stator.spawn(function()
        await(stator.sleep(0.1))
        c = await(net.connect(where))
        print(code(c:read()))
        print(code(net.connect(where)))
      end)
      print((select(2, stator.try(stator.within, 0.5, function()
        net.serve(where, function(conn) await(stator.sleep(100)) end)
      end))).code)
    ]]):format(folder))
    assert.equal(0, handles(cell))
    assert.equal("", (support.shell("ls " .. folder)))
  end)
end)

describe("a socket file", function()
  after_each(support.finish)

  it("N7 is its owner's alone unless asked otherwise, and goes with its listener", function()
    local folder = support.folder()
    local said, _, cell = run(([[
      local a = net.listen { unix = "%s/a" }
      local b = net.listen { unix = "%s/b", mode = "0660" }
      print(a:port())
      await(stator.sleep(1))
    ]]):format(folder, folder), { seconds = 0.5 })
    assert.same({ "0" }, said)
    assert.equal("600 a\n660 b", (support.shell(("cd %s; stat -c '%%a %%n' a b"):format(folder)):gsub("%s+$", "")))
    cell:advance(1)
    assert.equal("", (support.shell("ls " .. folder)))
  end)

  it("N7 of a server that is gone is replaced, of one that listens is not", function()
    local folder = support.folder()
    os.execute(([[luajit -e 'local uv = require "luv" local p = uv.new_pipe(false) p:bind("%s/stale") p:listen(1, function() end) os.exit(0)']])
      :format(folder))
    assert.equal("stale", (support.shell("ls " .. folder):gsub("%s+$", "")))
    support.write(folder .. "/file", "text")
    os.execute(("ln -s nowhere %s/link"):format(folder))
    says({ "served", "in_use", "in_use: a file",
      "not_found: its folder is not there", "in_use: a file that is no socket is there", "other\t0", "still served" }, ([[
      local folder = %q
      local l = net.listen { unix = folder .. "/stale" }
      local function serves(text)
        local c = await(net.connect { unix = folder .. "/stale" })
        local s = await(l:accept())
        await(s:write("x"))
        print(await(c:read(1)) == "x" and text)
      end
      serves("served")
      print((select(2, stator.try(net.listen, { unix = folder .. "/stale" }))).code)
      print((select(2, stator.try(net.listen, { unix = folder .. "/file" }))).code .. ": a file")
      local _, e = stator.try(net.listen, { unix = folder .. "/no/such" })
      print(e.code .. ": " .. e.message:match "[^:]+$":sub(2))
      _, e = stator.try(net.listen, { unix = folder .. "/link" })
      print(e.code .. ": " .. e.message:match "[^:]+$":sub(2))
      local near = net.listen { unix = "near" }
      print(await(stator.file.stat "near").type, near:port())
      serves("still served")
    ]]):format(folder))
    assert.equal("text", support.read(folder .. "/file"))
  end)

  it("N7 that somebody else has made meanwhile stays", function()
    local folder = support.folder()
    local said, _, cell = run(([[
      local l = net.listen { unix = "%s/sock" }
      print "listens"
      await(stator.sleep(1))
    ]]):format(folder), { seconds = 0.5 })
    assert.same({ "listens" }, said)
    os.remove(folder .. "/sock")
    support.write(folder .. "/sock", "another's")
    cell:advance(1)
    assert.equal("another's", support.read(folder .. "/sock"))
  end)
end)

describe("a name", function()
  after_each(function()
    harness.gate(true)
    support.finish()
  end)

  it("N9 has its addresses in a fixed order, each once", function()
    says_in_time({ "127.0.0.1 127.0.0.2 ::1", "10.0.0.7", "not_found", "done" }, [[
      print(table.concat(await(net.resolve("many.test")), " "))
      print(table.concat(await(net.resolve("10.0.0.7")), " "))
      print(code(net.resolve("none.test")))
      print "done"
    ]])
  end)

  it("N9 is connected to by each of its addresses in turn", function()
    says_in_time({ "by 127.0.0.2", "connect to many.test:1: connection refused", "done" }, [[
      local l = net.listen { host = "127.0.0.2", port = 0 }
      local c = await(net.connect("many.test", l:port()))
      print("by " .. c:peer())
      print((select(2, stator.try(await, net.connect("many.test", 1)))).message)
      print "done"
    ]])
  end)

  it("N9 frees its task at once, though the resolver goes on", function() -- rivals: cancel waits for the thread
    harness.gate(false)
    local cell = support.cell { main = "local stator = require 'stator'\nlocal await = stator.await\n" .. BEFORE .. [[
stator.task("t", {}, function()
  print((select(2, stator.try(stator.within, 0.5, function() return await(net.resolve("slow.test")) end))).code)
  print((select(2, stator.try(stator.within, 0.5, function() return await(net.connect("slow.test", 1)) end))).code .. " again")
  local started = {}
  for i = 1, 62 do started[i] = stator.start(net.resolve("slow.test")) end
  print(code(net.resolve("slow.test")))
end)]] }
    local function until_at_gate(count)
      for _ = 1, 1000 do
        if harness.at_gate() == count then return end
        os.execute("sleep 0.01")
      end
    end
    cell:advance(0.25)
    until_at_gate(1)
    cell:advance(0.5)
    until_at_gate(2)
    cell:advance(1)
    assert.same({ "timeout", "timeout again", "busy" }, support.said(cell))
    assert.equal(0, (cell:counts()))
    assert.is_true(harness.at_gate() > 0)
    harness.gate(true)
    until_at_gate(0)
    cell:advance(0.1)
  end)
end)
