--- Scripts: loading, and the environment they run in. Each use of a script has its own environment
--- and module cache; its body runs once and may only declare. The environment has no ffi, debug, jit,
--- io or package: what would block the loop or get round the walls answers with the way that exists.
local buffer = require "string.buffer"
local compile = require "stator.compile"
local core = require "stator.core.task"
local err = require "stator.err"
local keep = require "stator.core.keep"
local log = require "stator.log"
local places = require "stator.places"
local receivers = require "stator.receivers"
local registry = require "stator.registry"
local task = require "stator.task"
local turns = require "stator.turns"
local called = require("stator.waits").called

local M = {
  restoring = false, -- a VM was lost: files are taken as they were read, not as they are now
  uses = {}, ---@type stator.Script[] of the scene in force
  simulators = {}, -- devices' scripts, with their files
  text_max_mb = 256, -- longest text that string.rep makes: limits.heap_mb
  --- What compiled scripts call besides what they name, for their environment.
  NAMES = { [turns.NAME] = turns.turn, [receivers.NAME] = places.at },
}

-- ---- environment ----------------------------------------------------------------------------

local INSTEAD = {
  io = "the loop must not block: use stator.file, links for devices, components for values",
  ffi = "components are typed views already",
  debug = "use stator.log",
  jit = "the host sets the compiler up",
  package = "use require with a module of the script's folder",
  dofile = "use require",
  loadfile = "use require",
  newproxy = "use stator.defer for cleanup",
  collectgarbage = "the host collects in idle time",
  module = "return a table",
  setfenv = "each script has its own environment",
  getfenv = "each script has its own environment",
}

local OS_INSTEAD = {
  execute = "the loop must not block: use stator.process.run", exit = "a script cannot end the host: raise an error",
  time = "use stator.now(): time comes from the host's clock", clock = "use stator.now()",
  date = "the log stamps each line", remove = "use stator.file.remove", rename = "use stator.file.write",
  tmpname = "use stator.file.write", getenv = "use stator.params and the scene",
  setlocale = "the host's locale is fixed",
}

local function copy(t)
  local out = {}
  for k, v in pairs(t) do out[k] = v end
  return out
end

--- A table whose members all answer with what to use instead.
local function forbidden(name, instead)
  return setmetatable({}, {
    __index = function(_, key)
      err.raise(("%s.%s is not there for scripts: %s"):format(name, tostring(key),
        type(instead) == "table" and (instead[key] or "use what stator offers") or instead))
    end,
    __newindex = function() err.raise(name .. " cannot be changed") end,
  })
end

--- pcall that lets a cancellation through, for cleanup must run, and a stop by the watchdog.
local function pass_cancel(ok, ...)
  if not ok and err.must_pass((...)) then error((...), 0) end
  return ok, ...
end

local function script_pcall(f, ...) return pass_cancel(pcall(f, ...)) end

local function script_xpcall(f, handler, ...)
  return pass_cancel(xpcall(f, function(e)
    if err.must_pass(e) then return e end
    local ok, value = pcall(handler, e) -- an error of a handler itself would come out as a text
    if not ok and not err.must_pass(value) then error(value, 0) end
    return value
  end, ...))
end

--- A script's coroutine may wait: the wait is passed on, resumer by resumer, up to the task. Blocks
--- belong to the task, so a coroutine cannot yield out of one, and one that waits goes on in its task only.
local co = { status = coroutine.status, running = coroutine.running }
local WEAK = { __mode = "k" }
local scope_of = setmetatable({}, WEAK) -- thread -> the task's scope when it was resumed; false: none
local waits_in = setmetatable({}, WEAK) -- thread -> handle of the task in which it waits

local function innermost_scope()
  local handle = core.current()
  local t = handle and task.by_handle[handle]
  return t and t.scope or false
end

local function pass_wait(thread, ok, ...)
  if ok and core.parking() and coroutine.status(thread) == "suspended" then
    waits_in[thread] = core.current()
    return pass_wait(thread, coroutine.resume(thread, coroutine.yield()))
  end
  waits_in[thread] = nil
  return pass_cancel(ok, ...)
end

function co.create(f)
  local thread = coroutine.create(f)
  scope_of[thread] = false
  return thread
end

function co.resume(thread, ...)
  local waits = waits_in[thread]
  if waits then
    err.raise(("coroutine.resume: this coroutine waits in %s; only that task can go on with it"):format(
      task.by_handle[waits] and called(task.by_handle[waits]) or "a task that has ended"))
  end
  if scope_of[thread] ~= nil and coroutine.status(thread) == "suspended" then scope_of[thread] = innermost_scope() end
  return pass_wait(thread, coroutine.resume(thread, ...))
end

function co.yield(...)
  local thread = coroutine.running()
  local scope = thread and scope_of[thread]
  if scope == nil then err.raise("coroutine.yield: there is no coroutine here to yield from; to wait, use await") end
  if scope ~= innermost_scope() then
    err.raise("coroutine.yield: inside within, scope, shield or race there is no yielding out of the block")
  end
  return coroutine.yield(...)
end

local function results_of(ok, ...)
  if not ok then error((...), 0) end
  return ...
end

function co.wrap(f)
  local thread = co.create(f)
  return function(...) return results_of(co.resume(thread, ...)) end
end

--- string.rep, also as a method: the one function that makes a text of any size from nothing.
local rep = string.rep
local function bounded_rep(s, n, separator)
  local bytes = (#tostring(s) + (separator and #tostring(separator) or 0)) * (tonumber(n) or 0)
  if bytes > M.text_max_mb * 2 ^ 20 then
    err.raise(("string.rep: a text of %.0f MB; limits.heap_mb is %g"):format(bytes / 2 ^ 20, M.text_max_mb), "memory")
  end
  return rep(s, n, separator)
end
rawset(string, "rep", bounded_rep)

local function script_string()
  local s = copy(string)
  s.dump = nil
  return s
end

local function tell(warning)
  if warning then log.event("warn", registry.script and registry.script.name or "host", warning) end
end

--- Compiles a text that a script loads; the log tells what was left out of it.
---@return function? chunk
---@return string? problem
function M.load_text(text, name)
  local made, message = compile.chunk(text, name)
  if not made then return nil, message end
  tell(made.warning)
  places.add(made.places)
  return made.chunk
end

local function load_text(env, text, name)
  if type(text) == "function" then err.raise("load: expected text") end
  if type(text) ~= "string" or text:byte(1) == 27 then err.raise("load: bytecode is not allowed") end
  local chunk, message = M.load_text(text, name or "=load")
  if not chunk then return nil, message end
  return setfenv(chunk, env)
end

local function strict(env)
  local names = function()
    local list = {}
    for key in pairs(env) do list[#list + 1] = tostring(key) end
    table.sort(list)
    return list
  end
  return setmetatable(env, {
    __index = function(_, key)
      local instead = INSTEAD[key]
      if instead then err.raise(("%s is not there for scripts: %s"):format(tostring(key), instead)) end
      err.raise(('unknown name "%s"%s'):format(tostring(key), err.nearest(tostring(key), names())))
    end,
    __newindex = function(_, key)
      err.raise(('"%s" is not declared: write `local %s = ...`'):format(tostring(key), tostring(key)))
    end,
    __metatable = "script",
  })
end

local function read_file(path)
  local file, message = io.open(path, "rb")
  if not file then return nil, message end
  local text = file:read("*a")
  file:close()
  if not text then return nil, path .. ": is not a file that can be read" end
  return text
end
M.read_file = read_file

-- ---- files ----------------------------------------------------------------------------------

---@class stator.ScriptFile a file of a script, as it runs
---@field path string
---@field shown string as messages name it
---@field compiled stator.Compiled

--- Reads and compiles a file.
---@return stator.Compiled? compiled may have a problem
---@return string? problem when it cannot be read
function M.from_disk(path, shown)
  local text, message = read_file(path)
  if not text then return nil, shown .. message:sub(#path + 1) end
  return compile.text(text, shown)
end

local function keep_name(path) return "file:" .. path end

--- A file as it was kept under a prefix.
---@return stator.Compiled?
function M.kept(prefix, path)
  local bytes = keep.get(prefix .. keep_name(path))
  return bytes and buffer.decode(bytes)
end

--- Takes a file as it was kept, for a VM in the place of a lost one.
function M.from_keep(path, shown)
  local compiled = M.kept("", path)
  if compiled then return compiled end
  return nil, shown .. ": was not read before the VM was lost"
end

local COPIED = 16 -- files in a slice

--- Keeps what is kept of files under a prefix too, unless something is there already.
---@param files stator.ScriptFile[]
---@param pause fun() lets other things run
function M.copy_kept(prefix, files, pause)
  for i, file in ipairs(files) do
    if i % COPIED == 0 then pause() end
    local name = keep_name(file.path)
    local bytes = not keep.get(prefix .. name) and keep.get(name)
    if bytes then keep.put(prefix .. name, bytes) end
  end
end

--- A file as bytes, for M.keep_files.
---@param file stator.ScriptFile
function M.encoded(file) return buffer.encode(file.compiled) end

--- Keeps the files of a script, so that a VM that takes this one's place runs the same.
---@param script stator.Script
---@param encoded table<stator.ScriptFile, string>? what M.encoded has made of them
function M.keep_files(script, encoded)
  for _, file in ipairs(script.files) do
    keep.put(keep_name(file.path), encoded and encoded[file] or M.encoded(file))
  end
end

--- Forgets what is kept of files that no script has any more.
---@param list stator.ScriptFile[]
function M.forget_files(list)
  local has = {}
  for _, s in ipairs(M.uses) do
    for _, file in ipairs(s.files) do has[file.path] = true end
  end
  for _, file in ipairs(list) do
    if not has[file.path] then keep.remove(keep_name(file.path)) end
  end
end

--- Texts for stator.fieldcheck and stator.machine_checks.
---@param list stator.ScriptFile[]
function M.sources(list)
  local sources = {}
  for i, file in ipairs(list) do sources[i] = { shown = file.shown, claims = file.compiled.claims } end
  return sources
end

--- Makes a chunk of a file and notes it as one of the script's.
---@param fetch fun(path: string, shown: string): stator.Compiled?, string?
---@return function? chunk with its environment
---@return string? problem
local function load_file(script, env, path, shown, fetch)
  local compiled, problem = fetch(path, shown)
  problem = problem or compiled.problem
  if problem then return nil, problem end
  tell(compiled.warning)
  places.add(compiled.places)
  table.insert(script.files, { path = path, shown = shown, compiled = compiled })
  return setfenv(assert(load(compiled.code, "@" .. shown, "b")), env)
end

--- require for a script: modules of its folder, in the script's own environment and cache.
local function requirer(script, env, fetch)
  local loaded = {}
  return function(name)
    if type(name) ~= "string" then err.raise("require: expected a name, got " .. type(name)) end
    if name == "stator" then return require "stator" end
    if loaded[name] ~= nil then
      if loaded[name] == script then err.raise(('module "%s" requires itself'):format(name)) end
      return loaded[name]
    end
    if not name:match("^[%w_][%w_%.%-]*$") then err.raise(('"%s" is no module name'):format(name)) end
    if not registry.script then err.raise("require: modules are loaded in a script's body") end
    local file = name:gsub("%.", "/") .. ".lua"
    loaded[name] = script
    local chunk, message = load_file(script, env, script.folder .. "/" .. file, file, fetch)
    if not chunk then
      loaded[name] = nil
      err.raise(('require "%s": %s'):format(name, message))
    end
    local value = chunk(name)
    loaded[name] = value == nil and true or value
    return loaded[name]
  end
end

local function environment(script, fetch)
  local env = {
    assert = assert, error = error, ipairs = ipairs, next = next, pairs = pairs, rawequal = rawequal,
    rawget = rawget, rawset = rawset, select = select, setmetatable = setmetatable,
    getmetatable = getmetatable, tonumber = tonumber, tostring = tostring, type = type, unpack = unpack,
    pcall = script_pcall, xpcall = script_xpcall, print = log.print, _VERSION = _VERSION,
    math = copy(math), table = copy(table), bit = copy(require "bit"), string = script_string(),
    coroutine = co, os = forbidden("os", OS_INSTEAD), io = forbidden("io", INSTEAD.io),
  }
  env._G = env
  for key, value in pairs(M.NAMES) do env[key] = value end
  env.require = requirer(script, env, fetch)
  env.load = function(text, name) return load_text(env, text, name) end
  env.loadstring = env.load
  return strict(env)
end

--- Runs a device simulator's file and answers its function.
---@return function? run, string? problem
function M.load_simulator(path, shown)
  local simulator = { folder = path:match("^(.*)/[^/]*$") or ".", files = {} }
  local fetch = M.restoring and M.from_keep or M.from_disk
  local chunk, message = load_file(simulator, environment(simulator, fetch), path, shown, fetch)
  if not chunk then return nil, message end
  local ok, run = xpcall(chunk, err.handler)
  if not ok then return nil, tostring(run.message) end
  if type(run) ~= "function" then
    return nil, shown .. ": a simulator returns a function(device), this one returns " .. type(run)
  end
  M.keep_files(simulator)
  table.insert(M.simulators, simulator)
  return run
end

-- ---- loading --------------------------------------------------------------------------------

--- Where an error of a body came from, with its text.
local function problem_of(e)
  local text = tostring(e.message)
  if not text:match("^[^\n:]+:%d+:") and e.trace then
    local place = err.place(e)
    if place then text = place .. ": " .. text end
  end
  return text
end

--- Makes a script's body: a function that runs it against the registry and answers a problem as text, or nil.
--- While it runs registry.script is the script.
---@param script stator.Script with name, index, folder, path, file, text: of one that ships with stator
---@param fetch fun(path: string, shown: string): stator.Compiled?, string?
---@return function? body
---@return string? problem
function M.body(script, fetch)
  script.files, script.position = {}, 0
  script.params_declared, script.params_read, script.param_sets = nil, nil, nil
  local function of_script(path, shown)
    if script.text and path == script.path then return compile.text(script.text, shown) end
    return fetch(path, shown)
  end
  local chunk, problem = load_file(script, environment(script, of_script), script.path, script.file, of_script)
  if not chunk then return nil, problem end
  return function()
    local ok, e = xpcall(chunk, err.handler)
    if not ok then return problem_of(e) end
  end
end

--- Runs a script's body. Answers a problem as text, or nil; and whether it is the file itself that is missing.
---@param script stator.Script
function M.load(script)
  local body, problem = M.body(script, M.restoring and M.from_keep or M.from_disk)
  if not body then return problem, not script.text and not M.restoring and not read_file(script.path) end
  registry.script = script
  keep.put("loading", script.file) -- so that the host can name it when its body does not come back
  problem = body()
  registry.script = nil
  keep.remove("loading")
  if not problem then M.keep_files(script) end
  return problem
end

-- ---- parameters -----------------------------------------------------------------------------

local PARAM_KINDS = { number = true, string = true, boolean = true }

--- What stator.params of one call hands out: reads the values as they are now. What a body reads is noted,
--- for it has made something of the value that a new one does not reach.
local function params_view(script, values, names)
  return setmetatable({}, {
    __index = function(_, key)
      local value = values[key]
      if value == nil then
        err.raise(('there is no parameter "%s"%s'):format(tostring(key), err.nearest(tostring(key), names)))
      end
      if registry.script then script.params_read[key] = true end
      return value
    end,
    __newindex = function() err.raise("parameters are set in the scene") end,
  })
end

--- Declares the values that the scene may set for each use of the script.
---@param defaults table<string, number|string|boolean>
function M.params(defaults)
  local script, _, place = registry.declare("params", 3)
  if type(defaults) ~= "table" then error("params: expected a table of defaults", 2) end
  local names, set = {}, { defaults = copy(defaults), values = copy(defaults) }
  for name in pairs(defaults) do names[#names + 1] = name end
  table.sort(names, function(a, b) return tostring(a) < tostring(b) end)
  for _, name in ipairs(names) do
    local kind = type(defaults[name])
    if not PARAM_KINDS[kind] then
      error(("params: %s is a %s; expected a number, text or boolean"):format(tostring(name), kind), 2)
    end
  end
  script.params_declared, script.params_read = script.params_declared or {}, script.params_read or {}
  script.param_sets = script.param_sets or {}
  table.insert(script.param_sets, set)
  for _, name in ipairs(names) do
    script.params_declared[name] = place
    local given = script.params[name]
    local problem = given ~= nil and M.check_param(script, name, given)
    if problem then error(("params: %s: %s"):format(name, problem), 2) end
    if given ~= nil then set.values[name] = given end
  end
  return params_view(script, set.values, names)
end

--- Whether a parameter may have a value: nil, or what is wrong with it. One that is not declared may.
---@param script stator.Script its body has run
function M.check_param(script, name, value)
  for _, set in ipairs(script.param_sets or {}) do
    local default = set.defaults[name]
    if default ~= nil and type(value) ~= type(default) then
      return ("expected a %s, the scene gives %s"):format(type(default), tostring(value))
    end
  end
end

--- Gives a parameter another value while the script runs; what its body has made of the old one stays,
--- see script.params_read. Answers nil, or what is wrong: then nothing has changed.
---@param script stator.Script its body has run
---@param value number|string|boolean|nil nil: the default again
function M.set_param(script, name, value)
  if not (script.params_declared or {})[name] then return ('there is no parameter "%s"'):format(tostring(name)) end
  local problem = value ~= nil and M.check_param(script, name, value)
  if problem then return problem end
  script.params[name] = value
  for _, set in ipairs(script.param_sets) do
    if set.defaults[name] ~= nil then
      if value == nil then set.values[name] = set.defaults[name] else set.values[name] = value end
    end
  end
end

-- strings keep their methods, but scripts cannot reach the table behind them
getmetatable("").__metatable = "string"

return M
