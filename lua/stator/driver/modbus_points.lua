--- Points: fields of components bound to Modbus addresses in the scene.
---
---   "eye1.PhotoEye.blocked": "di 3"            input: a discrete input fills the field
---   "belt1.Belt.run": "coil 5"                 output: the coil follows the field
---   "tank.Level.mm": "ir 10 f32 cdab"          input register, with type and byte order
---   "drive.Status.word": "hr 20 in"            a holding register that is only read
---
--- Inputs are read every `scan_s` of the link, neighbours in one request; outputs are written when
--- the link comes up and whenever the field changes.
local abi = require "stator.abi"
local combine = require "stator.combine"
local command = require "stator.command"
local core = require "stator.core.task"
local entity = require "stator.entity"
local err = require "stator.err"
local log = require "stator.log"
local pdu = require "stator.driver.modbus"
local task = require "stator.task"
local time = require "stator.time"

local TYPE = abi.TYPE
local GAP_MAX = 8 -- addresses read along between two inputs, rather than asking twice

local M = {}

local AREAS = {
  di = { read = "read_discrete", bits = true },
  coil = { read = "read_coils", bits = true, writable = true },
  ir = { read = "read_input" },
  hr = { read = "read_holding", writable = true },
}
local AREA_NAMES = { "coil", "di", "hr", "ir" }

--- Reads "hr 20 f32 cdab in". Answers a point, or nil and what is wrong.
---@param text string
function M.parse(text)
  local words = {}
  for word in text:gmatch("%S+") do words[#words + 1] = word end
  local area = AREAS[words[1] or ""]
  if not area then
    local name = words[1] or ""
    return nil, ('unknown area "%s"%s; expected di, coil, ir or hr'):format(name, err.nearest(name, AREA_NAMES))
  end
  local address = tonumber(words[2])
  if not address or address % 1 ~= 0 or address < 0 or address > 65535 then
    return nil, ('"%s" is no address from 0 to 65535'):format(words[2] or "")
  end
  local point = { area = words[1], address = address, input = not area.writable, order = "abcd" }
  point.as = area.bits and "bit" or "u16"
  for i = 3, #words do
    local word = words[i]
    if word == "in" then
      point.input = true
    elseif pdu.TYPES[word] and not area.bits then
      point.as = word
    elseif (word == "abcd" or word == "cdab" or word == "badc" or word == "dcba") and not area.bits then
      point.order = word
    else
      return nil, ('"%s" is no type (%s), order (%s) or "in"'):format(word, table.concat(pdu.TYPE_NAMES, " "),
        table.concat(pdu.ORDERS, " "))
    end
  end
  point.size = area.bits and 1 or pdu.TYPES[point.as][1]
  return point
end

--- Ranges of whole numbers; what is not here is a float.
local RANGES = {
  u16 = { 0, 65535 }, i16 = { -32768, 32767 }, u32 = { 0, 2 ^ 32 - 1 }, i32 = { -2 ^ 31, 2 ^ 31 - 1 },
  u64 = { 0, 2 ^ 53 }, i64 = { -2 ^ 53, 2 ^ 53 }, int8_t = { -128, 127 }, uint8_t = { 0, 255 },
  int16_t = { -32768, 32767 }, uint16_t = { 0, 65535 }, int32_t = { -2 ^ 31, 2 ^ 31 - 1 },
  uint32_t = { 0, 2 ^ 32 - 1 }, enum = { 0, 63 },
}

--- Whether every value of one type is a value of the other. Floats take all.
local function fits(from, to)
  local a, b = RANGES[from], RANGES[to]
  if not b then return true end
  return a ~= nil and a[1] >= b[1] and a[2] <= b[2]
end

--- Whether a field can hold the point; answers what is wrong, or nil.
function M.check(point, field)
  local t = TYPE[field.type]
  if field.is_array or t == "char" or t == "entity" or t == "struct" then
    return "a point fills a single number or bool"
  end
  if point.as == "bit" and t ~= "bool" then return "a bit needs a bool field, this one is " .. t end
  if point.as ~= "bit" and t == "bool" then return "a register does not fit a bool field" end
  if point.address + point.size > 65536 then
    return ("%s at %d goes past address 65535"):format(point.as, point.address)
  end
  local from, to = point.as, t
  if not point.input then from, to = t, point.as end
  if point.as ~= "bit" and t ~= "enum" and not fits(from, to) then
    return ("not every %s fits %s"):format(from, to)
  end
end

-- ---- inputs ---------------------------------------------------------------------------------

local function group_inputs(points)
  local inputs, groups = {}, {}
  for _, p in ipairs(points) do if p.input then inputs[#inputs + 1] = p end end
  table.sort(inputs, function(a, b)
    if a.area ~= b.area then return a.area < b.area end
    if a.address ~= b.address then return a.address < b.address end
    return a.path < b.path
  end)
  for _, p in ipairs(inputs) do
    local g = groups[#groups]
    local max = AREAS[p.area].bits and pdu.MAX_READ_BITS or pdu.MAX_READ_REGISTERS
    local joins = g and g.area == p.area and p.address <= g.last + 1 + GAP_MAX and p.address + p.size - g.first <= max
    if not joins then
      g = { area = p.area, first = p.address, last = p.address, points = {} }
      groups[#groups + 1] = g
    end
    g.last = math.max(g.last, p.address + p.size - 1)
    g.points[#g.points + 1] = p
  end
  return groups
end
M.group_inputs = group_inputs

local function value_of(point, values)
  if point.as == "bit" then return values[point.address] end
  return pdu.value_at(values, point.address, point.as, point.order)
end

local function equal(view, name, value)
  local now = view[name]
  return now == value or (now ~= now and value ~= value)
end

--- Sets the fields that differ; one that does not is as fresh as if it did.
local function store(point, value)
  local view = entity.Entity.find(point.entity, point.component)
  if not view then return end
  if equal(view, point.field.name, value) then
    command:confirm(point.entity, point.component)
  else
    command:set(point.entity, point.component, { [point.field.name] = value })
  end
end

--- A request that failed; that the link went down is told by the link itself.
local function tell_trouble(l, what, e)
  if l.state == "up" and e.code ~= "link_down" then
    log.event("warn", l.task_name, ("%s: %s"):format(what, e.message))
  end
end

local function read_group(l, group)
  local read = l.driver.methods[AREAS[group.area].read]
  local values = task.await(read(l.handle, group.first, group.last - group.first + 1))
  for _, point in ipairs(group.points) do store(point, value_of(point, values)) end
end

local function run_inputs(l, groups)
  for _ in time.every(l.settings.scan_s) do
    for _, group in ipairs(groups) do
      local ok, e = combine.try(read_group, l, group)
      if not ok then tell_trouble(l, "points", e) end
    end
  end
end

-- ---- outputs --------------------------------------------------------------------------------

local function write(l, point)
  local view = entity.Entity.find(point.entity, point.component)
  if not view then return end
  local value = view[point.field.name]
  local methods = l.driver.methods
  if point.as == "bit" then
    task.await(methods.write_coil(l.handle, point.address, value))
  elseif point.size == 1 then
    task.await(methods.write_register(l.handle, point.address, pdu.registers_of_value(value, point.as, point.order)[1]))
  else
    task.await(methods.write_value(l.handle, point.address, value, { as = point.as, order = point.order }))
  end
end

local function watch(point)
  return core.watch("changed", point.entity, point.component.id, { point.field.index, 0 }):start()
end

--- Writes an output once, then whenever its field changes. What fails is tried again.
local function run_output(l, point)
  local future
  combine.defer(function()
    if future then core.abort(future) end
  end)
  while true do
    future = watch(point) -- from here on no change is missed
    local ok, e = combine.try(write, l, point)
    while not ok do
      tell_trouble(l, "output " .. point.path, e)
      task.await(core.sleep(l.settings.scan_s))
      ok, e = combine.try(write, l, point)
    end
    task.await(future)
  end
end

--- Serves a link's points while it is up; a child of the link's task.
function M.run(l)
  local groups = group_inputs(l.points)
  if #groups > 0 then task.child(run_inputs, { name = l.task_name }, l, groups) end
  for _, point in ipairs(l.points) do
    if not point.input then task.child(run_output, { name = l.task_name }, l, point) end
  end
end

return M
