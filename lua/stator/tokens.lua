--- Reads Lua text as tokens: for checks and changes of scripts when they are loaded.
local M = {}

local function skip_long(text, at)
  local level = text:match("^%[(=*)%[", at)
  if not level then return end
  local _, last = text:find("]" .. level .. "]", at, true)
  return (last or #text) + 1
end

local function skip_quoted(text, at)
  local quote, i = text:sub(at, at), at + 1
  while i <= #text do
    local c = text:sub(i, i)
    if c == "\\" then -- \z skips white space, and a line may end with two bytes
      i = select(2, text:find("^z%s*", i + 1)) or select(2, text:find("^\r\n", i + 1)) or i + 1
    elseif c == quote or c == "\n" then
      break
    end
    i = i + 1
  end
  return i + 1
end

--- Names, numbers, quoted strings, and single marks, without comments and white space.
---@return { text: string, line: integer, last: integer }[] last: where it ends in the text
function M.of(text)
  local list, at, line = {}, 1, 1
  local function take(stop, keep)
    local token = text:sub(at, stop - 1)
    if keep then list[#list + 1] = { text = token, line = line, last = stop - 1 } end
    for _ in token:gmatch("\n") do line = line + 1 end
    at = stop
  end
  while at <= #text do
    if text:find("^%-%-", at) then
      take(skip_long(text, at + 2) or text:find("\n", at, true) or #text + 1, false)
    elseif text:find("^[\"']", at) then
      take(skip_quoted(text, at), true)
    elseif text:find("^%[=*%[", at) then
      take(skip_long(text, at), true)
    elseif text:find("^[%a_]", at) then
      take(select(2, text:find("^[%w_]+", at)) + 1, true)
    elseif text:find("^%.?%d", at) then
      take(select(2, text:find("^%.?%d[%w_%.]*", at)) + 1, true)
    elseif text:find("^%s", at) then
      take(select(2, text:find("^%s+", at)) + 1, false)
    else
      take(at + (text:find("^[=~<>]=", at) and 2 or 1), true)
    end
  end
  return list
end

--- The text with something put before and after some of its tokens; all else stays as it is.
---@param list table[] of the text
---@param before table<integer, string> of the i-th token
---@param after table<integer, string>
---@return string
function M.weave(text, list, before, after)
  local parts, from = {}, 1
  for i, token in ipairs(list) do
    if before[i] then
      parts[#parts + 1] = text:sub(from, token.last - #token.text) .. before[i]
      from = token.last - #token.text + 1
    end
    if after[i] then
      parts[#parts + 1] = text:sub(from, token.last) .. after[i]
      from = token.last + 1
    end
  end
  parts[#parts + 1] = text:sub(from)
  return table.concat(parts)
end

return M
