-- The PLC and what it drives, for as long as "simulate" stands in the scene: an axis between feeder (0 mm)
-- and tray, a gripper, and a feeder that has the next part as soon as one was taken away.
local stator = require "stator"

local PERIOD_S, CLOSE_S, FEED_S = 0.01, 0.1, 0.2

return function(plc)
  local at_mm, closing_s, fed_s, holds = 0, 0, 0, false
  for _ in stator.every(PERIOD_S) do
    local way = (plc.holding[0] or 0) - at_mm
    local step = math.min(math.abs(way), (plc.holding[1] or 0) * PERIOD_S)
    at_mm = at_mm + (way > 0 and step or -step)
    fed_s = fed_s + PERIOD_S
    local part = fed_s >= FEED_S
    closing_s = plc.coils[0] and closing_s + PERIOD_S or 0
    if not plc.coils[0] then
      holds = false
    elseif closing_s >= CLOSE_S and at_mm == 0 and part and not holds then
      holds, part, fed_s = true, false, 0
    end
    plc.input[0] = math.floor(at_mm + 0.5)
    plc.discrete[0], plc.discrete[1] = holds, part
  end
end
