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
for i = 4, #arg do
  local path = arg[i]:sub(#root + 2):gsub("^lua/", "")
  local name = path:gsub("%.lua$", ""):gsub("/init$", ""):gsub("/", ".")
  local text = read(arg[i])
  assert(loadstring(text, "@" .. path)) -- a syntax error fails the build
  out[#out + 1] = ("static const char M%d[] = {%s,0};\n"):format(i, c_bytes(text))
  rows[#rows + 1] = ('{"%s", "%s", M%d, %d},'):format(name, path, i, #text)
end
local abi = read(abi_path):match("/%* ABI%-BEGIN %*/(.-)/%* ABI%-END %*/")
out[#out + 1] = ("const builtin_t BUILTINS[] = {\n%s\n};\n"):format(table.concat(rows, "\n"))
out[#out + 1] = ("const size_t BUILTIN_COUNT = %d;\n"):format(#rows)
out[#out + 1] = ("const char ABI_TEXT[] = {%s,0};\nconst size_t ABI_TEXT_BYTES = %d;\n"):format(c_bytes(abi), #abi)
local file = assert(io.open(out_path, "wb"))
file:write(table.concat(out))
file:close()
