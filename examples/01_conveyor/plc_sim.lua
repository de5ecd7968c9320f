-- The PLC and the belt behind it, for as long as "simulate" stands in the scene. `plc` holds what a
-- Modbus client sees: coils, discrete inputs, holding and input registers, by address.
local stator = require "stator"

local SPEED_M_S, GAP_M = 0.25, 0.4 -- of the belt; between parts
local EYE_M, PART_M = 0.5, 0.06 -- where the eye looks; how long a part is
local CUT_AT_S = 6 -- when the cable is pulled, once

return function(plc)
  local parts, made, cut = {}, 0, false
  local since_last_m = GAP_M
  local extend_m = 0
  for tick in stator.every(0.01) do
    local step_m = plc.coils[5] and SPEED_M_S * 0.01 or 0
    since_last_m = since_last_m + step_m
    if since_last_m >= GAP_M then
      made, since_last_m = made + 1, 0
      parts[#parts + 1] = { at_m = 0, height_mm = made % 3 == 0 and 80 or 40 + made % 2 }
    end
    plc.discrete[3] = false
    for _, part in ipairs(parts) do
      part.at_m = part.at_m + step_m
      if part.at_m >= EYE_M and part.at_m < EYE_M + PART_M then
        plc.discrete[3], plc.input[10] = true, part.height_mm
      end
    end
    if parts[1] and parts[1].at_m > 1 then table.remove(parts, 1) end
    extend_m = math.max(0, math.min(0.1, extend_m + (plc.coils[6] and 0.004 or -0.004)))
    plc.discrete[4] = extend_m >= 0.1
    if tick.now_s >= CUT_AT_S and not cut then
      cut = true
      plc:cut()
    end
  end
end
