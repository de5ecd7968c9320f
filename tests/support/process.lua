--- A host in a process of its own, as people run it: its log, its control socket, its end.
local json = require "dkjson"
local support = require "support"
local uv = require "luv"

local M = {}

---@class HostProcess
---@field folder string
---@field socket string
---@field pid string
local Host = {}
Host.__index = Host

--- Starts `stator run` on a scene and waits for its control socket.
---@param scene string
---@param words string? more options
---@return HostProcess
function M.start(scene, words)
  local folder = support.folder()
  local host = setmetatable({ folder = folder, socket = folder .. "/cell.sock" }, Host)
  os.execute(("( %s run --control %s %s %s > %s/out 2>&1 & echo $! > %s/pid; wait $!; echo $? > %s/code ) < /dev/null > /dev/null 2>&1 &")
    :format(support.binary, host.socket, words or "", scene, folder, folder, folder))
  for _ = 1, 2000 do
    if uv.fs_stat(host.socket) or uv.fs_stat(folder .. "/code") then break end
    uv.sleep(10)
  end
  host.pid = support.read(folder .. "/pid"):match "%d+"
  if not uv.fs_stat(host.socket) then error("the host did not start:\n" .. host:log(), 2) end
  return host
end

--- All that it has written.
function Host:log() return support.read(self.folder .. "/out") end

--- What scripts have printed or logged: lines without time and level that match a pattern.
---@return string[]
function Host:lines(pattern)
  local out = {}
  for line in self:log():gmatch "[^\n]+" do
    local text = line:match "^%S+ %S+%s+(.*)$" or line
    if text:find(pattern) then out[#out + 1] = text end
  end
  return out
end

--- Waits for the n-th line that matches, and answers it.
function Host:wait_for(pattern, n)
  local until_s = os.time() + 30
  repeat
    local lines = self:lines(pattern)
    if #lines >= (n or 1) then return lines[n or 1] end
    uv.sleep(5)
  until os.time() > until_s
  error(("no %d lines match %q in:\n%s"):format(n or 1, pattern, self:log()), 2)
end

--- Runs `stator ctl`: what it printed, and its exit code.
---@return string
---@return integer
function Host:ctl(words) return support.shell(("%s ctl %s %s 2>&1"):format(support.binary, self.socket, words)) end

---@return table
function Host:status() return json.decode((self:ctl "status --json"), 1, json.null).status end

--- A component of an entity.
---@return table
function Host:value(path, component)
  return json.decode((self:ctl(("entities %s --json"):format(path)))).entity.values[component]
end

--- Waits for the end; answers exit code and log.
function Host:finish()
  for _ = 1, 2000 do
    local file = io.open(self.folder .. "/code")
    local code = file and file:read "*n"
    if file then file:close() end
    if code then return code, self:log() end
    uv.sleep(10)
  end
  os.execute("kill -9 " .. self.pid)
  error("the host did not end:\n" .. self:log(), 2)
end

--- Ends it in order.
function Host:stop()
  self:ctl "stop"
  return self:finish()
end

--- For after_each of tests that failed in the middle.
function Host:kill()
  if not uv.fs_stat(self.folder .. "/code") then os.execute(("kill -9 %s 2>/dev/null"):format(self.pid)) end
end

return M
