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
  local list, before, after = tokens.of(text), {}, {}
  turns.insert(list, after)
  if file then places.insert(list, file, before, after) end
  return tokens.weave(text, list, before, after)
end

return M
