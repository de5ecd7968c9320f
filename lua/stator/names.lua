--- Tables of functions that scripts see as `stator.NAME`: read-only, with the nearest name for a wrong one.
local err = require "stator.err"

local M = {}

--- A table of `functions` that scripts cannot change.
---@param what string "stator.file"
---@param functions table<string, any>
---@return table
function M.fixed(what, functions)
  local names = {}
  for name in pairs(functions) do names[#names + 1] = name end
  table.sort(names)
  return setmetatable({}, {
    __index = function(_, key)
      local value = functions[key]
      if value ~= nil then return value end
      err.raise(('%s has no "%s"%s'):format(what, tostring(key), err.nearest(tostring(key), names)))
    end,
    __newindex = function() err.raise(what .. " cannot be changed") end,
    __metatable = what,
  })
end

--- A number between two limits, or `default` when it is nil. Raises at the script's line.
---@return number
function M.number(what, value, default, low, high)
  if value == nil then return default end
  if type(value) ~= "number" or not (value >= low and value <= high) then
    err.raise(("%s: expected a number from %.15g to %.15g, got %s"):format(what, low, high, err.shown(value)))
  end
  return value
end

--- Text without zero bytes of at most `bytes`, not empty.
---@return string
function M.text(what, value, bytes)
  if type(value) ~= "string" or value == "" or #value > bytes or value:find "%z" then
    err.raise(("%s: expected a text of 1 to %d bytes without zero bytes, got %s"):format(what, bytes, err.shown(value)))
  end
  return value
end

return M
