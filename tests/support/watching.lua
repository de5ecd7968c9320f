--- A watched folder of its own, in a cell: what the watch tells is written down by a task of the host.
local support = require "support"
local harness = require "harness"

local M = {}

-- what stands in the cell's VM, as the module "watching"
local INSIDE = [[
local folder = ...
local log, registry, task = require "stator.log", require "stator.registry", require "stator.task"
local watch, err = require "stator.core.watch", require "stator.err"
local S = { told = {}, tasks = {}, watch = watch, await = task.await }
package.loaded.watching = S

function S.set(names, mode)
  local paths = {}
  for name in names:gmatch "%S+" do paths[#paths + 1] = folder .. "/" .. name end
  return watch.set(paths, mode)
end

--- "saved: a.lua b.lua"
function S.note(change)
  local names = {}
  for i, path in ipairs(change.paths) do names[i] = path:sub(#folder + 2) end
  S.told[#S.told + 1] = change.reason .. ":" .. (#names > 0 and " " or "") .. table.concat(names, " ")
end

function S.spawn(fn)
  local options = { name = "watcher", order = registry.order(0, 0, 0), quiet = true }
  S.tasks[#S.tasks + 1] = task.spawn(options, fn)
end

--- Notes and acknowledges all that is told.
function S.follow()
  S.spawn(function()
    while true do
      S.note(task.await(watch.next()))
      watch.ack()
    end
  end)
end

function S.stop()
  for _, t in ipairs(S.tasks) do if not t.done then task.cancel(t, "the end") end end
end
]]

---@class Watched
---@field cell table
---@field folder string
local Watched = {}
Watched.__index = Watched

--- A cell, on virtual time unless told otherwise, and a folder with the files a.lua and b.lua.
function M.open(options)
  options = options or {}
  options.main = options.main or "local stator = require 'stator'"
  local self = setmetatable({ cell = support.cell(options), folder = support.folder() }, Watched)
  support.write(self.folder .. "/a.lua", "return 1\n")
  support.write(self.folder .. "/b.lua", "return 1\n")
  self:inside()
  return self
end

--- Once more, in the VM that took the place of a lost one.
function Watched:inside() self.cell:eval(INSIDE, self.folder) end

--- Runs code with the module as S.
function Watched:eval(code, ...)
  return self.cell:eval("local S = package.loaded.watching\n" .. code, ...)
end

function Watched:set(names, mode) return self:eval("return S.set(...)", names, mode) end

--- What was told since the last call, as "saved: a.lua b.lua | ...".
function Watched:told()
  return (self:eval "local told = table.concat(S.told, ' | ') S.told = {} return told")
end

--- Sets a list and follows it; what is told of the new paths is checked.
function Watched:follow(names, mode)
  local assert = require "luassert"
  self:set(names, mode)
  self:eval "S.follow()"
  self.cell:advance(0.5)
  assert.equal("saved: " .. names, self:told())
end

--- Runs a command of the shell in the folder.
function Watched:shell(command)
  local out, code = support.shell(("cd %s && { %s; } 2>&1"):format(self.folder, command))
  if code ~= 0 then error(("%s: exit code %d: %s"):format(command, code, out), 2) end
end

function Watched:write(name, text) support.write(self.folder .. "/" .. name, text) end

--- On real time: turns the cell until something is told.
function Watched:wait()
  local until_s = os.time() + 20
  while os.time() < until_s do
    self.cell:advance(0.01)
    local told = self:told()
    if told ~= "" then return told end
  end
  error("nothing was told within 20 s", 2)
end

function Watched:finish() self:eval "S.stop()" end

--- This process.
function M.pid()
  local stat = io.open "/proc/self/stat"
  local pid = stat:read "*n"
  stat:close()
  return pid
end

--- Folders whose events this process has asked for, and its descriptors but for pipes.
function M.open_count()
  local pid = M.pid()
  local events = support.shell(("cat /proc/%d/fdinfo/* 2>/dev/null | grep -c '^inotify wd'"):format(pid))
  -- without pipes: this process may still hold the other end of that to the shell
  local files = support.shell(("ls -l /proc/%d/fd | grep -vc pipe:"):format(pid))
  return tonumber(events), tonumber(files)
end

M.events = harness.events

return M
