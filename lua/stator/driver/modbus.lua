--- Modbus PDUs: bytes to values and back. Pure: no I/O, no state.
--- Source: MODBUS Application Protocol Specification V1.1b3 (modbus.org), section 6 for functions,
--- section 7 for exception codes. Addresses are those of the PDU, from 0.
local bit = require "bit"
local err = require "stator.err"
local ffi = require "ffi"

local M = {
  READ_COILS = 1, READ_DISCRETE = 2, READ_HOLDING = 3, READ_INPUT = 4,
  WRITE_COIL = 5, WRITE_REGISTER = 6, WRITE_COILS = 15, WRITE_REGISTERS = 16,
}

--- Largest counts of one request (specification, section 6).
M.MAX_READ_BITS, M.MAX_READ_REGISTERS = 2000, 125
M.MAX_WRITE_BITS, M.MAX_WRITE_REGISTERS = 1968, 123

M.NAMES = {
  [1] = "read_coils", [2] = "read_discrete", [3] = "read_holding", [4] = "read_input",
  [5] = "write_coil", [6] = "write_register", [15] = "write_coils", [16] = "write_registers",
}

M.EXCEPTIONS = {
  [1] = "illegal function", [2] = "illegal data address", [3] = "illegal data value",
  [4] = "server device failure", [5] = "acknowledge", [6] = "server device busy",
  [7] = "negative acknowledge", [8] = "memory parity error", [10] = "gateway path unavailable",
  [11] = "gateway target device failed to respond",
}

local byte, char, sub = string.byte, string.char, string.sub
local floor = math.floor

local function be16(value) return char(floor(value / 256), value % 256) end

--- The error value of an exception code.
function M.exception(code)
  local name = M.EXCEPTIONS[code]
  local e = err.new(name and "modbus." .. name:gsub(" ", "_") or "modbus.exception",
    ("the device answered exception %d (%s)"):format(code, name or "unknown"))
  e.exception = code
  return e
end

--- Error of a reply that breaks the protocol.
local function malformed(text) return err.new("modbus.malformed", "malformed reply: " .. text) end

-- ---- requests -------------------------------------------------------------------------------

local function whole(value, low, high)
  return type(value) == "number" and value >= low and value <= high and value % 1 == 0
end

--- Checks address and count; raises at the script's line.
function M.check_range(what, address, count, max)
  if not whole(address, 0, 65535) then
    err.raise(("%s: the address is a whole number from 0 to 65535, not %s"):format(what, tostring(address)))
  end
  if not whole(count, 1, max) then
    err.raise(("%s: the count is a whole number from 1 to %d, not %s"):format(what, max, tostring(count)))
  end
  if address + count > 65536 then
    err.raise(("%s: %d + %d goes past address 65535"):format(what, address, count))
  end
end

--- Request to read `count` bits or registers. `fn`: READ_*.
function M.read_request(fn, address, count)
  local bits = fn == M.READ_COILS or fn == M.READ_DISCRETE
  M.check_range(M.NAMES[fn], address, count, bits and M.MAX_READ_BITS or M.MAX_READ_REGISTERS)
  return char(fn) .. be16(address) .. be16(count)
end

function M.write_coil_request(address, on)
  M.check_range("write_coil", address, 1, 1)
  if type(on) ~= "boolean" then err.raise("write_coil: expected true or false, got " .. tostring(on)) end
  return char(M.WRITE_COIL) .. be16(address) .. be16(on and 0xff00 or 0)
end

local function check_register(what, value)
  if whole(value, -32768, 65535) then return value % 65536 end
  err.raise(("%s: a register is a whole number from -32768 to 65535, not %s"):format(what, tostring(value)))
end

function M.write_register_request(address, value)
  M.check_range("write_register", address, 1, 1)
  return char(M.WRITE_REGISTER) .. be16(address) .. be16(check_register("write_register", value))
end

--- Bits as bytes, the first in bit 0 of the first byte.
function M.pack_bits(list, count)
  local bytes = {}
  for i = 0, count - 1 do
    local at = floor(i / 8) + 1
    bytes[at] = (bytes[at] or 0) + (list[i + 1] and 2 ^ (i % 8) or 0)
  end
  return char(unpack(bytes))
end

local function check_list(what, list)
  if type(list) ~= "table" then err.raise(what .. ": expected a list of values, got " .. type(list)) end
  return #list
end

function M.write_coils_request(address, list)
  local count = check_list("write_coils", list)
  M.check_range("write_coils", address, count, M.MAX_WRITE_BITS)
  for i = 1, count do
    if type(list[i]) ~= "boolean" then err.raise(("write_coils: value %d is no true or false"):format(i)) end
  end
  local bits = M.pack_bits(list, count)
  return char(M.WRITE_COILS) .. be16(address) .. be16(count) .. char(#bits) .. bits
end

function M.write_registers_request(address, list)
  local count = check_list("write_registers", list)
  M.check_range("write_registers", address, count, M.MAX_WRITE_REGISTERS)
  local words = {}
  for i = 1, count do words[i] = be16(check_register("write_registers", list[i])) end
  return char(M.WRITE_REGISTERS) .. be16(address) .. be16(count) .. char(count * 2) .. table.concat(words)
end

-- ---- replies --------------------------------------------------------------------------------

local function bits_of(pdu, address, count)
  local out = {}
  for i = 0, count - 1 do
    local b = byte(pdu, 3 + floor(i / 8))
    out[address + i] = bit.band(bit.rshift(b, i % 8), 1) == 1
  end
  return out
end

local function registers_of(pdu, address, count)
  local out = {}
  for i = 0, count - 1 do
    local high, low = byte(pdu, 3 + i * 2, 4 + i * 2)
    out[address + i] = high * 256 + low
  end
  return out
end

--- Decodes the reply to a request: values indexed by address for reads, true for writes; or nil and
--- an error value.
---@param request string the request's PDU
---@param reply string the reply's PDU
function M.decode_reply(request, reply)
  local fn, got = byte(request, 1), byte(reply, 1)
  if not got then return nil, malformed("empty") end
  if got == fn + 128 then
    if #reply ~= 2 then return nil, malformed(("an exception of %d bytes"):format(#reply)) end
    return nil, M.exception(byte(reply, 2))
  end
  if got ~= fn then return nil, malformed(("function %d in answer to %d"):format(got, fn)) end
  local a, b, c, d = byte(request, 2, 5)
  local address, count = a * 256 + b, c * 256 + d
  if fn <= M.READ_INPUT then
    local bits = fn <= M.READ_DISCRETE
    local want = bits and floor((count + 7) / 8) or count * 2
    if byte(reply, 2) ~= want or #reply ~= want + 2 then
      return nil, malformed(("%d data bytes where %d were asked for"):format(#reply - 2, want))
    end
    return (bits and bits_of or registers_of)(reply, address, count)
  end
  if sub(reply, 2, 5) ~= sub(request, 2, 5) or #reply ~= 5 then
    return nil, malformed("it does not repeat what was written")
  end
  return true
end

-- ---- values of more than one register --------------------------------------------------------

--- Registers, then C type, of each value type.
M.TYPES = {
  u16 = { 1, "uint16_t" }, i16 = { 1, "int16_t" }, u32 = { 2, "uint32_t" }, i32 = { 2, "int32_t" },
  f32 = { 2, "float" }, u64 = { 4, "uint64_t" }, i64 = { 4, "int64_t" }, f64 = { 4, "double" },
}
M.TYPE_NAMES = { "u16", "i16", "u32", "i32", "f32", "u64", "i64", "f64" }

--- Byte orders by their usual names: A is the most significant byte. For 64 bits the pattern goes
--- on: abcd = ABCDEFGH, cdab = GHEFCDAB, badc = BADCFEHG, dcba = HGFEDCBA.
M.ORDERS = { "abcd", "cdab", "badc", "dcba" }
local SWAPS = { abcd = { false, false }, cdab = { true, false }, badc = { false, true }, dcba = { true, true } }

local cells = {}
for name, t in pairs(M.TYPES) do cells[name] = ffi.new(t[2] .. "[1]") end

local function type_of(what, as)
  local t = M.TYPES[as]
  if not t then
    local name = tostring(as)
    err.raise(('%s: unknown type "%s"%s'):format(what, name, err.nearest(name, M.TYPE_NAMES)))
  end
  return t
end

local function swaps_of(what, order)
  local s = SWAPS[order or "abcd"]
  if not s then err.raise(('%s: unknown order "%s" (abcd, cdab, badc, dcba)'):format(what, tostring(order))) end
  return s[1], s[2]
end

--- Checks the name of a type and of an order; answers how many registers the type takes.
function M.check_type(what, as, order)
  swaps_of(what, order)
  return type_of(what, as)[1]
end

--- Whether the float at p is no number. Its bits must not be read as a double then: a NaN with odd
--- bits is a forged Lua value.
local function is_nan(p, n)
  local top, rest = p[2 * n - 1] * 256 + p[2 * n - 2], 0
  for i = 0, 2 * n - 3 do rest = bit.bor(rest, p[i]) end
  local exponent = n == 4 and 0x7ff0 or 0x7f80
  return bit.band(top, exponent) == exponent and (bit.band(top, 0x7fff - exponent) ~= 0 or rest ~= 0)
end

--- The value that begins at `address` in registers indexed by address. 64-bit integers beyond 2^53
--- are not exact in a Lua number and raise.
function M.value_at(registers, address, as, order)
  local t = type_of("value", as)
  local swap_words, swap_bytes = swaps_of("value", order)
  local n, cell = t[1], cells[as]
  local p = ffi.cast("uint8_t *", cell)
  for i = 0, n - 1 do
    local word = registers[address + (swap_words and n - 1 - i or i)]
    local high, low = floor(word / 256), word % 256
    if swap_bytes then high, low = low, high end
    local at = (n - 1 - i) * 2 -- little-endian memory
    p[at + 1], p[at] = high, low
  end
  if (as == "f32" or as == "f64") and is_nan(p, n) then return 0 / 0 end
  local value = tonumber(cell[0])
  if n == 4 and as ~= "f64" and (value > 9007199254740992 or value < -9007199254740992) then
    err.raise(("%s at %d: beyond 2^53, not exact in a Lua number"):format(as, address))
  end
  return value
end

--- The registers of a value, in order.
function M.registers_of_value(value, as, order)
  local t = type_of("value", as)
  local swap_words, swap_bytes = swaps_of("value", order)
  local n, cell = t[1], cells[as]
  if type(value) ~= "number" then err.raise(("%s: expected a number, got %s"):format(as, type(value))) end
  cell[0] = value
  if as ~= "f32" and as ~= "f64" and tonumber(cell[0]) ~= value then
    err.raise(("%s cannot hold %s"):format(as, tostring(value)))
  end
  local p, out = ffi.cast("uint8_t *", cell), {}
  for i = 0, n - 1 do
    local at = (n - 1 - i) * 2
    local high, low = p[at + 1], p[at]
    if swap_bytes then high, low = low, high end
    out[(swap_words and n - 1 - i or i) + 1] = high * 256 + low
  end
  return out
end

-- ---- the server's side ------------------------------------------------------------------------

local function refuse(fn, code) return char(bit.bor(fn, 128), code) end

--- What a request asks for: { fn, address, count, values } or nil and an exception code.
function M.decode_request(pdu)
  local fn, a, b, c, d = byte(pdu, 1, 5)
  if not M.NAMES[fn or 0] then return nil, 1, fn or 0 end
  if not d then return nil, 3, fn end
  local r = { fn = fn, address = a * 256 + b, count = c * 256 + d }
  if fn <= M.READ_INPUT then
    local max = fn <= M.READ_DISCRETE and M.MAX_READ_BITS or M.MAX_READ_REGISTERS
    if #pdu ~= 5 or r.count < 1 or r.count > max then return nil, 3, fn end
  elseif fn == M.WRITE_COIL or fn == M.WRITE_REGISTER then
    if #pdu ~= 5 or (fn == M.WRITE_COIL and r.count ~= 0 and r.count ~= 0xff00) then return nil, 3, fn end
    local value = r.count
    if fn == M.WRITE_COIL then value = r.count == 0xff00 end
    r.values, r.count = { [r.address] = value }, 1
  else
    local bits = fn == M.WRITE_COILS
    local want = bits and floor((r.count + 7) / 8) or r.count * 2
    local max = bits and M.MAX_WRITE_BITS or M.MAX_WRITE_REGISTERS
    if r.count < 1 or r.count > max or byte(pdu, 6) ~= want or #pdu ~= want + 6 then return nil, 3, fn end
    r.values = (bits and bits_of or registers_of)(sub(pdu, 5), r.address, r.count)
  end
  if r.address + r.count > 65536 then return nil, 2, fn end
  return r
end

--- Answers a request out of a bank (see modbus_server.lua). Answers the reply's PDU.
function M.serve(bank, pdu)
  local r, code, fn = M.decode_request(pdu)
  if not r then return refuse(fn, code) end
  local bad = bank:refuses(r)
  if bad then return refuse(r.fn, bad) end
  if r.fn > M.READ_INPUT then
    bank:write(r)
    return sub(pdu, 1, 5)
  end
  local list = bank:read(r)
  if not list then return refuse(r.fn, 4) end
  if r.fn <= M.READ_DISCRETE then
    local bits = M.pack_bits(list, r.count)
    return char(r.fn, #bits) .. bits
  end
  local words = {}
  for i = 1, r.count do words[i] = be16(list[i]) end
  return char(r.fn, r.count * 2) .. table.concat(words)
end

return M
