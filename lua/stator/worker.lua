--- What runs in the state of a piece of work (host/worker.c): loads the module, calls the function, and
--- answers bytes. Nothing of the host is here; loops can be stopped as those of scripts.
local ffi = require "ffi"
local buffer = require "string.buffer"
local plain = require "stator.plain"
local texts = require "stator.texts"
local tokens = require "stator.tokens"
local turns = require "stator.turns"

ffi.cdef "void worker_turn(void *); void worker_hold(void *, int);"

local C = ffi.C
local TURNS = 256
local BYTES_MAX = 16 * 2 ^ 20

local INSTEAD = {
  io = "a file's text is an argument", os = "the time is an argument", print = "return what is to be told",
  debug = "raise an error: it comes with its trace", ffi = "plain Lua is compiled",
  jit = "the host sets the compiler up", package = "use require with a module of the script's folder",
  collectgarbage = "the state ends with the work",
  dofile = "use require", loadfile = "use require",
}

--- The function that is called in each turn of a loop.
local function turn_of(worker)
  local left = TURNS
  return function(cost)
    left = left - cost
    if left < 0 then
      left = TURNS
      C.worker_turn(worker)
    end
  end
end

--- The text with a call in every loop's body; its lines stay as they are.
local function with_turns(text)
  local list, after = tokens.of(text), {}
  turns.insert(list, after)
  return tokens.weave(text, list, {}, after)
end

local function compile(env, text, name)
  if type(text) ~= "string" or text:byte(1) == 27 then return nil, "bytecode is not allowed" end
  local chunk, message = loadstring(text, name)
  if not chunk then return nil, message end
  return setfenv(loadstring(with_turns(text), name) or chunk, env)
end

--- The text of a file, or nil, and its size. The state is not left while the file is open.
local function text_of(worker, path)
  C.worker_hold(worker, 1)
  local file = io.open(path, "rb")
  local bytes = file and file:seek "end"
  local text = bytes and bytes <= BYTES_MAX and file:seek "set" and file:read "*a" or nil
  if file then file:close() end
  C.worker_hold(worker, 0)
  return text, bytes or 0
end

local function requirer(env, worker, folder)
  local loaded, loading = {}, {}
  return function(name)
    if loaded[name] ~= nil then return loaded[name] end
    if name == "stator" then error("stator is not there in work: arguments and results are plain data", 2) end
    if type(name) ~= "string" or not name:match "^[%w_][%w_%.%-]*$" then
      error("no module name: " .. tostring(name), 2)
    end
    if loading[name] then error(('module "%s" requires itself'):format(name), 2) end
    loading[name] = true
    local shown = name:gsub("%.", "/") .. ".lua"
    local text, bytes = text_of(worker, folder .. "/" .. shown)
    if bytes > BYTES_MAX then error({ code = "limit", message = shown .. " has more than 16 MiB" }, 0) end
    if not text then error(("%s: there is no such file in the script's folder"):format(shown), 0) end
    local chunk, message = compile(env, text:gsub("^#[^\n]*", ""), "@" .. shown)
    if not chunk then error(message, 0) end
    local value = chunk(name)
    loaded[name] = value == nil and true or value
    return loaded[name]
  end
end

local function copy(t)
  local out = {}
  for k, v in pairs(t) do out[k] = v end
  return out
end

local function environment(worker, folder)
  local env = {
    assert = assert, error = error, ipairs = ipairs, next = next, pairs = pairs, rawequal = rawequal, rawget = rawget,
    rawset = rawset, select = select, setmetatable = setmetatable, getmetatable = getmetatable, tonumber = tonumber,
    tostring = tostring, type = type, unpack = unpack, pcall = pcall, xpcall = xpcall, _VERSION = _VERSION,
    math = copy(math), table = copy(table), bit = copy(require "bit"), string = copy(string),
    coroutine = copy(coroutine),
    [turns.NAME] = turn_of(worker),
  }
  env.string.dump = nil
  env.require = requirer(env, worker, folder)
  env.load = function(text, name) return compile(env, text, name or "=load") end
  env.loadstring = env.load
  return setmetatable(env, {
    __index = function(_, key)
      local instead = INSTEAD[key]
      if instead then error(("%s is not there in work: %s"):format(key, instead), 2) end
      error(('unknown name "%s"'):format(tostring(key)), 2)
    end,
    __newindex = function(_, key) error(('"%s" is not declared: write `local %s = ...`'):format(key, key), 2) end,
    __metatable = "work",
  })
end

local function no_function(module, value, name)
  local shown = module:gsub("%.", "/") .. ".lua"
  if name ~= "" and type(value) == "table" then
    local known = {}
    for key, member in pairs(value) do
      if type(key) == "string" and type(member) == "function" then known[#known + 1] = key end
    end
    table.sort(known)
    error(('%s: it returns no function "%s"%s'):format(shown, name, texts.nearest(name, known)), 0)
  end
  local what = name == "" and "a function" or ('a table with a function "%s"'):format(name)
  error(("%s: expected it to return %s, got %s"):format(shown, what, type(value)), 0)
end

--- Runs the function and answers its results as bytes.
local function run(worker, folder, module, name, arguments)
  local value = environment(worker, folder).require(module)
  local fn = value
  if name ~= "" then fn = type(value) == "table" and value[name] or nil end
  if type(fn) ~= "function" then no_function(module, value, name) end
  local given = buffer.decode(arguments)
  local function pack(...) return { n = select("#", ...), ... } end
  local results = pack(fn(unpack(given, 1, given.n)))
  local problem = plain.problem(results, "result")
  if problem then error({ code = "error", message = problem .. ": only plain data comes back from work" }, 0) end
  local bytes = buffer.encode(results)
  if #bytes > BYTES_MAX then error({ code = "limit", message = "the result has more than 16 MiB" }, 0) end
  return bytes
end

local function handler(raised)
  local is_table = type(raised) == "table"
  local code, message = "error", tostring(raised)
  if is_table then
    code, message = tostring(raised.code or "error"), tostring(raised.message or "a table without a message was raised")
  else
    code = texts.code(message) or code
    if code == "memory" then message = "the work needs more than 128 MiB" end
  end
  return { code, message, debug.traceback("", 2):gsub("^%s+", "") }
end

return function(worker, ...)
  local ok, value = xpcall(run, handler, worker, ...)
  if ok then return true, value end
  if type(value) ~= "table" then return false, texts.code(tostring(value)) or "memory", tostring(value), "" end
  return false, unpack(value)
end
