--- What scripts see by name: tables of functions (`stator.NAME`) and objects, which answer a wrong name with the
--- nearest one; and checks of what scripts pass.
local err = require "stator.err"

local M = {}

--- Raises for a name that something has not.
---@param what string "stator.file", "a channel"
---@param members table<string, any> what it has
function M.missing(what, key, members)
  local names = {}
  for name in pairs(members) do names[#names + 1] = name end
  table.sort(names)
  err.raise(('%s has no "%s"%s'):format(what, tostring(key), err.nearest(tostring(key), names)))
end

--- A table of `members` that scripts cannot change.
---@param what string "stator.file"
---@param members table<string, any>
---@return table
function M.fixed(what, members)
  return setmetatable({}, {
    __index = function(_, key)
      local value = members[key]
      if value == nil then M.missing(what, key, members) end
      return value
    end,
    __newindex = function() err.raise(what .. " cannot be changed") end,
    __metatable = what,
  })
end

--- Metatable of the objects of a class.
---@param noun string what messages call one: "channel"
---@param methods table<string, function>
---@return table
function M.class(noun, methods)
  local what = (noun:find "^[aeiou]" and "an " or "a ") .. noun
  setmetatable(methods, { __index = function(_, key) M.missing(what, key, methods) end })
  return { __index = methods, __metatable = noun, __tostring = function() return noun end }
end

--- The same of objects without fields of their own, which scripts cannot change.
---@return table
function M.fixed_class(noun, methods)
  local class = M.class(noun, methods)
  class.__newindex = function() err.raise(("a %s cannot be changed"):format(noun)) end
  return class
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

--- A whole number between two limits. Raises at the script's line.
---@return integer
function M.whole(what, value, low, high)
  if type(value) == "number" and value >= low and value <= high and value % 1 == 0 then return value end
  err.raise(("%s: expected a whole number of %d to %d, got %s"):format(what, low, high, err.shown(value)))
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
