--- Where commands are recorded, so that whatever comes of them can name the line. Asking for the
--- caller's line costs a multiple of a command, so the place is put into the text of a script
--- (stator.receivers), and the call there answers the `cmd` of that place: one table for each, made when
--- the script is loaded, so that nothing is noted between two commands. The world knows a place by its number.
local buffer = require "string.buffer"
local command = require "stator.command"
local keep = require "stator.core.keep"

local KEPT, PLACES_MAX = "places:", 65535 -- kept in pieces, each named by the number of its first place

local M = {}

local list = {} -- text of each number
local receivers = command._places -- of each text

local function add(text)
  local number = #list + 1
  list[number] = text
  receivers[text] = setmetatable({ _place = number }, getmetatable(command))
end

local function restore()
  local bytes = keep.get(KEPT .. #list + 1)
  while bytes do
    for _, text in ipairs(buffer.decode(bytes)) do add(text) end
    bytes = keep.get(KEPT .. #list + 1)
  end
end
restore() -- compiled scripts that a lost VM leaves behind name them, and the world has their numbers

--- What the text calls. A table of a script's own that is called `cmd` is answered as it is. The receivers
--- come with the real one, not in an upvalue: these are loaded again after a store to any other, at times.
function M.at(receiver, place)
  local places = type(receiver) == "table" and rawget(receiver, "_places")
  return places and places[place] or receiver
end

--- "main.lua:12" for a number, or nil.
function M.text(number) return list[number] end

--- Numbers the places of a text that is loaded. Those beyond 65535 of a cell stay unknown.
---@param places string[] as stator.compile answers them
function M.add(places)
  local first, added = #list + 1, {}
  for _, text in ipairs(places) do
    if not receivers[text] and #list < PLACES_MAX then
      add(text)
      added[#added + 1] = text
    end
  end
  if #added > 0 then keep.put(KEPT .. first, buffer.encode(added)) end
end

return M
