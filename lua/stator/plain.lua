--- Plain data: what can be copied by value, to be kept beyond the VM's life or to go from one script to
--- another, whose environments are apart. Numbers, texts, booleans and tables of them.
local buffer = require "string.buffer"
local err = require "stator.err"

local DEPTH_MAX = 32
local PLAIN = { number = true, string = true, boolean = true }

local M = {}

--- Raises when a value is more than plain data.
---@param what string for the message: "persist"
---@param path string how the value is called there
---@param wanted string why it has to be plain: "can be kept"
function M.check(what, value, path, wanted, depth)
  depth = depth or 0
  local kind = type(value)
  if PLAIN[kind] or value == nil then return end
  local function refuse(text) err.raise(("%s: %s%s"):format(what, path, text)) end
  if kind ~= "table" then refuse((" is a %s: only plain data %s"):format(kind, wanted)) end
  if getmetatable(value) ~= nil then refuse((" has a metatable: only plain data %s"):format(wanted)) end
  if depth == DEPTH_MAX then refuse((": nested more than %d deep"):format(DEPTH_MAX)) end
  for k, v in pairs(value) do
    if not PLAIN[type(k)] then refuse(" has a " .. type(k) .. " as a key") end
    M.check(what, v, ("%s[%s]"):format(path, tostring(k)), wanted, depth + 1)
  end
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
