--- Tables as one line of JSON, for answers of the control socket. Members come in the order of their
--- names, so the same value gives the same line. A table with [1] is a list, and so is M.list(t).
local M = {}

local LIST = {}
local DEPTH_MAX = 64
local ESCAPES = { ['"'] = '\\"', ["\\"] = "\\\\", ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t" }

--- Marks a table as a list, so that an empty one is written as [].
function M.list(t) return setmetatable(t, LIST) end

local function quote(text)
  return '"' .. text:gsub('[%c"\\\127]', function(c) return ESCAPES[c] or ("\\u%04x"):format(c:byte()) end) .. '"'
end

local encode

local function encode_list(t, out, depth)
  out[#out + 1] = "["
  for i = 1, #t do
    if i > 1 then out[#out + 1] = "," end
    encode(t[i], out, depth + 1)
  end
  out[#out + 1] = "]"
end

local function encode_object(t, out, depth)
  local names = {}
  for name in pairs(t) do names[#names + 1] = name end
  table.sort(names)
  out[#out + 1] = "{"
  for i, name in ipairs(names) do
    out[#out + 1] = (i > 1 and "," or "") .. quote(tostring(name)) .. ":"
    encode(t[name], out, depth + 1)
  end
  out[#out + 1] = "}"
end

function encode(value, out, depth)
  local kind = type(value)
  if depth > DEPTH_MAX then
    out[#out + 1] = '"..."'
  elseif kind == "number" then
    local finite = value == value and value ~= math.huge and value ~= -math.huge
    out[#out + 1] = finite and ("%.14g"):format(value) or "null"
  elseif kind == "string" then
    out[#out + 1] = quote(value)
  elseif kind == "table" then
    local as_list = getmetatable(value) == LIST or value[1] ~= nil
    (as_list and encode_list or encode_object)(value, out, depth)
  elseif kind == "boolean" then
    out[#out + 1] = tostring(value)
  else
    out[#out + 1] = kind == "nil" and "null" or quote(tostring(value))
  end
end

--- Numbers are written with 14 digits; what is no number is null.
---@return string
function M.encode(value)
  local out = {}
  encode(value, out, 0)
  return table.concat(out)
end

return M
