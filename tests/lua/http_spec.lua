-- HTTP against real servers on loopback, good and bad ones; in real time. Nothing here measures time.
local ordinals = require "io_ordinals"
local support = require "support"

local SERVER = "python3 " .. support.root .. "/tests/support/peers/http_server.py"

local function task(port, body)
  return ([[
local stator = require "stator"
local await, http = stator.await, stator.http
local BASE = "http://127.0.0.1:%d"
local function code(...)
  local ok, e = stator.try(await, ...)
  return ok and "ok" or e.code, e.message
end
stator.task("t", { restart = "never" }, function(cmd)
%s
print "END"
end)]]):format(port, body)
end

local function run(port, body, options)
  options = options or {}
  local cell = support.cell { main = task(port, body), virtual = false, files = options.files }
  support.wait_for(cell, "END", 20)
  local said = support.said(cell)
  said[#said] = nil
  assert.same({}, support.faults(cell))
  return said, cell
end

describe("stator.http", function()
  local server

  setup(function() server = support.start_peer(SERVER) end)
  teardown(support.stop_peers)
  after_each(support.finish)

  it("Y10: answers status, headers in lower case and body; any status is a result", function()
    assert.same({ "200\tapplication/json\t2\ta, b\t{}", "404\t{}" }, run(server.port, [[
      local r = await(http.get(BASE .. "/repeated"))
      print(r.status, r.headers["content-type"], r.headers["content-length"], r.headers["x-one"], r.body)
      r = await(http.get(BASE .. "/missing"))
      print(r.status, r.body)]]))
  end)

  it("Y10: sends what it was given, a table as JSON", function()
    assert.same({ 'POST\tapplication/json\t{"hot":true}', "PUT\ttext/plain\tx\tyes\tnil\tstator", "POST\tnil\traw", "DELETE\t\t",
      "HEAD\t200\t", "POST\t0" }, run(server.port, [[
      local r = await(http.post(BASE .. "/echo", { hot = true })):json()
      print(r.method, r.headers["content-type"], r.body)
      r = await(http.request { method = "PUT", url = BASE .. "/echo", body = "x",
        headers = { ["Content-Type"] = "text/plain", ["X-Own"] = "yes" } }):json()
      print(r.method, r.headers["content-type"], r.body, r.headers["x-own"], r.headers.expect, r.headers["user-agent"])
      r = await(http.post(BASE .. "/echo", "raw", { headers = { ["Content-Type"] = "" } })):json()
      print(r.method, r.headers["content-type"] ~= "" and r.headers["content-type"] or nil, r.body)
      r = await(http.request { method = "DELETE", url = BASE .. "/echo" }):json()
      print(r.method, r.headers["content-type"] or "", r.body)
      r = await(http.request { method = "HEAD", url = BASE .. "/echo" })
      print("HEAD", r.status, r.body)
      r = await(http.request { method = "POST", url = BASE .. "/echo" }):json()
      print(r.method, r.headers["content-length"])]]))
  end)

  it("Y11: follows no redirect unless told how many, and none to a file", function()
    assert.same({ "302\t/echo", "200\tGET", "limit", "protocol" }, run(server.port, [[
      local r = await(http.get(BASE .. "/redirect"))
      print(r.status, r.headers.location)
      r = await(http.get(BASE .. "/redirect", { redirects = 1 }))
      print(r.status, r:json().method)
      print((code(http.get(BASE .. "/round", { redirects = 5 }))))
      print((code(http.get(BASE .. "/to-file", { redirects = 5 }))))]]))
  end)

  it("Y12: fails with a code for each way in which a server fails", function()
    local said = run(server.port, [[
      print(code(http.get "http://127.0.0.1:1/"))
      print(code(http.get "http://no-such-host.invalid/"))
      print(code(http.get(BASE .. "/close")))
      print(code(http.get(BASE .. "/half")))
      print(code(http.get(BASE .. "/garbage")))
      print(code(http.get(BASE .. "/silent", { timeout = 0.1 })))
      print(code(http.get(BASE .. "/big", { max_bytes = 4999 })))
      print(code(http.get(BASE .. "/big", { max_bytes = 5000 })))
      print(code(http.get(BASE .. "/endless", { max_bytes = 100000 })))
      print(code(http.get(BASE .. "/endless-headers")))
      print(code(http.get((BASE:gsub("http", "https")) .. "/echo")))]])
    local codes = {}
    for i, line in ipairs(said) do codes[i] = line:match "^%w+" end
    assert.same({ "refused", "dns", "closed", "closed", "protocol", "timeout", "limit", "ok", "limit", "limit", "tls" }, codes)
    assert.matches("^refused\tGET http://127.0.0.1:1/: ", said[1])
    assert.equal("timeout\thttp: not done within 0.1 s", said[6])
    assert.matches("more than 4999 bytes of body", said[7])
    assert.matches("more than 65536 bytes of headers", said[10])
  end)

  it("Y13: a deadline is one for the whole request, however the bytes drip in, and really ends it", function()
    assert.same({ "timeout", "timeout of a block", "enough", "gone" }, run(server.port, [[
      local before = tonumber(await(http.get(BASE .. "/gone")).body)
      print((code(http.get(BASE .. "/drip", { timeout = 0.15 }))))
      local _, e = stator.try(stator.within, 0.1, await, http.get(BASE .. "/silent"))
      print(e.code .. " of a block")
      _, e = stator.try(stator.scope, function()
        for i = 1, 3 do stator.start(http.get(BASE .. "/silent")) end
        await(stator.sleep(0.1))
        stator.fail("enough")
      end)
      print(e.code)
      while tonumber(await(http.get(BASE .. "/gone")).body) < before + 5 do await(stator.sleep(0.01)) end
      print "gone" -- the server saw all five connections close]]))
  end)

  it("Y14: runs a bounded number at once, the others wait in order, and are given up with their scope", function()
    assert.same({ "32\t0", "100\t200" }, run(server.port, [[
      local before = tonumber(await(http.get(BASE .. "/gone")).body)
      stator.try(stator.scope, function()
        for i = 1, 100 do stator.start(http.get(BASE .. "/silent")) end
        await(stator.sleep(0.2))
        stator.fail("enough")
      end)
      local gone = 0
      while gone < 32 do
        await(stator.sleep(0.01))
        gone = tonumber(await(http.get(BASE .. "/gone")).body) - before
      end
      await(stator.sleep(0.05))
      print(gone, tonumber(await(http.get(BASE .. "/gone")).body) - before - 32)
      local list, done, sum = {}, 0, 0
      for i = 1, 100 do list[i] = stator.start(http.get(BASE .. "/echo")) end
      for i = 1, 100 do
        local r = await(list[i])
        done, sum = done + 1, sum + r.status
      end
      print(done, sum / 100)]]))
  end)

  it("uses a connection again", function()
    assert.same({ "1" }, run(server.port, [[
      local before = tonumber(await(http.get(BASE .. "/connections")).body)
      for i = 1, 20 do await(http.get(BASE .. "/echo")) end
      print(tonumber(await(http.get(BASE .. "/connections")).body) - before + 1)]]))
  end)

  it("asks on a new connection when the server has just closed the one that was kept", function()
    assert.same({ "200" }, run(server.port, [[
      local answered = 0
      for i = 1, 200 do
        local ok, e = stator.try(await, http.get(BASE .. "/once"))
        if ok then answered = answered + 1 else print(e.code, e.message) end
      end
      print(answered)]]))
  end)

  it("names the place when a body is no JSON", function()
    local said = run(server.port, [[
      local r = await(http.get(BASE .. "/notjson"))
      local _, e = pcall(r.json, r)
      print(e.code, e.message)]])
    assert.matches("^json\tmain.lua:%d+: line 2, column 8: ", said[1])
  end)

  it("refuses misuse at the script's line", function()
    local said = run(server.port, [[
      local function told(...) print((select(2, pcall(...)))) end
      told(http.get, "ftp://x/")
      told(http.get, "http:///x")
      told(http.get, "http://x/ y")
      told(http.get, BASE, { header = {} })
      told(http.get, BASE, { headers = { ["X-A"] = "1\r\nX-B: 2" } })
      told(http.get, BASE, { headers = { ["X A"] = "1" } })
      told(http.get, BASE, { headers = { ["Content-Length"] = "1" } })
      told(http.get, BASE, { timeout = 0 })
      told(http.request, { method = "get", url = BASE })
      told(http.request, { url = BASE, body = "x", json = {}, method = "POST" })
      told(http.post, BASE, print)]])
    assert.matches("main.lua:%d+: http.get: expected a URL that begins with http://", said[1])
    assert.matches("expected a URL", said[2])
    assert.matches("no spaces", said[3])
    assert.matches('unknown option "header", did you mean "headers"', said[4])
    assert.matches("headers: X%-A: expected a text of one line", said[5])
    assert.matches('"X A" is no name of a header', said[6])
    assert.matches('"Content%-Length" is no name of a header that can be set', said[7])
    assert.matches("timeout: expected a number", said[8])
    assert.matches("method: expected GET, HEAD", said[9])
    assert.matches("body or json, not both", said[10])
    assert.matches("body: expected a text, got a function", said[11])
  end)

  it("Y11: takes no proxy from the environment", function()
    local scene = support.scene { scripts = { ["main.lua"] = task(server.port, [[
      print(await(http.get(BASE .. "/echo")).status)
      print((code(http.get(BASE .. "/echo", { proxy = "environment" }))))]]) } }
    local out = support.shell(("http_proxy=http://127.0.0.1:1 timeout 20 %s run %s --ticks 100"):format(support.binary, scene))
    assert.matches("main/t: 200", out)
    assert.matches("main/t: refused", out)
  end)

  it("the VM that is lost takes its requests with it", function()
    local cell = support.cell { main = ([[
      local stator = require "stator"
      stator.task("asks", { restart = "never" }, function()
        stator.await(stator.http.get "http://127.0.0.1:%d/silent")
      end)
      stator.task("loses", { restart = "never" }, function()
        stator.await(stator.sleep(0.1));
        ("x"):rep(60):find(("x*"):rep(40) .. "y")
      end)]]):format(server.port), virtual = false, patience = 1 }
    support.wait_for(cell, "VM is given up", 20)
    support.finish()
  end)

  it("the host's end closes what still runs", function()
    local cell = support.cell { main = task(server.port, [[await(http.get(BASE .. "/silent"))]]), virtual = false }
    cell:advance(0.1)
    cell:close()
  end)

  it("survives failure, cancel, time-out and despawn at every await", function()
    local awaits = ordinals.check { port = server.port, run = [[
        step(stator.http.get(BASE .. "/echo"))
        step(stator.all { stator.http.get(BASE .. "/echo"), stator.http.post(BASE .. "/echo", { 1 }) })
        step(stator.race { stator.http.get(BASE .. "/silent"), stator.http.get(BASE .. "/echo") })
        step(stator.race { stator.http.get(BASE .. "/drip"), stator.http.get("http://localhost:" .. P.port .. "/echo") })]] }
    assert.equal(4, awaits)
  end)
end)

describe("stator.http with TLS", function()
  local server, folder

  setup(function()
    folder = support.shell("mktemp -d /tmp/stator-spec-XXXXXX"):gsub("%s+$", "")
    support.shell(("cd %s && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -keyout key "
      .. "-out cert -subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1 2>&1"):format(folder))
    server = support.start_peer(("%s %s/cert %s/key"):format(SERVER, folder, folder))
  end)
  teardown(function()
    support.stop_peers()
    os.execute("rm -rf " .. folder)
  end)
  after_each(support.finish)

  it("Y15: trusts only whom it is told to, under the right name", function()
    assert.same({ "tls", "200", "POST\t200", "no file\ttls", "timeout" }, run(server.port, [[
      local url = "https://127.0.0.1:" .. BASE:match "%d+$" .. "/echo"
      print((code(http.get(url))))
      print(await(http.get(url, { ca = "own.pem" })).status)
      print("POST", await(http.post(url, { 1 }, { ca = "own.pem" })).status)
      print("no file", (code(http.get(url, { ca = "none.pem" }))))
      print((code(http.get((url:gsub("echo", "silent")), { ca = "own.pem", timeout = 0.2 }))))]],
      { files = { ["own.pem"] = support.read(folder .. "/cert") } }))
  end)

  it("Y15: refuses a name that the certificate does not have", function()
    assert.same({ "tls" }, run(server.port, [[
      print((code(http.get("https://ip6-localhost.localhost:" .. BASE:match "%d+$" .. "/echo", { ca = "own.pem" }))))]],
      { files = { ["own.pem"] = support.read(folder .. "/cert") } }))
  end)

  it("survives failure, cancel, time-out and despawn at every await", function()
    assert.equal(1, ordinals.check { port = server.port, files = { ["own.pem"] = support.read(folder .. "/cert") }, run = [[
        step(stator.http.get("https://localhost:" .. P.port .. "/echo", { ca = "own.pem" }))]] })
  end)
end)
