--- A Modbus TCP server of the same codec: the device behind `"simulate"`, and a way to offer values
--- to other clients. Its values lie in a bank that the simulator's function reads and writes.
local combine = require "stator.combine"
local frame = require "stator.driver.modbus_tcp"
local log = require "stator.log"
local pdu = require "stator.driver.modbus"
local task = require "stator.task"
local net = require "stator.core.net"

local MAX_CLIENTS = 16

local M = {}

--- The values of a device: four tables, indexed by address. What is not set reads as false or 0;
--- addresses outside 0 to `size` - 1 are refused with exception 2.
---@class stator.ModbusBank
---@field coils table<integer, boolean>
---@field discrete table<integer, boolean> read-only for clients
---@field holding table<integer, integer>
---@field input table<integer, integer> read-only for clients
---@field answers boolean false: requests are swallowed, as by a device that hangs
---@field delay_s number before each reply
local Bank = {}
Bank.__index = Bank

local TABLES = {
  [pdu.READ_COILS] = "coils", [pdu.READ_DISCRETE] = "discrete", [pdu.READ_HOLDING] = "holding",
  [pdu.READ_INPUT] = "input", [pdu.WRITE_COIL] = "coils", [pdu.WRITE_REGISTER] = "holding",
  [pdu.WRITE_COILS] = "coils", [pdu.WRITE_REGISTERS] = "holding",
}

function M.bank()
  return setmetatable({
    coils = {}, discrete = {}, holding = {}, input = {}, size = 65536, answers = true, delay_s = 0,
    clients = {}, refused = {},
  }, Bank)
end

--- Exception code with which a request is refused, or nil.
function Bank:refuses(r)
  if r.address + r.count > self.size then return 2 end
  return self.refused[r.fn]
end

--- Whether a value of the bank can be sent in answer to a read.
function Bank.holds(_, r, value)
  if r.fn <= pdu.READ_DISCRETE then return type(value) == "boolean" end
  return type(value) == "number" and value % 1 == 0 and value >= -32768 and value <= 65535
end

--- The values that a read asks for; nil, told in the log, when the simulator has put others there.
function Bank:read(r)
  local t, list = self[TABLES[r.fn]], {}
  local bits = r.fn <= pdu.READ_DISCRETE
  for i = 0, r.count - 1 do
    local value = t[r.address + i]
    if value == nil then value = not bits and 0 or false end
    if not self:holds(r, value) then
      log.event("error", "modbus server", ("%s[%d] is %s: %s"):format(TABLES[r.fn], r.address + i, tostring(value),
        bits and "expected true or false" or "expected a whole number from -32768 to 65535"))
      return nil
    end
    if not bits then value = value % 65536 end
    list[i + 1] = value
  end
  return list
end

function Bank:write(r)
  local t = self[TABLES[r.fn]]
  for address = r.address, r.address + r.count - 1 do t[address] = r.values[address] end
end

--- Closes the connections of all clients, as when the cable is pulled; they may connect again.
function Bank:cut()
  for _, conn in ipairs(self.clients) do conn:close() end
  self.clients = {}
end

local function forget(bank, conn)
  for i, c in ipairs(bank.clients) do
    if c == conn then return table.remove(bank.clients, i) end
  end
end

local function answer(bank, conn, transaction, unit, body)
  if not bank.answers then return end
  if bank.delay_s > 0 then task.await(require("stator.time").sleep(bank.delay_s)) end
  task.await(conn:write(frame.encode(transaction, unit, pdu.serve(bank, body))))
end

local function serve(bank, conn)
  combine.defer(function()
    forget(bank, conn)
    conn:close()
  end)
  local buffer = ""
  while true do
    buffer = buffer .. task.await(conn:read())
    while true do
      local transaction, unit, body, rest = frame.decode(buffer)
      if not transaction then
        if unit then return end -- no Modbus: hang up
        break
      end
      buffer = rest
      answer(bank, conn, transaction, unit, body)
    end
  end
end

--- Accepts clients until it is cancelled. Run inside a task.
---@param listener userdata of stator.core.net
---@param bank stator.ModbusBank
function M.run(listener, bank)
  combine.defer(function() listener:close() end)
  while true do
    local conn = task.await(listener:accept())
    if #bank.clients == MAX_CLIENTS then
      conn:close()
    else
      bank.clients[#bank.clients + 1] = conn
      task.child(function()
        local ok, e = combine.try(serve, bank, conn)
        local expected = ok or e.code == "closed" or e.code == "io"
        if not expected then log.event("warn", "modbus server", tostring(e.message)) end
      end, { quiet = true })
    end
  end
end

--- Listens on a free or given port. Answers the listener, or nil and an error value.
function M.listen(address, port)
  local listener, e = net.listen(address, port)
  if not listener then return nil, e end
  return listener
end

return M
