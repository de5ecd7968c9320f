--- Reads and compiles scripts on another thread, see host/compile.h: whoever waits for it gets no long slice. What
--- comes of a file is what stator.compile makes of its text in place; it is decoded file by file.
local buffer = require "string.buffer"
local core = require "stator.core.compile"
local task_core = require "stator.core.task"
local task = require "stator.task"

local park = task_core.park

local M = {}

---@class stator.CompiledFiles
local CompiledFiles = {}
CompiledFiles.__index = CompiledFiles

---@class (exact) stator.CompiledFile: stator.Compiled
---@field path string
---@field shown string
---@field fingerprint string "device:inode:size:mtime_ns" of the open file that was read; all 0: it could not be opened
---@field problem string? also when it is missing, busy, or more than may be compiled
---@field missing boolean? it could not be read
---@field busy boolean? it changed during three reads: try again later

--- What came of the i-th file. Once for each: then its memory is free again. Some microseconds, and a copy of
--- its bytecode.
---@return stator.CompiledFile? nil when it was taken before
function CompiledFiles:take(i)
  local status, value, fingerprint = core.take(self._job, i)
  if not status then return nil end
  local file = status == "done" and buffer.decode(value) or { problem = value }
  if status == "missing" then file.missing = true elseif status == "busy" then file.busy = true end
  file.path, file.shown, file.fingerprint = self._list[i].path, self._list[i].shown, fingerprint
  return file
end

local function run(list)
  local operation, job = core.files(list)
  local ok, e = park(operation)
  if not ok then error(e, 0) end
  return setmetatable({ n = #list, _job = job, _list = list }, CompiledFiles)
end

--- Reads and compiles files in their order, in one job; one job runs at once. At most 4096 files of 16 MiB each, and
--- 64 MiB of results, otherwise it fails with code "limit"; a file that needs more than 256 MiB of memory has a
--- problem. Taken back, it stops at its next allocation. Takes no virtual time.
---@param list { path: string, shown: string }[] shown: as messages name it
---@return stator.Operation that answers stator.CompiledFiles: `n`, take(i)
function M.files(list) return task.operation(run, list) end

return M
