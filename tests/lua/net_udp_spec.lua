-- stator.net.udp: N8 of docs/semantics.md, and N5 for datagrams.
local support = require "support"

local BEFORE = [[
local net = stator.net
local function code(op) local ok, e = stator.try(await, op) return ok and "ok" or e.code end
]]

local function says(expected, body)
  local said, faults, cell = support.run_task(body, { before = BEFORE })
  assert.same({ expected, {} }, { said, faults })
  return cell
end

describe("a socket for datagrams", function()
  after_each(support.finish)

  it("N8 sends and receives, with the sender's address", function()
    local cell = says({ "one\t127.0.0.1\ttrue", "two", "", "v6\t::1", "true" }, [[
      stator.scope(function()
        local a, b = net.udp {}, net.udp { port = 0 }
        await(a:send("one", "127.0.0.1", b:port()))
        local text, host, port = await(b:receive())
        print(text, host, port == a:port())
        await(b:send("two", host, port))
        await(b:send("", host, port))
        print((await(a:receive())))
        print((await(a:receive())))
        local c, d = net.udp { host = "::1" }, net.udp { host = "::1" }
        await(c:send("v6", "::1", d:port()))
        print(await(d:receive()), (select(2, c:local_address())) == nil and "" or "::1")
        print(a:counts().sent == 1 and a:counts().received == 2)
      end)
    ]])
    assert.equal(0, (select(4, cell:counts())))
  end)

  it("N8 drops the oldest when its queue is full, or the new ones, and counts", function()
    says({ "drop_old: 8 9 10, 7 dropped", "drop_new: 1 2 3, 7 dropped" }, [[
      for _, full in ipairs { "drop_old", "drop_new" } do
        local a, b = net.udp {}, net.udp { queue = 3, full = full }
        for i = 1, 10 do await(a:send(tostring(i), "127.0.0.1", b:port())) end
        await(stator.sleep(0.1))
        local got, counts = {}, b:counts()
        for i = 1, 3 do got[i] = await(b:receive()) end
        print(("%s: %s, %d dropped"):format(full, table.concat(got, " "), counts.dropped))
        if counts.received ~= 10 or counts.waiting ~= 3 or b:counts().waiting ~= 0 then print "wrong counts" end
      end
    ]])
  end)

  it("N8 fails a datagram that is too long, and goes on", function()
    says({ "too_long", "65507", "short" }, [[
      local a, b = net.udp {}, net.udp {}
      print(code(a:send(("x"):rep(65508), "127.0.0.1", b:port())))
      await(a:send(("x"):rep(65507), "127.0.0.1", b:port()))
      await(a:send("short", "127.0.0.1", b:port()))
      print(#await(b:receive()))
      print((await(b:receive())))
    ]])
  end)

  it("N8 gives datagrams to those who wait in the order in which they came", function()
    says({ "timeout", "1 a", "2 b", "closed" }, [[
      local a, b = net.udp {}, net.udp {}
      print((select(2, stator.try(stator.within, 0.1, function() return await(b:receive()) end))).code)
      stator.scope(function()
        for i = 1, 2 do stator.spawn(function() print(i .. " " .. await(b:receive())) end) end
        await(stator.sleep(0.01))
        await(a:send("a", "127.0.0.1", b:port()))
        await(a:send("b", "127.0.0.1", b:port()))
      end)
      local waits = stator.start(b:receive())
      b:close()
      print(code(waits))
    ]])
  end)

  it("N5 keeps a datagram that lost a race in the same step", function()
    says({ "first", "second\t127.0.0.1\ttrue", "third" }, [[
      local a, b, c = net.udp {}, net.udp {}, net.udp {}
      stator.spawn(function()
        await(stator.sleep(0.1))
        await(a:send("first", "127.0.0.1", b:port()))
        await(a:send("second", "127.0.0.1", c:port()))
        await(a:send("third", "127.0.0.1", c:port()))
      end)
      print((await(stator.race { first = b:receive(), second = c:receive() })))
      local text, host, port = await(c:receive())
      print(text, host, port == a:port())
      print((await(c:receive())))
    ]])
  end)

  it("N8 joins a multicast group, whose port is shared", function()
    says({ "to all", "to all too" }, [[
      local group = { host = "0.0.0.0", group = "239.255.17.5", interface = "127.0.0.1" }
      local a = net.udp(group)
      group.port = a:port()
      local b = net.udp(group)
      local c = net.udp { host = "0.0.0.0", group = "239.255.17.5", interface = "127.0.0.1" }
      await(c:send("to all", "239.255.17.5", a:port()))
      print((await(a:receive())))
      print((await(b:receive())) .. " too")
    ]])
  end)

  it("N8 sends to broadcast addresses only when asked to", function()
    says({ "denied", "ok" }, [[
      local a, b = net.udp { host = "0.0.0.0" }, net.udp { host = "0.0.0.0", broadcast = true }
      print(code(a:send("x", "127.255.255.255", 9)))
      print(code(b:send("x", "127.255.255.255", 9)))
    ]])
  end)

  it("N8 refuses an address that it cannot bind", function()
    says({ "in_use" }, [[
      local a = net.udp {}
      print((select(2, stator.try(net.udp, { port = a:port() }))).code)
    ]])
  end)
end)
