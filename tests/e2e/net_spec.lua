-- stator.net between processes: a client that is not ours, a server that is killed, one that ends in order.
local support = require "support"

local CLIENT = [[
import socket, sys, time
for _ in range(200):
    try:
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(10)
        s.connect(sys.argv[1])
        break
    except OSError:
        time.sleep(0.05)
s.sendall(b"hello\nwor")
s.sendall(b"ld\n")
data = b""
while data.count(b"\n") < 2:
    data += s.recv(100)
s.shutdown(socket.SHUT_WR)
assert s.recv(100) == b""
sys.stdout.write(data.decode())
]]

describe("a server on a unix socket", function()
  local pids = {}

  after_each(function()
    for _, pid in ipairs(pids) do os.execute(("kill -9 %d 2>/dev/null"):format(pid)) end
    pids = {}
    support.finish()
  end)

  local function start(path, folder, name)
    os.execute(("%s run %s > %s/%s.out 2>&1 < /dev/null & echo $! > %s/%s.pid"):format(support.binary, path, folder, name, folder, name))
    local pid = tonumber(support.read(folder .. "/" .. name .. ".pid"))
    pids[#pids + 1] = pid
    return pid
  end

  it("serves a foreign client, is replaced after a kill, and takes its file away in the end", function()
    local path, folder = support.scene { scripts = { ["main.lua"] = [[
local stator = require "stator"
stator.task("serve", {}, function()
  stator.net.serve({ unix = "SOCK" }, function(conn)
    for line in conn:lines() do stator.await(conn:write(line:upper() .. "\n")) end
  end)
end)]] } }
    local script = support.read(folder .. "/main.lua"):gsub("SOCK", folder .. "/sock")
    support.write(folder .. "/main.lua", script)
    support.write(folder .. "/client.py", CLIENT)
    local client = ("python3 %s/client.py %s/sock"):format(folder, folder)

    local first = start(path, folder, "first")
    assert.equal("HELLO\nWORLD\n", (support.shell(client)))
    support.shell(("kill -9 %d; while kill -0 %d 2>/dev/null; do sleep 0.05; done"):format(first, first))
    assert.matches("sock", (support.shell("ls " .. folder))) -- it could not take it away

    local second = start(path, folder, "second")
    assert.equal("HELLO\nWORLD\n", (support.shell(client)))
    support.shell(("kill -TERM %d; while kill -0 %d 2>/dev/null; do sleep 0.05; done"):format(second, second))
    assert.not_matches("sock", (support.shell("ls " .. folder)))
    assert.matches("ended in order", support.read(folder .. "/second.out"))
  end)
end)
