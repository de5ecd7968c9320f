--- Compiles the text of a script: what is put into it (stator.instrument), its bytecode, and what the checks
--- need to know of it (stator.claims). Pure: the text alone says what comes out, and nothing of the host is
--- needed. So it runs where scripts run, and in a state of its own on another thread (host/compile.c).
local buffer = require "string.buffer"
local ffi = require "ffi"
local claims = require "stator.claims"
local instrument = require "stator.instrument"
local tokens = require "stator.tokens"

ffi.cdef "uint64_t ecs__checksum(const void *bytes, size_t length);"

local ESCAPE = 27 -- the first byte of bytecode

local M = {}

---@class (exact) stator.Chunk
---@field chunk function
---@field places string[] that its commands name, for places.add
---@field warning string? what was left out of it, with its file
---@field tokens table[] of the text as it was

---@return stator.Chunk
local function left_out(name, made, without, message)
  made.places = made.places or {}
  made.warning = ("%s: compiled without %s: %s"):format(name:gsub("^[@=]", ""), without, message)
  return made
end

--- Compiles a text with what is put into it: turns of loops, places of commands. A text at a limit of the compiler
--- may have no room for that, so what is put in becomes less, with a warning. No bytecode.
---@param name string "@main.lua", or another name as of loadstring: then its commands get no place
---@return stator.Chunk?
---@return string? problem
function M.chunk(text, name)
  local plain, message = load(text, name, "t")
  if not plain then return nil, message end
  local made, file = { tokens = tokens.of(text) }, name:match "^@(.*)"
  local woven, places = instrument.text(text, file, made.tokens)
  made.chunk, message = load(woven, name, "t")
  if made.chunk then
    made.places = places
    return made
  end
  made.chunk = file and load(instrument.text(text, nil, made.tokens), name, "t")
  if made.chunk then return left_out(name, made, "places: errors of its commands name no line", message) end
  made.chunk = plain
  return left_out(name, made, "stops: a loop of it that does not end costs the VM of all scripts, and errors of its "
    .. "commands name no line", message)
end

--- The hash of a text, 16 digits. It tells a changed text from the same, and is no defence against forgery.
---@return string
function M.hash(text) return (bit.tohex(ffi.C.ecs__checksum(text, #text))) end

---@class (exact) stator.Compiled
---@field hash string of the text
---@field problem string? "main.lua:3: ..."; then nothing of what follows is there
---@field code string? bytecode: load it, give it the environment of a script, run it
---@field places string[]? that its commands name, for places.add before it runs
---@field claims stator.Claims?
---@field warning string? what was left out of it, with its file

--- Compiles the text of a file. A mark of UTF-8 at its begin and a first line that begins with # are left out.
---@param shown string the file as messages name it
---@return stator.Compiled
function M.text(text, shown)
  local hash = M.hash(text)
  local body = text:gsub("^\239\187\191", ""):gsub("^#[^\n]*", "")
  if body:byte(1) == ESCAPE then return { hash = hash, problem = shown .. ": bytecode is not allowed" } end
  local made, message = M.chunk(body, "@" .. shown)
  if not made then return { hash = hash, problem = message } end
  return { hash = hash, code = string.dump(made.chunk), places = made.places, claims = claims.of(made.tokens),
    warning = made.warning }
end

--- The same as bytes of string.buffer: what the thread of host/compile.c runs.
---@return string
function M.bytes(text, shown) return buffer.encode(M.text(text, shown)) end

return M
