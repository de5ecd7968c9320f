--- Loops of scripts that can be stopped. LuaJIT's hooks do not reach compiled code, so a compiled loop
--- that does not end could only be stopped by giving the whole VM up. When a script is loaded, a call is
--- put at the start of the body of its loops: in compiled code it is a count and a comparison, and every
--- TURNS turns a look at whether the watchdog waits.
---
---     while busy do ...          while busy do __turn(); ...
---
--- Loops over the rows of a chunk (`for i = first, last do`) are left alone: they are short and hot. Lines
--- stay as they are.
local ffi = require "ffi"
local tokens = require "stator.tokens"
ffi.cdef "int guard_turn(void);"

local TURNS = 64
local NAME = "__turn"
local OPENS = { ["function"] = true, ["if"] = true, ["do"] = true, ["repeat"] = true }
local CLOSES = { ["end"] = true, ["until"] = true }

local M = { NAME = NAME }

local C = ffi.C
local left = TURNS

--- Where compiled code ends, because it is never compiled.
local function leave_compiled_code() end
jit.off(leave_compiled_code)

local function look()
  left = TURNS
  if C.guard_turn() ~= 0 then leave_compiled_code() end
end

--- What the inserted call runs.
function M.turn()
  left = left - 1
  if left < 0 then look() end
end

--- Whether a numeric `for` runs over the rows of a chunk: `for i = first, last do`.
local function is_row_loop(list, i)
  return list[i + 2].text == "=" and list[i + 3].text == "first" and list[i + 4].text == ","
    and list[i + 5].text == "last" and list[i + 6].text == "do"
end

--- The index of the `do` that belongs to the `while` or `for` at i, past functions in its head.
local function head_end(list, i)
  local depth = 0
  for k = i + 1, #list do
    local text = list[k].text
    if text == "do" and depth == 0 then return k end
    if OPENS[text] then depth = depth + 1 elseif CLOSES[text] then depth = depth - 1 end
  end
end

--- The text with a call at the start of every loop's body.
---@param text string
---@return string
function M.insert(text)
  local list, parts, from = tokens.of(text), {}, 1
  local places = {}
  for i, token in ipairs(list) do
    local word, at = token.text, nil
    if word == "repeat" then
      at = i
    elseif word == "while" or (word == "for" and not (list[i + 6] and is_row_loop(list, i))) then
      at = head_end(list, i)
    end
    if at then places[#places + 1] = list[at].last end
  end
  table.sort(places)
  for _, place in ipairs(places) do
    parts[#parts + 1] = text:sub(from, place)
    from = place + 1
  end
  parts[#parts + 1] = text:sub(from)
  return table.concat(parts, " " .. NAME .. "();")
end

return M
