--- Plain data: what has a meaning outside of its VM. Numbers, texts, booleans and tables of them. Also
--- for states that have nothing else of stator, see worker.lua.
local DEPTH_MAX = 32
local PLAIN = { number = true, string = true, boolean = true }

local M = {}

--- What is not plain in a value, as a text that begins with its path; nil when all is.
---@return string?
function M.problem(value, path, depth)
  local kind = type(value)
  if PLAIN[kind] or value == nil then return nil end
  if kind ~= "table" then return ("%s is a %s"):format(path, kind) end
  if getmetatable(value) ~= nil then return path .. " has a metatable" end
  depth = depth or 0
  if depth == DEPTH_MAX then return ("%s: nested more than %d deep"):format(path, DEPTH_MAX) end
  for k, v in pairs(value) do
    if not PLAIN[type(k)] then return ("%s has a %s as a key"):format(path, type(k)) end
    local problem = M.problem(v, ("%s[%s]"):format(path, tostring(k)), depth + 1)
    if problem then return problem end
  end
end

return M
