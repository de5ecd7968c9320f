--- Modbus TCP client driver: MBAP framing (MODBUS Messaging on TCP/IP Implementation Guide V1.0b,
--- section 3.1.3) around the PDUs of modbus.lua.
---
---   MBAP: transaction id 2 │ protocol id 2 (0) │ length 2 │ unit id 1 │ PDU
local err = require "stator.err"
local link = require "stator.link"
local pdu = require "stator.driver.modbus"

local byte, char, sub = string.byte, string.char, string.sub
local floor = math.floor
local MAX_ADU = 260

local M = {}

--- Settings of the scene's link, see stator.link.
M.settings = {
  { name = "host", type = "string", required = true, about = "address or name of the device" },
  { name = "port", type = "number", whole = true, default = 502, min = 1, max = 65535 },
  { name = "unit", type = "number", whole = true, default = 1, min = 0, max = 255, about = "unit id of the device" },
  { name = "window", type = "number", whole = true, default = 1, min = 1, max = 16,
    about = "requests on their way at once" },
}

--- Frames a PDU.
function M.encode(transaction, unit, body)
  local length = #body + 1
  return char(floor(transaction / 256), transaction % 256, 0, 0, floor(length / 256), length % 256, unit) .. body
end

--- Takes the first whole frame off a buffer: transaction, unit, pdu, rest. Nothing when more bytes
--- are needed; nil and a reason when they are no Modbus.
---@param buffer string
function M.decode(buffer)
  if #buffer < 7 then return end
  local t1, t2, p1, p2, l1, l2, unit = byte(buffer, 1, 7)
  local length = l1 * 256 + l2
  if p1 ~= 0 or p2 ~= 0 then return nil, ("protocol id %d where 0 stands in Modbus TCP"):format(p1 * 256 + p2) end
  if length < 2 or length + 6 > MAX_ADU then
    return nil, ("a frame of %d bytes (2 to 254 are possible)"):format(length)
  end
  if #buffer < length + 6 then return end
  return t1 * 256 + t2, unit, sub(buffer, 8, length + 6), sub(buffer, length + 7)
end

---@class stator.ModbusSession
local Session = {}
Session.__index = Session

--- Called by stator.link for each connection.
---@param transaction integer the last id that was used on it
function M.session(settings, transaction)
  return setmetatable({ settings = settings, transaction = transaction }, Session)
end

--- Bytes of a request and the key under which its reply will come.
function Session:encode(request)
  self.transaction = self.transaction % 65535 + 1
  return M.encode(self.transaction, self.settings.unit, request.pdu), self.transaction
end

--- Takes the whole frames of received bytes. Answers a list of { key, bytes of the reply } and how many
--- bytes they were; raises on garbage.
function Session:feed(bytes)
  local replies, rest = {}, bytes
  while true do
    local transaction, unit, body, after = M.decode(rest)
    if not transaction then
      if unit then error(err.new("modbus.malformed", "not Modbus TCP: " .. unit), 0) end
      return replies, #bytes - #rest
    end
    rest = after
    if unit == self.settings.unit then replies[#replies + 1] = { key = transaction, body = body } end
  end
end

--- Values of a reply, or nil and an error value.
function Session.decode(_, request, body) return pdu.decode_reply(request.pdu, body) end

-- ---- what scripts call ------------------------------------------------------------------------

local function span(address, count)
  return count == 1 and tostring(address) or ("%d..%d"):format(address, address + count - 1)
end

local READ_OPTIONS, REGISTER_OPTIONS = { "timeout" }, { "timeout", "as", "order" }

--- Turns registers into values of options.as, indexed by the first register of each.
local function converter(what, address, n, options)
  local size = pdu.check_type(what, options.as, options.order)
  if n % size ~= 0 then
    err.raise(("%s: %s takes %d registers, %d is no multiple of it"):format(what, options.as, size, n))
  end
  return function(registers)
    local out = {}
    for at = address, address + n - size, size do
      out[at] = pdu.value_at(registers, at, options.as, options.order)
    end
    return out
  end
end

local function read(handle, fn, address, count, options)
  link.check_handle(handle)
  local n, what, bits = count or 1, pdu.NAMES[fn], fn <= pdu.READ_DISCRETE
  local request = { pdu = pdu.read_request(fn, address, n), what = what .. " " .. span(address, n) }
  if options then
    link.check_options(what, options, bits and READ_OPTIONS or REGISTER_OPTIONS)
    if options.as then request.convert = converter(what, address, n, options) end
  end
  return link.request(handle, request, options)
end

local function write(handle, body, what, options)
  link.check_handle(handle)
  if options then link.check_options(what:match("^%S+"), options, REGISTER_OPTIONS) end
  return link.request(handle, { pdu = body, what = what, writes = true }, options)
end

--- Methods of the link's handle; each answers an operation. Options: `timeout` in seconds; for reads
--- of registers `as` (u16 i16 u32 i32 f32 u64 i64 f64) and `order` (abcd cdab badc dcba).
M.methods = {
  --- Coils, true or false, indexed by address.
  read_coils = function(h, address, count, o) return read(h, pdu.READ_COILS, address, count, o) end,
  --- Discrete inputs, true or false, indexed by address.
  read_discrete = function(h, address, count, o) return read(h, pdu.READ_DISCRETE, address, count, o) end,
  --- Holding registers, indexed by address.
  read_holding = function(h, address, count, o) return read(h, pdu.READ_HOLDING, address, count, o) end,
  --- Input registers, indexed by address.
  read_input = function(h, address, count, o) return read(h, pdu.READ_INPUT, address, count, o) end,
  write_coil = function(h, address, on, o)
    return write(h, pdu.write_coil_request(address, on), "write_coil " .. tostring(address), o)
  end,
  write_register = function(h, address, value, o)
    return write(h, pdu.write_register_request(address, value), "write_register " .. tostring(address), o)
  end,
  write_coils = function(h, address, list, o)
    return write(h, pdu.write_coils_request(address, list), "write_coils " .. span(address, #list), o)
  end,
  write_registers = function(h, address, list, o)
    return write(h, pdu.write_registers_request(address, list), "write_registers " .. span(address, #list), o)
  end,
  --- One value of a type with its order: h:write_value(100, 1.5, { as = "f32", order = "cdab" }).
  write_value = function(h, address, value, o)
    local as = o and o.as or "u16"
    pdu.check_type("write_value", as, o and o.order)
    local list = pdu.registers_of_value(value, as, o and o.order)
    return write(h, pdu.write_registers_request(address, list), "write_registers " .. span(address, #list), o)
  end,
}

M.points = require "stator.driver.modbus_points"
M.simulator = function() return require "stator.driver.modbus_server" end

return M
