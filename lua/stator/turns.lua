--- Loops of scripts that can be stopped. LuaJIT's hooks do not reach compiled code, so a compiled loop
--- that does not end could only be stopped by giving the whole VM up. When a script is loaded, a call is
--- put at the start of the body of its loops: in compiled code it is a count and a comparison, and every
--- TURNS turns a look at whether the watchdog waits.
---
---     while busy do ...                       while busy do __turn(1); ...
---
--- The loop over the rows of a chunk is short and hot and has no call of its own; the loop over chunks
--- around it counts as several:
---
---     for first, last, pose in q:chunks() do  for first, last, pose in q:chunks() do __turn(8);
---       for i = first, last do ...              for i = first, last do ...
---
--- Lines stay as they are.
local ffi = require "ffi"
ffi.cdef "int guard_turn(void);"

local TURNS = 64
local CHUNK_TURNS = 8 -- what one over a chunk counts for: some thousand rows
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
function M.turn(cost)
  left = left - cost
  if left < 0 then look() end
end

local function texts_are(list, i, ...)
  for k = 1, select("#", ...) do
    if not list[i + k - 1] or list[i + k - 1].text ~= select(k, ...) then return false end
  end
  return true
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

--- What a turn of the loop at i costs, and the token after which it is counted; nil: it is no loop, or
--- one over the rows of a chunk.
local function turn_of(list, i, in_chunks)
  local word = list[i].text
  if word == "repeat" then return 1, i end
  if word ~= "while" and word ~= "for" then return end
  if in_chunks and texts_are(list, i + 2, "=", "first", ",", "last", "do") then return end
  return texts_are(list, i, "for", "first", ",", "last") and CHUNK_TURNS or 1, head_end(list, i)
end

local function call_of(cost) return (" %s(%d);"):format(NAME, cost) end
local CHUNK_CALL = call_of(CHUNK_TURNS)

--- Puts a call at the start of every loop's body.
---@param list table[] tokens of the text
---@param after table<integer, string> what comes after the i-th token
function M.insert(list, after)
  local depth, chunks = 0, {} -- chunks: depths of the bodies of the open loops over chunks
  for i, token in ipairs(list) do
    local cost, at = turn_of(list, i, #chunks > 0)
    if at then after[at] = call_of(cost) end
    if OPENS[token.text] then
      depth = depth + 1
      if after[i] == CHUNK_CALL then chunks[#chunks + 1] = depth end
    elseif CLOSES[token.text] then
      if chunks[#chunks] == depth then chunks[#chunks] = nil end
      depth = depth - 1
    end
  end
end

return M
