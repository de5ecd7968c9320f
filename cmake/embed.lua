-- Writes a C file that holds Lua modules and the FFI-visible part of ecs_abi.h.
-- usage: luajit embed.lua OUT.c ECS_ABI.H ROOT FILE...   (module names are paths below ROOT or ROOT/lua)
local out_path, abi_path, root = arg[1], arg[2], arg[3]

local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read("*a")
  file:close()
  return text
end

local function c_bytes(text)
  local parts = {}
  for i = 1, #text, 32 do
    local line = {}
    for j = i, math.min(i + 31, #text) do
      local b = text:byte(j)
      line[#line + 1] = b < 128 and b or b - 256
    end
    parts[#parts + 1] = table.concat(line, ",")
  end
  return table.concat(parts, ",\n")
end

local out = { '#include "builtin.h"\n' }
local rows = {}

local function add(symbol, name, path, text)
  assert(loadstring(text, "@" .. path)) -- a syntax error fails the build
  out[#out + 1] = ("static const char M%s[] = {%s,0};\n"):format(symbol, c_bytes(text))
  rows[#rows + 1] = ('{"%s", "%s", M%s, %d},'):format(name, path, symbol, #text)
end

--- What the compiler's numbers mean, from the LuaJIT that is linked: "stator.jit_names".
local function jit_names()
  local vmdef = require "jit.vmdef"
  local lines = { ("return { bytecodes = %q, errors = {"):format(vmdef.bcnames) }
  for number = 0, #vmdef.traceerr do lines[#lines + 1] = ("[%d] = %q,"):format(number, vmdef.traceerr[number]) end
  lines[#lines + 1] = "}, functions = {"
  for number = 0, #vmdef.ffnames do lines[#lines + 1] = ("[%d] = %q,"):format(number, vmdef.ffnames[number]) end
  lines[#lines + 1] = "} }"
  return table.concat(lines, "\n")
end
for i = 4, #arg do
  local path = arg[i]:sub(#root + 2):gsub("^lua/", "")
  local name = path:gsub("%.lua$", ""):gsub("/init$", ""):gsub("/", ".")
  add(tostring(i), name, path, read(arg[i]))
end
add("jit", "stator.jit_names", "stator/jit_names.lua", jit_names())
local abi = read(abi_path):match("/%* ABI%-BEGIN %*/(.-)/%* ABI%-END %*/")
out[#out + 1] = ("const builtin_t BUILTINS[] = {\n%s\n};\n"):format(table.concat(rows, "\n"))
out[#out + 1] = ("const size_t BUILTIN_COUNT = %d;\n"):format(#rows)
out[#out + 1] = ("const char ABI_TEXT[] = {%s,0};\nconst size_t ABI_TEXT_BYTES = %d;\n"):format(c_bytes(abi), #abi)
local file = assert(io.open(out_path, "wb"))
file:write(table.concat(out))
file:close()
