--- Connects to a host: each of its addresses in turn.
local core = require "stator.core.task"
local err = require "stator.err"
local net = require "stator.core.net"
local task = require "stator.task"

local park = core.park

local M = {}

--- Connects, inside the running task. Raises the error of the last address.
---@param host string a name or an address
---@param port integer
---@return userdata stream of stator.core.net; closed when it is collected, at the latest
---@async
function M.tcp(host, port)
  local addresses = net.is_numeric(host) and { host } or task.await(net.resolve(host))
  local last
  for _, address in ipairs(addresses) do
    local ok, result = park(net.connect(address, port))
    if ok then return result end
    if err.must_pass(result) then error(result, 0) end
    last = result
  end
  error(last, 0)
end

return M
