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

local NAME, NUMBER, SPACE, QUOTE, MARK = 1, 2, 3, 4, 5
local KINDS = {} -- of each byte
for byte = 0, 255 do
  local c = string.char(byte)
  KINDS[byte] = c:find "[%a_]" and NAME or c:find "%d" and NUMBER or c:find "%s" and SPACE or c:find "[\"']" and QUOTE
    or MARK
end

--- Where the token that begins at `at` ends, whether it is white space or a comment, whether lines may end in it.
local function token_end(text, at)
  local kind = KINDS[text:byte(at)]
  if kind == NAME then return select(2, text:find("^[%w_]+", at)), false, false end
  if kind == NUMBER or (kind == MARK and text:find("^%.%d", at)) then
    return select(2, text:find("^%.?%d[%w_%.]*", at)), false, false
  end
  if kind == SPACE then return select(2, text:find("^%s+", at)), true, true end
  if kind == QUOTE then return skip_quoted(text, at) - 1, false, true end
  if text:find("^%-%-", at) then
    return (skip_long(text, at + 2) or text:find("\n", at, true) or #text + 1) - 1, true, true
  end
  if text:find("^%[=*%[", at) then return skip_long(text, at) - 1, false, true end
  return at + (text:find("^[=~<>]=", at) and 1 or 0), false, false
end

--- Names, numbers, quoted strings, and single marks, without comments and white space.
---@return { text: string, line: integer, last: integer }[] last: where it ends in the text
function M.of(text)
  local list, at, line = {}, 1, 1
  while at <= #text do
    local last, skipped, has_lines = token_end(text, at)
    local token = text:sub(at, last)
    if not skipped then list[#list + 1] = { text = token, line = line, last = last } end
    if has_lines then
      for _ in token:gmatch "\n" do line = line + 1 end
    end
    at = last + 1
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
