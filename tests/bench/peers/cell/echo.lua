-- The echo work in a cell of its own process: prints its port, and sets a component for each message.
local command = require "stator.command"
local registry = require "stator.registry"
local task = require "stator.task"
local net = require "stator.core.net"

-- luacheck: globals bench_turns
local turns = bench_turns
local Sample = registry.live.components.Sample
local ORDER = registry.order(registry.PHASES.update, 1, 1)

local function serve(conn)
  local e = command:spawn { Sample {} }
  while true do
    local data = task.await(conn:read())
    command:set(e, Sample, { number = #data })
    task.await(conn:write(data))
  end
end

local listener = assert(net.listen("127.0.0.1", 0))
task.spawn({ name = "echo", order = ORDER }, function()
  while true do task.child(serve, { quiet = true }, task.await(listener:accept())) end
end)
io.stdout:write(listener:port(), "\n")
io.stdout:flush()
turns()
