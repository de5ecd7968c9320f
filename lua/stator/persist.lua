--- Values that outlive the VM: kept in C as bytes, so plain data only. Names are the whole cell's.
---
---   local count = stator.persist("parts", 0)         -- a copy; the default when it was never written
---   cmd:persist("parts", count + 1)                  -- part of the batch
local buffer = require "string.buffer"
local err = require "stator.err"
local keep = require "stator.core.keep"

local DEPTH_MAX = 32
local PLAIN = { number = true, string = true, boolean = true }

local M = {}

local function check_name(what, name)
  if type(name) ~= "string" or name == "" or #name > 200 or name:find "%z" then
    err.raise(what .. ": expected a name of 1 to 200 bytes without zero bytes, got " .. err.shown(name))
  end
end

--- Raises when a value is more than plain data.
local function check_plain(value, path, depth)
  local kind = type(value)
  if PLAIN[kind] or value == nil then return end
  if kind ~= "table" then err.raise(("persist: %s is a %s: only plain data can be kept"):format(path, kind)) end
  if getmetatable(value) ~= nil then
    err.raise(("persist: %s has a metatable: only plain data can be kept"):format(path))
  end
  if depth == DEPTH_MAX then err.raise(("persist: %s: nested more than %d deep"):format(path, DEPTH_MAX)) end
  for k, v in pairs(value) do
    if not PLAIN[type(k)] then err.raise(("persist: %s has a %s as a key"):format(path, type(k))) end
    check_plain(v, ("%s[%s]"):format(path, tostring(k)), depth + 1)
  end
end

--- The value last written and applied under a name, as a copy of its own; else `default`.
---@param name string
---@param default any
function M.persist(name, default)
  check_name("persist", name)
  local bytes = keep.get("persist:" .. name)
  if bytes then return buffer.decode(bytes) end
  check_plain(default, name, 0)
  return default
end

--- Writes a value with the batch that is being recorded. nil removes nothing: it is a value.
function M.record(_, name, value)
  check_name("persist", name)
  check_plain(value, name, 0)
  if not keep.recording() then err.raise("persist: only inside a task, a system or an observer") end
  if not keep.record("persist:" .. name, buffer.encode(value)) then
    err.raise("persist: at most 64 MiB are kept in all, and 4096 values in one round", "limit")
  end
end

return M
