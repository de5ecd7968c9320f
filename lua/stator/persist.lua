--- Values that outlive the VM: kept in C as bytes, so plain data only. Names are the whole cell's.
---
---   local count = stator.persist("parts", 0)         -- a copy; the default when it was never written
---   cmd:persist("parts", count + 1)                  -- part of the batch
local buffer = require "string.buffer"
local err = require "stator.err"
local keep = require "stator.core.keep"
local by_value = require "stator.by_value"

local M = {}

local function check_name(what, name)
  if type(name) ~= "string" or name == "" or #name > 200 or name:find "%z" then
    err.raise(what .. ": expected a name of 1 to 200 bytes without zero bytes, got " .. err.shown(name))
  end
end

--- The value last written and applied under a name, as a copy of its own; else `default`.
---@param name string
---@param default any
function M.persist(name, default)
  check_name("persist", name)
  local bytes = keep.get("persist:" .. name)
  if bytes then return buffer.decode(bytes) end
  by_value.check("persist", default, name, "can be kept")
  return default
end

--- Writes a value with the batch that is being recorded. nil removes nothing: it is a value.
function M.record(_, name, value)
  check_name("persist", name)
  by_value.check("persist", value, name, "can be kept")
  if not keep.recording() then err.raise("persist: only inside a task, a system or an observer") end
  if not keep.record("persist:" .. name, buffer.encode(value)) then
    err.raise("persist: at most 64 MiB are kept in all, and 4096 values in one round", "limit")
  end
end

return M
