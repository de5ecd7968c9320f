--- What is put into scripts' text when they are loaded: a turn into each loop (stator.turns), the place
--- into each command (stator.places). Lines stay as they are.
local places = require "stator.places"
local tokens = require "stator.tokens"
local turns = require "stator.turns"

local M = {}

--- The names that such text calls, for its environment.
M.NAMES = { [turns.NAME] = turns.turn, [places.NAME] = places.at }

---@param text string
---@param file string? as messages name it; nil: its commands get no place
---@return string
function M.text(text, file)
  local list, before, after, parts, from = tokens.of(text), {}, {}, {}, 1
  turns.insert(list, after)
  if file then places.insert(list, file, before, after) end
  for i, token in ipairs(list) do
    if before[i] then
      parts[#parts + 1] = text:sub(from, token.last - #token.text) .. before[i]
      from = token.last - #token.text + 1
    end
    if after[i] then
      parts[#parts + 1] = text:sub(from, token.last) .. after[i]
      from = token.last + 1
    end
  end
  parts[#parts + 1] = text:sub(from)
  return table.concat(parts)
end

return M
