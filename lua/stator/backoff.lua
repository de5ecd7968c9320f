--- Growing pauses between tries. Jitter spreads tasks that failed together; it comes from names and
--- numbers, so the same run has the same pauses.
local bit = require "bit"

local M = {}

local UINT32 = 2 ^ 32

--- FNV-1a with a final mix, as a whole number of 32 bits.
local function hash(text)
  local h = bit.tobit(0x811c9dc5)
  for i = 1, #text do
    h = bit.bxor(h, text:byte(i))
    h = bit.tobit(bit.lshift(h, 24) + h * 403) -- times the prime 2^24 + 403, in numbers that are exact
  end
  h = bit.bxor(h, bit.rshift(h, 15))
  return h % UINT32
end

--- Pause in seconds after the n-th failure in a row: min, 2 min, 4 min, up to max, less up to `jitter` of it.
---@param n integer from 1
---@param min number
---@param max number
---@param jitter number 0 to 1
---@param seed string
function M.pause(n, min, max, jitter, seed)
  local pause = math.min(max, min * 2 ^ math.min(n - 1, 1000))
  if jitter == 0 then return pause end
  return pause * (1 - jitter * hash(seed .. "#" .. n) / UINT32)
end

return M
