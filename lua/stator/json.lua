--- JSON for payloads: at most 64 levels deep, texts of at most 4 MiB.
---
---   local t = stator.json.decode(text)        -- raises an error with code "json": "line 3, column 7: ..."
---   local text = stator.json.encode(t)        -- members sorted by name: the same text every time
local core = require "stator.core.json"
local err = require "stator.err"
local names = require "stator.names"

local TEXT_MAX = 4 * 2 ^ 20

--- Marks a table as an array, for one that may be empty.
local Array = {}
core.array(Array)

local M = {}

--- The value of a JSON text. Objects and arrays are tables, null is stator.json.null. Numbers are
--- doubles; duplicate names are refused.
---@param text string
---@return any
function M.decode(text)
  if type(text) ~= "string" then err.raise("json.decode: expected text, got " .. err.shown(text)) end
  if #text > TEXT_MAX then err.raise(("json.decode: at most 4 MiB, got %d bytes"):format(#text), "limit") end
  local value, message, line, column = core.decode(text)
  if message then err.raise(("line %d, column %d: %s"):format(line, column, message), "json") end
  return value
end

--- JSON of a value. A table with the indexes 1 to n is an array, one with names an object; an empty one is
--- an object unless stator.json.array made it. Raises an error with code "json" that names the place.
---@param value any
---@return string
function M.encode(value)
  local text, message = core.encode(value, TEXT_MAX)
  if not text then err.raise("json.encode: " .. message, "json") end
  return text
end

--- The table itself, as one that is encoded as an array also when it is empty.
---@param list table? a new one when left out
---@return table
function M.array(list)
  if list ~= nil and (type(list) ~= "table" or getmetatable(list) ~= nil) then
    err.raise("json.array: expected a plain table, got " .. err.shown(list))
  end
  return setmetatable(list or {}, Array)
end

M.api = names.fixed("stator.json", { decode = M.decode, encode = M.encode, array = M.array, null = core.null })

return M
