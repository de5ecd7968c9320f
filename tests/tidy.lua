-- House style that no other tool checks: who may know whom, lengths, banned calls, no pairs order,
-- READMEs of folders. Prints each problem as file:line: text; exit code 1 when there is one.
local problems = 0

local function problem(file, line, text)
  problems = problems + 1
  print(("%s:%d: %s"):format(file, line, text))
end

local function files(pattern)
  local list = {}
  local pipe = assert(io.popen("git ls-files -co --exclude-standard " .. pattern))
  for name in pipe:lines() do list[#list + 1] = name end
  pipe:close()
  table.sort(list)
  return list
end

local function lines_of(file)
  local list = {}
  for line in io.lines(file) do list[#list + 1] = line end
  return list
end

-- ---- who may know whom ------------------------------------------------------------------------

local FORBIDDEN = {
  { "^ecs/", '#include [<"]uv', "ecs knows libc only" },
  { "^ecs/", '#include [<"]lua', "ecs knows libc only" },
  { "^ecs/", '#include "%.%./', "ecs knows libc only" },
  { "^host/[^a][^p][^i].*", "lua_pcall", "vm_call is the only door into Lua" },
  { "^host/api", "lua_pcall", "vm_call is the only door into Lua" },
  { "^host/", "lua_resume%(", "vm_resume is the only door into coroutines" },
  { "^host/", "uv_run%(", "only loop.c runs the loop" },
  { "^scripts/", 'require "stator%.', "scripts know `stator` only" },
  { "^scripts/", 'require "ffi"', "scripts know `stator` only" },
  { "^examples/", 'require "stator%.', "scripts know `stator` only" },
  { "^lua/stator/driver/modbus%.lua", 'require "stator%.[^e]', "a codec knows nothing but errors" },
  { "^host/", "clock_gettime", "clock.c is the one source of time" },
  { "^lua/", "os%.time", "time comes from the host's clock" },
  { "^lua/", "os%.clock", "time comes from the host's clock" },
}
local ALLOWED = {
  ["host/vm.c"] = { "lua_pcall", "lua_resume%(" }, ["host/loop.c"] = { "uv_run%(" }, ["host/clock.c"] = { "clock_gettime" },
  ["host/worker.c"] = { "lua_pcall" },
  ["host/vm.h"] = { "lua_pcall", "lua_resume%(" }, ["host/loop.h"] = { "uv_run%(" },
  ["lua/stator/script.lua"] = { "os%.time", "os%.clock" },
}
local BANNED_C = { "[^%w_]strcpy%(", "[^%w_]strcat%(", "[^%w_]sprintf%(", "[^%w_]gets%(", "[^%w_]system%(", "[^%w_]usleep%(" }

local function allowed(file, pattern)
  for _, p in ipairs(ALLOWED[file] or {}) do
    if p == pattern then return true end
  end
  return false
end

local function check_dependencies(file, number, line)
  for _, rule in ipairs(FORBIDDEN) do
    if file:find(rule[1]) and line:find(rule[2]) and not allowed(file, rule[2]) then problem(file, number, rule[3]) end
  end
end

-- ---- C ----------------------------------------------------------------------------------------

local MAX_C_COLUMNS, MAX_C_FUNCTION, MAX_FILE = 100, 70, 600

local function check_c(file)
  local list = lines_of(file)
  if #list > MAX_FILE then problem(file, #list, ("%d lines; at most %d"):format(#list, MAX_FILE)) end
  local start
  for i, line in ipairs(list) do
    check_dependencies(file, i, line)
    local columns = #line:gsub("[\128-\191]", "") -- a character of UTF-8 counts once
    if columns > MAX_C_COLUMNS and not line:find("https?://") then
      problem(file, i, ("%d columns; at most %d"):format(columns, MAX_C_COLUMNS))
    end
    for _, banned in ipairs(BANNED_C) do
      if (" " .. line):find(banned) then problem(file, i, "banned call " .. banned:gsub("[^%a]", "")) end
    end
    if line:find("^[%a].*[%)].*{$") then start = i end
    if line == "}" and start then
      if i - start > MAX_C_FUNCTION then problem(file, start, ("function of %d lines; at most %d"):format(i - start, MAX_C_FUNCTION)) end
      start = nil
    end
  end
end

-- ---- Lua --------------------------------------------------------------------------------------

local MAX_LUA_FUNCTION = 70

local function check_lua(file)
  local start
  for i, line in ipairs(lines_of(file)) do
    check_dependencies(file, i, line)
    if line:find("^local function ") or line:find("^function ") then start = i end
    if line == "end" and start then
      if i - start > MAX_LUA_FUNCTION then problem(file, start, ("function of %d lines; at most %d"):format(i - start, MAX_LUA_FUNCTION)) end
      start = nil
    end
  end
end

-- ---- folders ----------------------------------------------------------------------------------

for _, folder in ipairs { "ecs", "host", "lua/stator", "scripts", "tests", "examples", "docs" } do
  local file = io.open(folder .. "/README.md")
  if file then file:close() else problem(folder, 1, "a folder says in a README what it holds and may know") end
end

-- ---- rules ------------------------------------------------------------------------------------

--- Every rule of docs/semantics.md has a number of its own, and a spec whose name begins with it.
local function check_rules()
  local file, specs, seen = "docs/semantics.md", {}, {}
  for _, spec in ipairs(files("'tests/*_spec.lua'")) do specs[#specs + 1] = table.concat(lines_of(spec), "\n") end
  local text = table.concat(specs, "\n")
  for i, line in ipairs(lines_of(file)) do
    local rule = line:match "^%- %*%*(%u+%d+)%*%*"
    if rule and seen[rule] then problem(file, i, ("rule %s is in line %d already"):format(rule, seen[rule])) end
    if rule and not text:find('%("' .. rule .. "[^%w]") then problem(file, i, "no spec of rule " .. rule) end
    if rule then seen[rule] = i end
  end
end

check_rules()
for _, file in ipairs(files("'*.c' '*.h'")) do check_c(file) end
for _, file in ipairs(files("'*.lua'")) do
  if not file:find("^tests/") then check_lua(file) end
end
if problems > 0 then print(("tidy: %d problems"):format(problems)) end
os.exit(problems == 0 and 0 or 1)
