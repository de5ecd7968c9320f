-- The Modbus codec on its own: bytes of the specification's examples, limits, garbage.
local support = require "support"

local cell
local function codec(code, ...)
  return cell:eval("local pdu = require 'stator.driver.modbus' local tcp = require 'stator.driver.modbus_tcp' "
    .. "local function hex(s) return (s:gsub('.', function(c) return ('%02x '):format(c:byte()) end):sub(1, -2)) end "
    .. "local function raw(t) return (t:gsub('%x%x%s?', function(h) return string.char(tonumber(h:sub(1, 2), 16)) end)) end " .. code, ...)
end

describe("the Modbus codec", function()
  before_each(function() cell = support.cell 'local stator = require "stator"' end)
  after_each(support.finish)

  -- requests and replies of MODBUS Application Protocol V1.1b3, section 6
  it("writes the requests of the specification", function()
    assert.equal("01 00 13 00 13", codec "return hex(pdu.read_request(1, 0x13, 0x13))")
    assert.equal("03 00 6b 00 03", codec "return hex(pdu.read_request(3, 0x6b, 3))")
    assert.equal("05 00 ac ff 00", codec "return hex(pdu.write_coil_request(0xac, true))")
    assert.equal("06 00 01 00 03", codec "return hex(pdu.write_register_request(1, 3))")
    assert.equal("0f 00 13 00 0a 02 cd 01",
      codec "return hex(pdu.write_coils_request(0x13, { true, false, true, true, false, false, true, true, true, false }))")
    assert.equal("10 00 01 00 02 04 00 0a 01 02", codec "return hex(pdu.write_registers_request(1, { 10, 0x102 }))")
  end)

  it("reads the replies of the specification", function()
    local a, b, c = codec [[local v = pdu.decode_reply(raw "03 00 6b 00 03", raw "03 06 02 2b 00 00 00 64") return v[107], v[108], v[109] ]]
    assert.same({ 555, 0, 100 }, { a, b, c })
    local on, off = codec [[local v = pdu.decode_reply(raw "01 00 13 00 13", raw "01 03 cd 6b 05") return v[0x13], v[0x14] ]]
    assert.same({ true, false }, { on, off })
    local _, code, text = codec [[local v, e = pdu.decode_reply(raw "01 04 a1 00 01", raw "81 02") return v, e.code, e.message]]
    assert.same({ "modbus.illegal_data_address", "the device answered exception 2 (illegal data address)" }, { code, text })
  end)

  it("refuses replies that do not fit their request", function()
    for _, reply in ipairs { "", "03", "03 04 00 01 00 02", "03 06 00 01", "04 06 00 00 00 00 00 00", "83", "83 02 00", "03 06 00 00 00 00 00 00 00" } do
      assert.equal("modbus.malformed", codec([[local v, e = pdu.decode_reply(raw "03 00 6b 00 03", raw(...)) return e and e.code]], reply), reply)
    end
    assert.equal("modbus.malformed", codec [[local v, e = pdu.decode_reply(raw "06 00 01 00 03", raw "06 00 01 00 04") return e.code]])
  end)

  it("frames: whole, in parts, several at once, and no Modbus", function()
    assert.equal("00 07 00 00 00 06 11 03 00 6b 00 03", codec [[return hex(tcp.encode(7, 17, raw "03 00 6b 00 03"))]])
    local t, unit, body, rest = codec [[local t, u, b, r = tcp.decode(raw "00 07 00 00 00 03 11 83 02 00 08") return t, u, hex(b), hex(r)]]
    assert.same({ 7, 17, "83 02", "00 08" }, { t, unit, body, rest })
    for n = 0, 8 do assert.is_nil((codec("return (tcp.decode((raw '00 07 00 00 00 03 11 83 02'):sub(1, ...)))", n))) end
    assert.equal("protocol id 1 where 0 stands in Modbus TCP", select(2, codec [[return tcp.decode(raw "00 07 00 01 00 03 11 83 02")]]))
    assert.matches("a frame of 1000 bytes", (select(2, codec [[return tcp.decode(raw "00 07 00 00 03 e8 11 83 02")]])))
  end)

  it("brings every type back in every order", function()
    assert.equal("ok", codec [[
      local values = { u16 = 65535, i16 = -2, u32 = 4294967295, i32 = -70000, f32 = -1.5, u64 = 2^53, i64 = -(2^53), f64 = 0.1 }
      for as, value in pairs(values) do
        for _, order in ipairs(pdu.ORDERS) do
          local registers = {}
          for i, r in ipairs(pdu.registers_of_value(value, as, order)) do registers[99 + i] = r end
          if pdu.value_at(registers, 100, as, order) ~= value then return as .. " " .. order end
        end
      end
      local f = pdu.registers_of_value(123456.0, "f32", "abcd")
      return f[1] == 0x47f1 and f[2] == 0x2000 and "ok" or "f32 layout"]])
  end)

  it("turns a NaN with odd bits into a plain one, and refuses what is not exact", function()
    assert.equal("number", codec [[return type(pdu.value_at({ [0] = 0xffff, 0xffff, 0xffff, 0xffff }, 0, "f64", "abcd"))]])
    assert.equal("number", codec [[return type(pdu.value_at({ [0] = 0xffff, 0xffff }, 0, "f32", "abcd"))]])
    assert.has_error(function() codec [[pdu.value_at({ [0] = 0x7fff, 0, 0, 1 }, 0, "u64", "abcd")]] end)
    assert.has_error(function() codec [[pdu.registers_of_value(70000, "u16")]] end)
    assert.has_error(function() codec [[pdu.registers_of_value(1.5, "i32")]] end)
  end)

  it("answers any bytes with a reply or an exception", function()
    assert.equal("ok", codec [[
      local server = require "stator.driver.modbus_server"
      local bank, seed = server.bank(), 1
      for round = 1, 20000 do
        local bytes = {}
        seed = (seed * 1103515245 + 12345) % 2147483648
        for i = 1, seed % 12 do
          seed = (seed * 1103515245 + 12345) % 2147483648
          bytes[i] = string.char(math.floor(seed / 65536) % (i == 1 and 20 or 256))
        end
        local request = table.concat(bytes)
        local reply = pdu.serve(bank, request)
        if #reply < 2 or #reply > 253 then return ("reply of %d bytes to %s"):format(#reply, hex(request)) end
      end
      return "ok"]])
  end)

  it("groups inputs into few reads", function()
    assert.equal("di 3-7 2 | ir 10-11 2 | ir 40-41 1", codec [[
      local points = require "stator.driver.modbus_points"
      local list = {}
      for _, text in ipairs { "ir 11", "di 7", "ir 40 f32", "coil 1", "di 3", "ir 10" } do
        local p = assert(points.parse(text)) p.path = text list[#list + 1] = p
      end
      local out = {}
      for _, g in ipairs(points.group_inputs(list)) do out[#out + 1] = ("%s %d-%d %d"):format(g.area, g.first, g.last, #g.points) end
      return table.concat(out, " | ")]])
  end)
end)
