--- What is put into scripts' text when they are compiled: a turn into each loop (stator.turns), the place
--- into each command (stator.receivers). Lines stay as they are. Needs nothing of the host.
local receivers = require "stator.receivers"
local tokens = require "stator.tokens"
local turns = require "stator.turns"

local M = {}

---@param text string
---@param file string? as messages name it; nil: its commands get no place
---@param list table[]? tokens of the text, when they are there
---@return string text
---@return string[] places that it names
function M.text(text, file, list)
  local before, after, places = {}, {}, {}
  list = list or tokens.of(text)
  turns.insert(list, after)
  if file then places = receivers.insert(list, file, before, after) end
  return tokens.weave(text, list, before, after), places
end

return M
