--- Copies by value: what is kept beyond the VM's life, or goes from one script to another, whose environments
--- are apart, is plain data.
local buffer = require "string.buffer"
local err = require "stator.err"
local plain = require "stator.plain"

local M = {}

--- Raises when a value is more than plain data.
---@param what string for the message: "persist"
---@param path string how the value is called there
---@param wanted string why it has to be plain: "can be kept"
function M.check(what, value, path, wanted)
  local problem = plain.problem(value, path)
  if problem then err.raise(("%s: %s: only plain data %s"):format(what, problem, wanted)) end
end

--- The values as bytes, each checked; for unpack.
---@param name string how the k-th is called: "argument"
function M.pack(what, name, wanted, ...)
  local n = select("#", ...)
  for i = 1, n do M.check(what, (select(i, ...)), ("%s %d"):format(name, i), wanted) end
  return buffer.encode({ n = n, ... })
end

--- Fresh copies of the values.
function M.unpack(bytes)
  local list = buffer.decode(bytes)
  return unpack(list, 1, list.n)
end

return M
