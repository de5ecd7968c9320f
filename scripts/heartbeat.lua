-- A counter for devices that watch the host: bind Heartbeat.count of an entity to a register. It
-- moves in the tick, so it stands still when the tick does.
local stator = require "stator"

local Heartbeat = stator.component("Heartbeat", { "uint16_t count" })
local P = stator.params { period_s = 0.5 }

stator.system("beat", { write = { Heartbeat }, every = P.period_s }, function(cmd, q, tick)
  for first, last, beats in q:chunks() do
    for i = first, last do
      local beat = beats[i]
      beat.count = (beat.count + 1) % 65536
    end
  end
end)
