-- The work of device.h in a cell of its own process: asks, stores the reply in a component, waits until it
-- is applied, and reads it back from the world. argument: the device's port.
local port = tonumber((...))
local ffi = require "ffi"
local command = require "stator.command"
local registry = require "stator.registry"
local task = require "stator.task"
local net = require "stator.core.net"

ffi.cdef [[
double bench_now_ns(void);
typedef struct __attribute__((packed)) { uint32_t number; double took_ns; } device_request_t;
typedef struct { double stamp_ns, number, x, y; } device_reply_t;
]]
-- luacheck: globals bench_turns
local turns = bench_turns
local now_ns = ffi.C.bench_now_ns
local Sample = registry.live.components.Sample
local ORDER = registry.order(registry.PHASES.update, 1, 1)
local request, reply = ffi.new "device_request_t", ffi.new "device_reply_t"

local function ask(conn)
  task.await(conn:write(ffi.string(request, ffi.sizeof(request))))
  local data = task.await(conn:read())
  while #data < ffi.sizeof(reply) do data = data .. task.await(conn:read()) end
  ffi.copy(reply, data, ffi.sizeof(reply))
end

task.spawn({ name = "client", order = ORDER }, function()
  local conn = task.await(net.connect("127.0.0.1", port))
  local e = command:spawn { Sample {} }
  while true do
    if not pcall(ask, conn) then os.exit(0) end -- the device has hung up: it has what it wanted
    command:set(e, Sample, { stamp_ns = reply.stamp_ns, number = reply.number, x = reply.x, y = reply.y })
    task.await(command:commit())
    request.took_ns = now_ns() - e:get(Sample).stamp_ns
    request.number = request.number + 1
  end
end)
turns()
