-- stator.net: connections. A spec or more for each of the rules N1 to N5 of docs/semantics.md; the others are
-- in net_listen_spec.lua and net_udp_spec.lua. Both ends are tasks of the cell, on loopback, on virtual time.
local support = require "support"
local harness = require "harness"

local BEFORE = [[
local net = stator.net
local function pair(unix)
  local l = unix and net.listen { unix = unix } or net.listen { port = 0 }
  local c, s = await(stator.all { unix and net.connect { unix = unix } or net.connect("127.0.0.1", l:port()), l:accept() })
  l:close()
  return c, s
end
local function code(op) local ok, e = stator.try(await, op) return ok and "ok" or e.code end
]]

local function run(body, options)
  options = options or {}
  return support.run_task(body, { before = BEFORE .. (options.before or ""), seconds = options.seconds, entities = options.entities })
end

local function says(expected, body, options)
  local said, faults, cell = run(body, options)
  assert.same({ expected, {} }, { said, faults })
  return cell
end

--- Handles that scripts have open.
local function handles(cell) return (select(4, cell:counts())) end

describe("a connection", function()
  after_each(support.finish)

  it("N2 reads by count, by line, by delimiter and what there is", function()
    says({ "abc", "de\tf", "", "g;h", "one", "4", "rest" }, [[
      local c, s = pair()
      await(c:write("abcde\r\nf\n\ng;h||one\ntwo\r\r\nrest"))
      print(await(s:read(3)))
      print(await(s:read_line()), await(s:read_line()))
      print(await(s:read_line()))
      print(await(s:read_until("||")))
      print(await(s:read_line()))
      print(#await(s:read_line())) -- one carriage return belongs to the end
      print(await(s:read()))
    ]])
  end)

  it("N2 keeps what is too short for a read, and tells the end", function()
    says({ "closed closed closed", "half", "closed" }, [[
      local c, s = pair()
      await(c:write("half"))
      await(c:shutdown())
      print(code(s:read(5)) .. " " .. code(s:read_line()) .. " " .. code(s:read_until("--")))
      print(await(s:read()))
      print(code(s:read()))
    ]])
  end)

  it("N2 keeps what is longer than the limit", function()
    says({ "limit\tno line ends within 3 bytes", "limit", "abcd", "abc", "abcd", "limit", "65536" }, [[
      local c, s = pair()
      await(c:write("abcd\nabc\nabcd;"))
      local ok, e = stator.try(await, s:read_line { limit = 3 })
      print(e.code, e.message)
      print(code(s:read_until("\n", { limit = 3 })))
      print(await(s:read_line { limit = 4 }))
      print(await(s:read_line { limit = 3 }))
      print(await(s:read_until(";", { limit = 4 })))
      local long = stator.start(c:write(("x"):rep(65537) .. ";"))
      print(code(s:read_until(";")))
      print(#await(s:read(65536)))
      await(long)
    ]])
  end)

  it("N2 reads a line as long as the whole buffer, and a delimiter behind it", function()
    says({ "line 65536", "65536", "end" }, [[
      local c, s = pair()
      local text = ("y"):rep(65536)
      stator.spawn(function() await(c:write(text .. "\n" .. text .. "<--->end\n")) end)
      print("line " .. #await(s:read_line()))
      print(#await(s:read_until("<--->")))
      print(await(s:read_line()))
    ]])
  end)

  it("N2 finds a delimiter that comes in pieces", function()
    says({ "a-b--c", "d" }, [[
      local c, s = pair()
      stator.spawn(function()
        for piece in ("a-b--c---d---"):gmatch(".") do await(c:write(piece)) await(stator.sleep(0.001)) end
      end)
      print(await(s:read_until("---")))
      print(await(s:read_until("---")))
    ]])
  end)

  it("N2 refuses a second read while one waits", function()
    says({ "busy", "ok" }, [[
      local c, s = pair()
      local first = stator.start(s:read())
      print(code(s:read()))
      await(c:write("x"))
      print(code(first))
    ]])
  end)

  it("N2 stops reading when nobody takes what came, so that the sender waits", function()
    local folder = support.folder()
    says({ "waits", "all of it" }, ([[
      local c, s = pair("%s/sock")
      local sent = stator.start(c:write(("z"):rep(1048576)))
      await(stator.sleep(1))
      print(sent:state() == "pending" and "waits")
      local bytes = 0
      while bytes < 1048576 do bytes = bytes + #await(s:read()) end
      await(sent)
      print(bytes == 1048576 and "all of it")
    ]]):format(folder))
  end)

  it("N2 ends a loop over lines at the end of the connection", function()
    says({ "1", "2", "3", "left: not a line" }, [[
      local c, s = pair()
      await(c:write("1\n2\n3\nnot a line"))
      c:close()
      for line in s:lines() do print(line) end
      print("left: " .. await(s:read()))
    ]])
  end)

  it("N3 bounds a whole read, however the bytes trickle in", function() -- rivals: a time-out that restarts per chunk
    says({ "timeout\t0.55", "01234", "56789" }, [[
      local c, s = pair()
      stator.spawn(function()
        for i = 0, 9 do await(stator.sleep(0.1)) await(c:write(tostring(i))) end
        await(c:write("\n"))
      end)
      local from = stator.now()
      local ok, e = stator.try(stator.within, 0.55, function() return await(s:read_line()) end)
      print(e.code, ("%.2f"):format(stator.now() - from))
      print(await(s:read(5)))
      print(await(s:read_line()))
    ]])
  end)

  it("N3 aborts a read for good: the next one gets the bytes", function() -- rivals: wake-up after time-out
    says({ "timeout", "late", "timeout", "for the third" }, [[
      local c, s = pair()
      print((select(2, stator.try(stator.within, 0.1, function() return await(s:read_line()) end))).code)
      await(c:write("late\n"))
      await(stator.sleep(0.1))
      print(await(s:read_line()))
      print((select(2, stator.try(stator.within, 0.1, function() return await(s:read(4)) end))).code)
      await(c:write("for the third"))
      print(await(s:read(13)))
    ]])
  end)

  it("N4 writes in the order in which the writers came", function()
    local folder = support.folder()
    says({ "1 2 3 4 5 6 7 8" }, ([[
      local c, s = pair("%s/sock")
      for i = 1, 8 do stator.spawn(function() await(c:write(tostring(i):rep(300000))) end) end
      local order = {}
      for i = 1, 8 do
        for k = 1, 30 do
          local text = await(s:read(10000))
          if text ~= text:sub(1, 1):rep(10000) then print("torn", i, k) end
          if k == 1 then order[i] = text:sub(1, 1) end
        end
      end
      print(table.concat(order, " "))
    ]]):format(folder))
  end)

  it("N4 bounds the writers that wait", function()
    local folder = support.folder()
    says({ "busy", "64 closed" }, ([[
      local c = pair("%s/sock")
      local waiting, closed = {}, 0
      for i = 1, 64 do waiting[i] = stator.start(c:write(("x"):rep(100000))) end
      waiting[65] = stator.start(c:write("x")) -- two have gone at once
      waiting[66] = stator.start(c:write("x"))
      await(stator.sleep(0))
      for i = 67, 70 do waiting[i] = stator.start(c:write("x")) end
      print(code(c:write("x")))
      c:close()
      for i = 1, 70 do closed = closed + (code(waiting[i]) == "closed" and 1 or 0) end
      print(closed .. " closed")
    ]]):format(folder))
  end)

  it("N4 takes a write of which nothing was sent back, and goes on", function()
    local folder = support.folder()
    says({ "timeout", "open, whole" }, ([[
      local c, s = pair("%s/sock")
      local piece, whole, e = ("w"):rep(4096), 0, nil
      repeat
        local ok
        ok, e = stator.try(stator.within, 0.01, function() await(c:write(piece)) end)
        if ok then whole = whole + 1 end
      until not ok
      print(e.code)
      stator.spawn(function() await(c:write("end")) await(c:shutdown()) end)
      local bytes, tail = 0, ""
      repeat
        local ok, text = stator.try(await, s:read())
        if ok then bytes, tail = bytes + #text, text:sub(-3) end
      until not ok
      print(tail == "end" and bytes == whole * 4096 + 3 and "open, whole" or bytes)
    ]]):format(folder))
  end)

  it("N4 takes a writer that waits its turn out of the middle", function()
    local folder = support.folder()
    says({ "timeout", "1048579\tCCC" }, ([[
      local c, s = pair("%s/sock")
      stator.spawn(function() await(c:write(("A"):rep(1048576))) end)
      await(stator.sleep(0))
      local gone = stator.spawn(function()
        print((select(2, stator.try(stator.within, 0.1, function() await(c:write("BBB")) end))).code)
      end)
      stator.spawn(function() await(stator.sleep(0.05)) await(c:write("CCC")) await(c:shutdown()) end)
      await(gone)
      local bytes, tail = 0, ""
      repeat
        local ok, text = stator.try(await, s:read())
        if ok then bytes, tail = bytes + #text, (tail .. text):sub(-3) end
      until not ok
      print(bytes, tail)
    ]]):format(folder))
  end)

  it("N4 closes the connection when a half-sent write is cancelled", function()
    local folder = support.folder()
    says({ "timeout", "closed\tthe connection was closed: a write was cancelled half-way", "closed" }, ([[
      local c, s = pair("%s/sock")
      local other = stator.start(c:read())
      print((select(2, stator.try(stator.within, 0.1, function() await(c:write(("h"):rep(1048576))) end))).code)
      local ok, e = stator.try(await, other)
      print(e.code, e.message)
      print(code(c:write("more")))
    ]]):format(folder))
  end)

  it("N5 loses nothing to a race that it has lost in the same step", function() -- rivals: the loser's bytes are gone
    for what, read in pairs {
      ["line\n"] = "read_line()", ["0123456789"] = "read(10)", ["any"] = "read()", ["text--"] = "read_until('--')",
    } do
      local left = what:gsub("[-\n]", "")
      says({ "first\tone", left }, ([[
        local c1, s1 = pair()
        local c2, s2 = pair()
        stator.spawn(function()
          await(stator.sleep(0.1))
          await(c1:write("one\n")) -- both are there before the next step
          await(c2:write(%q))
        end)
        print(await(stator.race { first = s1:read_line(), second = s2:%s }))
        print(await(s2:%s))
      ]]):format(what, read, read))
    end
  end)

  it("N5 loses nothing when all fails, or the race itself is cancelled, in the same step", function()
    says({ "closed", "two" }, [[
      local c1, s1 = pair()
      local c2, s2 = pair()
      stator.spawn(function() await(stator.sleep(0.1)) await(c2:write("two\n")) c1:close() end)
      print(code(stator.all { s1:read_line(), s2:read_line() }))
      print(await(s2:read_line()))
    ]])
  end)

  it("tells misuse at the script's line", function()
    local cases = {
      { "net.connect('h')", "connect: port: expected a whole number of 1 to 65535, got nil" },
      { "net.connect('h', 70000)", "connect: port: expected a whole number of 1 to 65535, got 70000" },
      { "net.connect { hots = 'h' }", 'connect: unknown option "hots", did you mean "host"?' },
      { "net.connect { unix = '/x', port = 1 }", "connect: expected either unix, or host and port" },
      { "c:read(0)", "read: expected a whole number of 1 to 65536, got 0" },
      { "c:read(70000)", "read: expected a whole number of 1 to 65536, got 70000" },
      { "c:read_line { limti = 4 }", 'read_line: unknown option "limti", did you mean "limit"?' },
      { "c:read_line { limit = 0.5 }", "read_line: limit: expected a whole number of 1 to 65536, got 0.5" },
      { "c:read_until('')", "read_until: expected a delimiter, got an empty text" },
      { "c:write(5)", "write: expected text, got 5" },
      { "c:write(('x'):rep(1048577))", "write: at most 1048576 bytes, got 1048577" },
      { "c:sned('x')", 'a connection has no "sned", did you mean "send"?' },
      { "c:readline()", 'a connection has no "readline", did you mean "read_line"?' },
      { "c:set { keepalive = true }", "set: keepalive: expected a whole number of 1 to 32767, got true" },
      { "net.listen { host = 'localhost', port = 0 }", 'listen: host: expected an address such as "127.0.0.1", got "localhost"' },
      { "net.listen { port = 0, mode = '0600' }", "listen: mode is for unix sockets" },
      { "net.listen { unix = '/x', mode = 600 }", 'listen: mode: expected octal text such as "0660", got 600' },
      { "net.listne()", 'stator.net has no "listne", did you mean "listen"?' },
      { "net.udp { full = 'x' }", 'udp: full: expected "drop_old" or "drop_new", got "x"' },
      { "net.resolve('')", 'resolve: expected a name without zero bytes, got ""' },
      { "net.serve({ port = 0 })", "serve: expected a function, got nil" },
    }
    local body = { "local c, s = pair() local ok, e" }
    for i, case in ipairs(cases) do
      body[#body + 1] = ("ok, e = stator.try(function() %s end) print(%d, e and e.message)"):format(case[1], i)
    end
    local said = run(table.concat(body, "\n"))
    for i, case in ipairs(cases) do
      local line = said[i]
      if case[2]:find('"sned"', 1, true) then
        assert.matches('a connection has no "sned"', line, 1, true)
      else
        assert.matches(case[2], line, 1, true)
        assert.matches("main.lua:" .. (line:match("main.lua:(%d+)") or "no line"), line, 1, true)
      end
    end
    assert.equal(#cases, #said)
  end)

  it("tells its addresses, and takes options", function()
    says({ "true", "127.0.0.1\ttrue", "connection" }, [[
      local l = net.listen { port = 0 }
      local c = await(net.connect { host = "127.0.0.1", port = l:port(), nodelay = false, keepalive = 30 })
      local s = await(l:accept())
      local host, port = c:peer()
      print(select(2, s:local_address()) == port and port == l:port())
      print(host, select(2, c:local_address()) == select(2, s:peer()))
      print(tostring(c:set { nodelay = true, keepalive = false }))
    ]])
  end)

  it("fails with a code when nobody listens", function()
    says({ "refused\tconnect to 127.0.0.1:1: connection refused",
      "refused\tconnect to /tmp/stator-no-such.sock: there is no such socket file" }, [[
      for _, where in ipairs { { host = "127.0.0.1", port = 1 }, { unix = "/tmp/stator-no-such.sock" } } do
        local ok, e = stator.try(await, net.connect(where))
        print(e.code, e.message)
      end
    ]])
  end)
end)

describe("a block", function()
  after_each(support.finish)

  it("N1 closes what was opened in it, however it ends", function()
    local cell = says({ "1 closed", "2 closed", "3 closed", "4 closed" }, [[
      local l = net.listen { port = 0 }
      local n = 0
      local function opened(how)
        local s
        stator.try(stator.within, 1, function()
          local c = await(net.connect("127.0.0.1", l:port()))
          s = await(l:accept()):detach()
          how(c)
        end)
        n = n + 1
        print(n .. " " .. code(s:read()))
        s:close()
      end
      opened(function() end)
      opened(function() error "failed" end)
      opened(function() await(stator.sleep(5)) end)
      opened(function(c) stator.spawn(function() error "a child failed" end) await(c:read()) end)
      l:close()
      await(stator.sleep(0.01))
    ]])
    assert.equal(0, handles(cell))
  end)

  it("N1 lets go of what is detached, and of what was closed", function()
    says({ "still open", "nothing owned" }, [[
      local l = net.listen { port = 0 }
      local c = stator.within(1, function()
        return await(net.connect("127.0.0.1", l:port())):detach()
      end)
      local s = await(l:accept())
      c:attach()
      await(s:write("still open\n"))
      print(await(c:read_line()))
      for i = 1, 100 do await(net.connect("127.0.0.1", l:port())):close() await(l:accept()):close() end
      c:close() s:close() l:close()
      print("nothing owned")
    ]])
  end)

  it("N1 hands on what it returns", function()
    says({ "by within", "by a task", "by an async function", "by a race", "closed" }, [[
      local l = net.listen { port = 0 }
      local function open() return await(net.connect("127.0.0.1", l:port())) end
      local function shows(c, how)
        await(c:write(how .. "\n"))
        print(await(await(l:accept()):read_line()))
      end
      local inner = stator.scope(function()
        shows(stator.within(1, open), "by within")
        shows(await(stator.spawn(open)), "by a task")
        shows(await(stator.async(open)()), "by an async function")
        shows(select(2, await(stator.race { open, stator.sleep(1) })), "by a race")
        return { open() } -- not in a table
      end)
      print(inner[1]:peer() or "closed")
    ]])
  end)

  it("N1 belongs to the block that asked, also through race, all and start", function()
    says({ "open", "true", "false" }, [[
      local l = net.listen { port = 0 }
      local who, c = await(stator.race { net.connect("127.0.0.1", l:port()), stator.sleep(1) })
      local s = await(l:accept())
      local started = stator.start(net.connect("127.0.0.1", l:port()))
      local d = await(started)
      await(c:write("open\n"))
      print(await(s:read_line()))
      print(d:local_address() == "127.0.0.1")
      local inner
      stator.scope(function() inner = await(stator.start(net.connect("127.0.0.1", l:port()))) end)
      print((inner:local_address()) ~= nil)
    ]])
  end)

  it("N1 closes its connections after its cleanup has run", function()
    says({ "bye" }, [[
      local c, s
      stator.scope(function()
        s = select(2, pair()):detach()
      end)
      s:close()
      local l = net.listen { port = 0 }
      stator.try(stator.scope, function()
        local c = await(net.connect("127.0.0.1", l:port()))
        stator.defer(function() await(c:write("bye\n")) end)
        error "failed"
      end)
      print(await(await(l:accept()):read_line()))
    ]])
  end)

  it("N1 leaves what is detached and forgotten to the collector", function()
    local _, _, cell = run([[
      stator.scope(function()
        local c, s = pair()
        c:detach() s:detach()
        net.udp {}:detach()
        net.listen { port = 0 }:detach()
      end)
      await(stator.sleep(1000))
    ]])
    cell:eval "collectgarbage() collectgarbage()"
    cell:advance(0.1)
    assert.equal(0, handles(cell))
  end)

  it("N1 keeps a connection open for a wait of which nobody else knows, and no longer", function()
    local _, _, cell = run([[
      local s
      local function reading()
        local c, other = pair()
        s = other:detach()
        return c:detach():read(4)
      end
      local function writing() return s:write("more") end
      stator.detach("reader", function() print(await(reading())) end)
      await(stator.sleep(20))
      local op = writing()
      s = nil
      await(stator.sleep(20))
      await(op)
    ]])
    local function collect() cell:eval "collectgarbage() collectgarbage()" end
    collect()
    cell:advance(0.1)
    assert.equal(2, handles(cell)) -- one is waited on, the other in a variable
    cell:advance(20)
    collect()
    assert.equal(2, handles(cell)) -- both in operations only
    cell:advance(20)
    assert.same({ "more" }, support.said(cell))
    assert.same({}, support.faults(cell))
    assert.equal(0, handles(cell))
  end)

  it("N1 closes the connections of a task that does not end when it is cancelled", function()
    local said, faults = run [[
      local l = net.listen { port = 0 }
      local c
      stator.spawn(function()
        stator.try(stator.scope, function()
          stator.spawn(function()
            c = await(net.connect("127.0.0.1", l:port()))
            stator.shield(function() await(stator.sleep(8)) end)
          end)
          await(stator.sleep(0.1))
          error "enough"
        end)
      end)
      local s = await(l:accept())
      print(code(s:read()) .. " after " .. math.floor(stator.now()) .. " s")
    ]]
    assert.equal("closed after 1 s", said[#said])
    assert.matches("went on for 1 s after it was cancelled", faults[1])
  end)

  it("N1 closes what belongs to a VM that is lost, and what is detached too", function()
    local folder = support.folder()
    local cell = support.cell {
      main = ([[
local stator = require "stator"
local await, net = stator.await, stator.net
stator.task("t", { restart = { min = 0.1, max = 0.1 } }, function(cmd)
  local n = stator.persist("n", 0)
  cmd:persist("n", n + 1)
  await(cmd:commit())
  local u = net.udp {}
  local l = net.listen { unix = "%s/sock" } -- the file of the lost one is gone, or replaced
  local c = await(net.connect { unix = "%s/sock" }):detach()
  local half = stator.start(c:write(("x"):rep(1048576)))
  local looked = stator.start(net.resolve("slow.test"))
  await(stator.sleep(0.1))
  print("run " .. n)
  if n == 0 then ("x"):rep(60000):find(("x-"):rep(60) .. "y") end
  await(stator.sleep(100))
end)]]):format(folder, folder),
      settings = '"limits": { "slice_soft_ms": 1, "slice_ms": 4 }', patience = os.getenv "STATOR_PRESET" == "asan" and 10 or 3,
    }
    harness.gate(false)
    cell:advance(2)
    harness.gate(true)
    assert.same({ "run 0", "run 1" }, support.said(cell, "^run"))
    assert.equal(1, (select(6, cell:guard())))
    assert.is_true(handles(cell) <= 6, handles(cell)) -- those of the second VM
  end)
end)
