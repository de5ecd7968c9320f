--- Where commands are recorded, so that whatever comes of them can name the line. Asking for the
--- caller's line costs a multiple of a command, so the place is put into the text of a script:
---
---     cmd:set(e, Motor, { ... })          __at(cmd,12):set(e, Motor, { ... })
---
--- 12 stands for a file and line, and the call answers the `cmd` of that place: one table for each, made
--- when the text is loaded, so that nothing is noted between two commands. Commands whose receiver has
--- another name have no place.
local buffer = require "string.buffer"
local command = require "stator.command"
local keep = require "stator.core.keep"

local KEPT, PLACES_MAX = "places", 65535

local M = { NAME = "__at" }

local list = {} -- text of each number
local numbers = {} -- number of each text
local receivers = command._places -- of each number

local function add(text)
  local number = #list + 1
  list[number], numbers[text] = text, number
  receivers[number] = setmetatable({ _place = number }, getmetatable(command))
  return number
end

-- compiled scripts that a lost VM leaves behind have numbers in them
for _, text in ipairs(buffer.decode(keep.get(KEPT) or buffer.encode {})) do add(text) end

--- What the text calls. A table of a script's own that is called `cmd` is answered as it is. The receivers
--- come with the real one, not in an upvalue: these are loaded again after a store to any other, at times.
function M.at(receiver, number)
  local places = type(receiver) == "table" and rawget(receiver, "_places")
  return places and places[number] or receiver
end

--- "main.lua:12" for a number, or nil.
function M.text(number) return list[number] end

local function number_of(text)
  return numbers[text] or (#list < PLACES_MAX and add(text) or 0)
end

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

--- Puts the place around the receiver of each command.
---@param tokens table[] of the text
---@param before table<integer, string> of the i-th token
---@param after table<integer, string>
function M.insert(tokens, file, before, after)
  local had = #list
  for i, token in ipairs(tokens) do
    if is_receiver(tokens, i) then
      before[i] = M.NAME .. "("
      after[i] = "," .. number_of(file .. ":" .. token.line) .. ")"
    end
  end
  if #list > had then keep.put(KEPT, buffer.encode(list)) end
end

return M
