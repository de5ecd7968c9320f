--- Values that outlive the VM: kept in C as bytes, so plain data only. Names are the whole cell's.
---
---   local count = stator.persist("parts", 0)         -- a copy; the default when it was never written
---   cmd:persist("parts", count + 1)                  -- part of the batch
local buffer = require "string.buffer"
local err = require "stator.err"
local keep = require "stator.core.keep"
local by_value = require "stator.by_value"
local log = require "stator.log"
local registry = require "stator.registry"

local KEPT, WRITER = "persist:", "writer:" -- its writer: the last one since M.save

local M = {
  back = nil, ---@type { prefix: string, is_meant: fun(writer: string): boolean }? while bodies run to go back
}

local function check_name(what, name)
  if type(name) ~= "string" or name == "" or #name > 200 or name:find "%z" then
    err.raise(what .. ": expected a name of 1 to 200 bytes without zero bytes, got " .. err.shown(name))
  end
end

local OPTIONS = { "version", "migrate" }

local function check_options(name, options)
  registry.check_options("persist", options, OPTIONS)
  local version, migrate = options.version, options.migrate
  if type(version) ~= "number" or not (version >= 1 and version % 1 == 0 and version < 2 ^ 31) then
    err.raise(('persist "%s": version is a whole number from 1, not %s'):format(name, err.shown(version)))
  end
  if migrate ~= nil and type(migrate) ~= "function" then
    err.raise(('persist "%s": migrate is a function(value, version), not %s'):format(name, type(migrate)))
  end
  return version, migrate
end

--- Whether a name was written since M.save, by a task or system that is meant.
local function was_written(name, is_meant)
  local writer = keep.get(WRITER .. name)
  return writer ~= nil and is_meant(writer)
end

--- What is kept under a name, for who reads it now: bodies that run to go back find what they will have.
local function kept(name)
  local is_staged = registry.recording ~= registry.live
  local goes_back = is_staged and M.back and was_written(name, M.back.is_meant)
  local prefix = goes_back and M.back.prefix or ""
  local bytes = keep.get(prefix .. KEPT .. name)
  if is_staged and not M.back then registry.recording.persisted[name] = bytes or false end
  return bytes
end

--- The value of a name and the version that it was written with; nil when it was never written.
local function stored(name)
  local bytes = kept(name)
  if not bytes then return nil end
  local parts = buffer.new():put(bytes)
  local value = parts:decode()
  return true, value, #parts > 0 and parts:decode() or 1
end

--- The value last written and applied under a name, as a copy of its own; else `default`.
---@param name string
---@param default any
---@param options { version: integer, migrate: function? }? version: of what the script keeps there, 1 when it says
--- none; migrate: fn(value, version) -> value, for one that was written with another version
function M.persist(name, default, options)
  check_name("persist", name)
  local version, migrate = 1, nil
  if options ~= nil then version, migrate = check_options(name, options) end
  registry.recording.versions[name] = version
  local known, value, written = stored(name)
  if not known then
    by_value.check("persist", default, name, "can be kept")
    return default
  end
  if written == version then return value end
  if not migrate then
    err.raise(('persist "%s": written with version %d, this is version %d: give it migrate'):format(name, written,
      version), "version")
  end
  value = migrate(value, written)
  by_value.check("persist", value, name, "can be kept")
  return value
end

--- Writes a value with the batch that is being recorded. nil removes nothing: it is a value.
function M.record(_, name, value)
  check_name("persist", name)
  by_value.check("persist", value, name, "can be kept")
  if not keep.recording() then err.raise("persist: only inside a task, a system or an observer") end
  local version = registry.live.versions[name] or 1
  local bytes = buffer.encode(value)
  if version ~= 1 then bytes = bytes .. buffer.encode(version) end
  if not (keep.record(KEPT .. name, bytes) and keep.record(WRITER .. name, log.who() or "")) then
    err.raise("persist: at most 64 MiB are kept in all, and 4096 values in one round", "limit")
  end
end

--- Whether a name is not what the bodies of a set have read any more.
---@param set stator.Set
function M.is_stale(set)
  for name, bytes in pairs(set.persisted) do -- any: the order does not show
    if (keep.get(KEPT .. name) or false) ~= bytes then return true end
  end
  return false
end

--- Copies all values, to go back to: under names that begin with `prefix`.
function M.save(prefix)
  for _, name in ipairs(keep.names(KEPT)) do keep.put(prefix .. name, keep.get(name)) end
  for _, name in ipairs(keep.names(WRITER)) do keep.remove(name) end
end

--- Goes back to the copies for the names that are to, and forgets all of them.
---@param prefix string
---@param is_meant fun(writer: string): boolean
function M.go_back(prefix, is_meant)
  for _, name in ipairs(keep.names(KEPT)) do
    if was_written(name:sub(#KEPT + 1), is_meant) then
      local before = keep.get(prefix .. name)
      if before then keep.put(name, before) else keep.remove(name) end
    end
  end
  M.forget(prefix)
end

function M.forget(prefix)
  for _, name in ipairs(keep.names(prefix .. KEPT)) do keep.remove(name) end
end

return M
