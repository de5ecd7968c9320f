--- `stator run --explain-jit`: hot loops of scripts that the compiler gave up on, why, and what to write
--- instead; and boxes that are indexed more than once for a row.
---
--- Goes by LuaJIT's own events: a trace starts at a hot loop, and stops (it is compiled) or aborts. A
--- loop that aborts again and again is blacklisted: it stays in the interpreter, 30 to 350 times slower
--- where it reads columns. Scripts do not get `jit`.
local script = require "stator.script"
local names = require "stator.jit_names"
local util = require "jit.util"

local LOOPS_MAX = 512
local ABORTS_TOLD = 4 -- fewer: it was compiled in the end, or is not hot

local M = {}

local loops, by_place, root_of, recording -- in the order of their first start; by trace number

-- ---- events -----------------------------------------------------------------------------------

local function place_of(func, pc)
  local info = type(func) == "function" and util.funcinfo(func, pc)
  if not info or not info.source or info.source:sub(1, 1) ~= "@" then return nil end
  return info.source:sub(2) .. ":" .. (info.currentline or 0), info
end

local function on_start(trace, func, pc, parent)
  if parent then -- a side of a trace that is there: it counts for the loop where that began
    recording = root_of[parent]
    root_of[trace] = recording
    return
  end
  local place = place_of(func, pc)
  recording = place and by_place[place]
  if place and not recording and #loops < LOOPS_MAX and place:sub(1, 7) ~= "stator/" then
    recording = { place = place, func = func, pc = pc, aborts = 0 }
    loops[#loops + 1], by_place[place] = recording, recording
  end
  root_of[trace] = recording
end

local function on_abort(func, pc, number, detail)
  local loop = recording
  if not loop then return end
  loop.aborts = loop.aborts + 1
  loop.error, loop.detail, loop.at = number, detail, place_of(func, pc)
end

local function on_event(what, trace, func, pc, number_or_parent, detail)
  if what == "start" then
    on_start(trace, func, pc, number_or_parent)
  elseif what == "abort" then
    on_abort(func, pc, number_or_parent, detail)
  elseif what == "stop" then
    if recording then recording.compiled = true end
  elseif what == "flush" then
    root_of = {}
  end
end

--- Begins to listen. Once for a VM.
function M.start()
  loops, by_place, root_of, recording = {}, {}, {}, nil
  jit.attach(on_event, "trace")
end

-- ---- reasons ----------------------------------------------------------------------------------

local BYTECODES = {
  FNEW = { "it makes a function in every turn", "make the function once, before the loop" },
  UCLO = { "it closes over a variable of the loop",
    "keep what the function needs in a table that is made before the loop" },
  ISNEXT = { "it walks a table with pairs or next", "keep a list and write for i = 1, #list" },
  ITERN = { "it walks a table with pairs or next", "keep a list and write for i = 1, #list" },
  VARG = { "it uses ...", "name the arguments" },
  TSETM = { "it makes a table of several results", "give the results names first" },
}

local ERRORS = {
  ["trace too long"] = { "its body is too long", "move what seldom runs into a function of its own" },
  ["too many snapshots"] = { "it has too many branches", "move some of them into a function of their own" },
  ["too many spill slots"] = { "it has too many variables at once",
    "split the loop, or move part of it into a function" },
  ["too many PHIs"] = { "it carries too many variables from turn to turn", "keep them in a table" },
  ["persistent type instability"] = { "a variable changes its type from turn to turn",
    "begin with a value of the same type: 0 and not nil" },
  ["call unroll limit reached"] = { "a function calls itself", "write a loop" },
  ["loop unroll limit reached"] = { "an inner loop runs only a few turns each time",
    "write the few turns out, or make it the outer one" },
  ["JIT compilation disabled for function"] = { "it was being stopped by the watchdog",
    "let it wait, or do less in one slice" },
  ["store with nil or NaN key"] = { "a key is nil or not a number", "test the key first" },
  ["NYI: unsupported C type conversion"] = { "it converts a value of a view in a way that is not compiled",
    "copy the number into a local first" },
  ["failed to allocate mcode memory"] = { "there is no memory for machine code left", "make scripts smaller" },
}

--- The name of a function of Lua's library: string.gsub.
local function name_of(func)
  local info = type(func) == "function" and util.funcinfo(func)
  if info and info.ffid then return (names.functions[info.ffid]:gsub("_", ".")) end
  return info and info.loc or "a function of C"
end

--- The operation's name without blanks: "FNEW".
local function bytecode(number)
  return (names.bytecodes:sub(number * 6 + 1, number * 6 + 6):gsub(" ", ""))
end

--- Why, and what to write instead.
local function explain(loop)
  local text = type(loop.error) == "number" and names.errors[loop.error] or tostring(loop.error)
  if text:find("^NYI: bytecode") then
    local op = bytecode(loop.detail)
    local known = BYTECODES[op]
      or { "it does something that is not compiled (" .. op .. ")", "move that out of the loop" }
    return known[1], known[2]
  end
  if text:find "FastFunc" or text:find "C function" then
    return "it calls " .. name_of(loop.detail) .. ", which is not compiled", "call it outside of the loop"
  end
  local known = ERRORS[text] or { text, "make the loop's body simpler" }
  return known[1], known[2]
end

--- What began the trace, by the instruction there: a loop or a function; and whether that says: for the
--- interpreter only.
local function kind_of(loop)
  for pc = math.max(loop.pc - 1, 0), loop.pc + 1 do
    local ok, instruction = pcall(util.funcbc, loop.func, pc)
    local op = ok and instruction and bytecode(bit.band(instruction, 0xff)) or ""
    if op:find "^[IJ]?FORL" or op:find "^[IJ]?LOOP" or op:find "^[IJ]?ITERL" then
      return "loop", op:sub(1, 1) == "I" and op ~= "ITERL"
    end
    if op:find "^IFUNC" then return "function", true end
  end
  return "function", false
end

local function slow_loops(lines)
  for _, loop in ipairs(loops) do
    local kind, given_up = kind_of(loop)
    if loop.aborts > 0 and (given_up or (not loop.compiled and loop.aborts >= ABORTS_TOLD)) then
      local why, instead = explain(loop)
      lines[#lines + 1] = ("%s: the %s is not compiled%s: %s%s; %s"):format(loop.place,
        kind, given_up and " (given up)" or "", why,
        loop.at and loop.at ~= loop.place and (" (%s)"):format(loop.at) or "", instead)
    end
  end
end

-- ---- boxes ------------------------------------------------------------------------------------

--- The texts of all scripts and of the simulated devices.
local function sources()
  local files = {}
  for _, list in ipairs { script.uses, script.simulators } do
    for _, s in ipairs(list) do
      for _, file in ipairs(s.files) do files[#files + 1] = file end
    end
  end
  return script.sources(files)
end

local function doubled_boxes(lines)
  for _, source in ipairs(sources()) do
    local doubled = source.claims.doubled
    for i = 1, #doubled, 2 do
      lines[#lines + 1] = ("%s:%d: %s is looked up more than once for a row, which costs 2.5 times: bind the row "
        .. "once, local row = %s"):format(source.shown, doubled[i + 1], doubled[i], doubled[i])
    end
  end
end

-- ---- the report -------------------------------------------------------------------------------

--- Lines for people; says so when there is nothing to tell.
---@return string
function M.report()
  local lines = {}
  slow_loops(lines)
  doubled_boxes(lines)
  local head = #lines == 0 and "explain-jit: every hot loop of the scripts was compiled, and rows are bound once\n"
    or ("explain-jit: %d to mend\n"):format(#lines)
  for i, line in ipairs(lines) do lines[i] = "  " .. line .. "\n" end
  return head .. table.concat(lines)
end

return M
