--- Scan logic with the meaning of IEC 61131-3: timers, edges, counters, latches.
---
---   local debounce = stator.ton(0.05)                 -- a local of the script, or of a task
---   stator.system("eye", { write = { Eye } }, function(_, q)
---     for _, eye in q:each() do eye.present = debounce(eye.blocked) end
---   end)
---
--- Each is a plain object that is called once a scan, by a system or a task; it waits for nothing. Time is
--- that of the step, stator.now(). What it remembers lies in the object: it is gone when the script is
--- loaded again, and one object serves one signal. Inputs are true or false: a number is an error, since
--- 0 counts as true in Lua.
local core = require "stator.core.task"
local err = require "stator.err"

local M = {}

local RESOLUTION_S = 5e-10 -- half a nanosecond: differences of times are not exact
local COUNT_MIN, COUNT_MAX = -2147483648, 2147483647 -- DINT

local function check_input(what, input, value)
  if type(value) ~= "boolean" then
    err.raise(("%s: %s is true or false, not %s"):format(what, input, err.shown(value)))
  end
end

local function check_time(what, pt_s)
  if type(pt_s) ~= "number" or not (pt_s >= 0 and pt_s < math.huge) then
    err.raise(("%s: PT is seconds from 0, not %s"):format(what, err.shown(pt_s)))
  end
  return pt_s
end

local function check_preset(what, pv)
  if type(pv) ~= "number" or pv % 1 ~= 0 or not (pv >= COUNT_MIN and pv <= COUNT_MAX) then
    err.raise(("%s: PV is a whole number of 32 bits, not %s"):format(what, err.shown(pv)))
  end
  return pv
end

-- ---- timers ---------------------------------------------------------------------------------

---@class (exact) stator.IecTimer
---@field q boolean output Q
---@field et_s number elapsed time ET, up to PT
---@field pt_s number preset time PT
---@field since_s number? when the time that runs began

local function new_timer(what, class, pt_s)
  return setmetatable({ q = false, et_s = 0, pt_s = check_time(what, pt_s) }, class)
end

--- Sets ET and answers whether PT has passed.
local function elapse(t)
  local et_s = core.now() - t.since_s
  local over = et_s > t.pt_s - RESOLUTION_S
  t.et_s = over and t.pt_s or et_s
  return over
end

local function preset(what, t, input, pt_s)
  check_input(what, "IN", input)
  if pt_s ~= nil then t.pt_s = check_time(what, pt_s) end
end

local Ton = {}
function Ton.__call(t, input, pt_s)
  preset("ton", t, input, pt_s)
  if not input then
    t.since_s, t.et_s, t.q = nil, 0, false
  else
    t.since_s = t.since_s or core.now()
    t.q = elapse(t)
  end
  return t.q, t.et_s
end

local Tof = {}
function Tof.__call(t, input, pt_s)
  preset("tof", t, input, pt_s)
  if input then
    t.since_s, t.et_s, t.q = nil, 0, true
  elseif t.q then
    t.since_s = t.since_s or core.now()
    t.q = not elapse(t)
  end
  return t.q, t.et_s
end

local Tp = {}
function Tp.__call(t, input, pt_s)
  preset("tp", t, input, pt_s)
  if input and not t.before and not t.since_s then t.since_s = core.now() end
  t.before = input
  if t.since_s then
    local over = elapse(t)
    t.q = not over
    if over and not input then t.since_s, t.et_s = nil, 0 end -- ET stays at PT as long as IN is true
  end
  return t.q, t.et_s
end

--- TON, on delay: Q once IN has been true for PT; ET counts up to PT while IN is true.
---@param pt_s number PT in seconds; a call's second argument sets another
---@return stator.IecTimer timer local q, et_s = timer(input)
function M.ton(pt_s) return new_timer("ton", Ton, pt_s) end

--- TOF, off delay: Q while IN is true and for PT after it; ET counts after IN, and stays at PT until IN comes again.
---@param pt_s number PT in seconds; a call's second argument sets another
---@return stator.IecTimer timer local q, et_s = timer(input)
function M.tof(pt_s) return new_timer("tof", Tof, pt_s) end

--- TP, pulse: Q for PT from a rising edge of IN, whatever IN does meanwhile; ET stays at PT until IN is false.
---@param pt_s number PT in seconds; a call's second argument sets another
---@return stator.IecTimer timer local q, et_s = timer(input)
function M.tp(pt_s) return new_timer("tp", Tp, pt_s) end

-- ---- edges ----------------------------------------------------------------------------------

local RTrig = {}
function RTrig.__call(t, clk)
  check_input("r_trig", "CLK", clk)
  t.q, t.m = clk and not t.m, clk
  return t.q
end

local FTrig = {}
function FTrig.__call(t, clk)
  check_input("f_trig", "CLK", clk)
  t.q, t.m = not clk and not t.m, not clk
  return t.q
end

--- R_TRIG: Q for one call when CLK has become true. As in the standard, a first call with true is an edge.
---@return fun(clk: boolean): boolean
function M.r_trig() return setmetatable({ q = false, m = false }, RTrig) end

--- F_TRIG: Q for one call when CLK has become false. As in the standard, a first call with false is an edge.
---@return fun(clk: boolean): boolean
function M.f_trig() return setmetatable({ q = false, m = false }, FTrig) end

-- ---- counters -------------------------------------------------------------------------------

--- Whether a count input has a rising edge in this call.
local function counts(what, c, input, value)
  check_input(what, input, value)
  local edge = value and not c[input]
  c[input] = value
  return edge
end

--- An input that may be left out.
local function optional(what, input, value)
  if value == nil then return false end
  check_input(what, input, value)
  return value
end

local Ctu = {}
function Ctu.__call(c, cu, r)
  local up = counts("ctu", c, "CU", cu)
  if optional("ctu", "R", r) then
    c.cv = 0
  elseif up and c.cv < COUNT_MAX then
    c.cv = c.cv + 1
  end
  c.q = c.cv >= c.pv
  return c.q, c.cv
end

local Ctd = {}
function Ctd.__call(c, cd, ld)
  local down = counts("ctd", c, "CD", cd)
  if optional("ctd", "LD", ld) then
    c.cv = c.pv
  elseif down and c.cv > COUNT_MIN then
    c.cv = c.cv - 1
  end
  c.q = c.cv <= 0
  return c.q, c.cv
end

local Ctud = {}
function Ctud.__call(c, cu, cd, r, ld)
  local up, down = counts("ctud", c, "CU", cu), counts("ctud", c, "CD", cd)
  local reset, load = optional("ctud", "R", r), optional("ctud", "LD", ld)
  if reset then
    c.cv = 0
  elseif load then
    c.cv = c.pv
  elseif up and not down and c.cv < COUNT_MAX then
    c.cv = c.cv + 1
  elseif down and not up and c.cv > COUNT_MIN then
    c.cv = c.cv - 1
  end
  c.qu, c.qd = c.cv >= c.pv, c.cv <= 0
  return c.qu, c.qd, c.cv
end

local function new_counter(what, class, pv)
  return setmetatable({ cv = 0, pv = check_preset(what, pv), CU = false, CD = false }, class)
end

--- CTU, up counter: CV counts rising edges of CU, R sets it to 0; Q while CV >= PV.
---@param pv integer
---@return fun(cu: boolean, r: boolean?): boolean, integer counter local q, cv = counter(cu, r)
function M.ctu(pv) return new_counter("ctu", Ctu, pv) end

--- CTD, down counter: CV counts rising edges of CD down, LD sets it to PV; Q while CV <= 0.
---@param pv integer
---@return fun(cd: boolean, ld: boolean?): boolean, integer counter local q, cv = counter(cd, ld)
function M.ctd(pv) return new_counter("ctd", Ctd, pv) end

--- CTUD, up-down counter: R goes before LD, LD before counting; edges of both at once do not count.
---@param pv integer
---@return fun(cu: boolean, cd: boolean, r: boolean?, ld: boolean?): boolean, boolean, integer counter qu, qd, cv
function M.ctud(pv) return new_counter("ctud", Ctud, pv) end

-- ---- latches --------------------------------------------------------------------------------

local Sr = {}
function Sr.__call(t, s1, r)
  check_input("sr", "S1", s1)
  check_input("sr", "R", r)
  t.q = s1 or (not r and t.q)
  return t.q
end

local Rs = {}
function Rs.__call(t, s, r1)
  check_input("rs", "S", s)
  check_input("rs", "R1", r1)
  t.q = not r1 and (s or t.q)
  return t.q
end

--- SR, latch in which setting wins.
---@return fun(s1: boolean, r: boolean): boolean
function M.sr() return setmetatable({ q = false }, Sr) end

--- RS, latch in which resetting wins.
---@return fun(s: boolean, r1: boolean): boolean
function M.rs() return setmetatable({ q = false }, Rs) end

return M
