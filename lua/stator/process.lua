--- Programs and signals of the system, as operations.
---
---   local r = await(stator.process.run { "gzip", "-c", stdin = text, within = 2 })
---   if r.code == 0 then ... r.stdout ... end
local core = require "stator.core.process"
local err = require "stator.err"
local file = require "stator.file"
local names = require "stator.names"
local registry = require "stator.registry"

local MIB = 2 ^ 20
local LIMIT, LIMIT_MAX, STDIN_MAX = MIB, 64 * MIB, MIB
local WORDS_MAX, WORD_MAX, SECONDS_MAX = 256, 65536, 6e7
local OPTIONS = { "stdin", "cwd", "env", "limit", "within" }

local M = {}

--- The words of the command; what has a name goes to `options`.
local function split(command)
  if type(command) ~= "table" then
    err.raise('process.run: expected { "command", "argument", ... }, got ' .. err.shown(command))
  end
  local words, options = {}, {}
  for key, value in pairs(command) do
    if type(key) ~= "number" then options[key] = value end
  end
  for i = 1, #command do words[i] = command[i] end
  if #words == 0 or #words > WORDS_MAX then
    err.raise(("process.run: expected a command and at most %d arguments"):format(WORDS_MAX - 1))
  end
  for i, word in ipairs(words) do
    if type(word) == "number" then word = tostring(word) end
    if type(word) ~= "string" or #word > WORD_MAX or word:find "%z" or (i == 1 and word == "") then
      err.raise(("process.run: word %d: expected a text without zero bytes, got %s"):format(i, err.shown(word)))
    end
    words[i] = word
  end
  return words, options
end

--- The host's environment with what the script sets or, with false, takes away; sorted by name.
local function environment(changes)
  local list, set, out = {}, {}, {}
  for _, item in ipairs(core.environment()) do
    local name, value = item:match "^([^=]+)=(.*)$"
    if name then list[#list + 1], set[name] = name, value end
  end
  local changed = {}
  for name in pairs(changes or {}) do changed[#changed + 1] = name end
  table.sort(changed, function(a, b) return tostring(a) < tostring(b) end)
  for _, name in ipairs(changed) do
    local value = changes[name]
    if type(name) ~= "string" or name == "" or name:find "[=%z]" then
      err.raise("process.run: env: expected a name without = and zero bytes, got " .. err.shown(name))
    end
    if value ~= false and (type(value) ~= "string" or value:find "%z") then
      err.raise(("process.run: env: %s: expected a text, or false to leave it out, got %s"):format(name,
        err.shown(value)))
    end
    if set[name] == nil then list[#list + 1] = name end
    set[name] = value
  end
  table.sort(list)
  for _, name in ipairs(list) do
    if set[name] then out[#out + 1] = name .. "=" .. set[name] end
  end
  return out
end

local function folder_of(cwd)
  if cwd == nil then return file.folder end
  names.text("process.run: cwd", cwd, 1024)
  return cwd:sub(1, 1) == "/" and cwd or file.folder .. "/" .. cwd
end

local api = {}

--- Runs a program, without a shell, and waits for its end. What it leaves running in its process group
--- is killed then. When the operation is taken back, or `within` is over, it gets SIGTERM and after half
--- a second SIGKILL. More output than `limit` ends it with code "limit"; a program that is not there
--- is "not_found".
---@param command { stdin: string?, cwd: string?, env: table?, limit: integer?, within: number?, [integer]: string }
---@return userdata operation that answers { code or signal, stdout, stderr }
function api.run(command)
  local words, options = split(command)
  registry.check_options("process.run", options, OPTIONS)
  local text = options.stdin
  if text ~= nil and (type(text) ~= "string" or #text > STDIN_MAX) then
    err.raise("process.run: stdin: expected a text of at most 1 MiB, got " .. err.shown(text))
  end
  if options.env ~= nil and type(options.env) ~= "table" then
    err.raise("process.run: env: expected a table of texts, got " .. err.shown(options.env))
  end
  return core.run(words, environment(options.env), folder_of(options.cwd), text,
    names.number("process.run: limit", options.limit, LIMIT, 0, LIMIT_MAX),
    names.number("process.run: within", options.within, 0, 1e-3, SECONDS_MAX))
end

M.api = names.fixed("stator.process", api)

local SIGNALS = core.signals()
local HOSTS = { SIGINT = true, SIGTERM = true, SIGHUP = true }

--- Waits for the next such signal; one that comes while nobody waits is dropped. From the first wait on
--- it does not end the cell any more.
---@param name "SIGUSR1"|"SIGUSR2"|"SIGCONT"|"SIGWINCH"
---@return userdata operation that answers the name
function M.signal(name)
  for _, known in ipairs(SIGNALS) do
    if known == name then return core.signal(name) end
  end
  if HOSTS[name] then err.raise(("signal: %s is the host's: use stator.defer for cleanup at the end"):format(name)) end
  err.raise(("signal: expected %s, got %s%s"):format(table.concat(SIGNALS, ", "), err.shown(name),
    type(name) == "string" and err.nearest(name, SIGNALS) or ""))
end

return M
