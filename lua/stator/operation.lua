--- Operations that lua/stator runs itself: tables { kind, fn, arguments... } with a mark in the host,
--- which tells whether they were used. Those of the host are handles; both have the same methods.
local core = require "stator.core.task"
local err = require "stator.err"

---@class stator.Operation
---@field [1] "run"|"begin"|"paired" "run": fn runs in the awaiting task, or in one of its own when it is
---  combined; "begin": fn answers a future, and a function that takes it back; "paired": both, see task.paired
---@field [2] function|table
---@field n integer length with the arguments, from the third on
---@field mark userdata
local Operation = {}
Operation.__index = Operation
Operation.__metatable = "operation"
core.operation_metatable(Operation)

local M = {}

---@return stator.Operation
function M.new(kind, fn, ...)
  if not core.current() then err.raise(select(2, pcall(core.operation))) end -- at the script's line, not at this one
  return setmetatable({ kind, fn, mark = core.operation(), n = 2 + select("#", ...), ... }, Operation)
end

--- Marks it used and answers it. Raises when it was used before.
function Operation:use()
  self.mark:use()
  return self
end

--- It became part of another operation, which has to be used in its place.
function Operation:claim() self.mark:claim() end

--- A number in the order of making.
function Operation:sequence() return self.mark:sequence() end

--- Whether it is one of these.
function M.is(x) return type(x) == "table" and core.is(x) ~= nil end

return M
