--- Puts the place of each command into the text of a script, see stator.places:
---
---     cmd:set(e, Motor, { ... })          __at(cmd,"main.lua:12"):set(e, Motor, { ... })
---
--- The place stands there as a text, so what is compiled means the same in every Lua state. Commands whose
--- receiver has another name have no place.
local M = { NAME = "__at" }

local function text_at(tokens, i) return tokens[i] and tokens[i].text or "" end

--- Whether the i-th token is the receiver of a call: `cmd:set(`, but not `a.cmd:set(`, `function cmd:set(`
--- or `::cmd::`. Single marks are tokens, so what follows a label or a concatenation is told by two.
local function is_receiver(tokens, i)
  if tokens[i].text ~= "cmd" or text_at(tokens, i + 1) ~= ":" then return false end
  if not text_at(tokens, i + 2):find "^[%a_]" or not text_at(tokens, i + 3):find '^[({"\'%[]' then return false end
  local before = text_at(tokens, i - 1)
  local is_member = (before == "." or before == ":") and text_at(tokens, i - 2) ~= before
  return not is_member and before ~= "function"
end

--- As a text of Lua on one line.
local function quoted(text)
  return '"' .. text:gsub('[%c"\\]', function(c) return ("\\%03d"):format(c:byte()) end) .. '"'
end

--- Puts the place around the receiver of each command.
---@param tokens table[] of the text
---@param file string as messages name it
---@param before table<integer, string> of the i-th token
---@param after table<integer, string>
---@return string[] places each once, in the order of the text
function M.insert(tokens, file, before, after)
  local places, line = {}, nil
  for i, token in ipairs(tokens) do
    if is_receiver(tokens, i) then
      local place = file .. ":" .. token.line
      before[i] = M.NAME .. "("
      after[i] = "," .. quoted(place) .. ")"
      if token.line ~= line then places[#places + 1], line = place, token.line end
    end
  end
  return places
end

return M
