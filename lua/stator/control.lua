--- What the control socket answers. Requests are { "cmd": ..., "arg": ... }; answers have ok, and what
--- was asked for or error { code, message }. Reading only, but for "stop".
local core = require "stator.core.task"
local entity = require "stator.entity"
local err = require "stator.err"
local inspect = require "stator.inspect"
local inspect_core = require "stator.core.inspect"
local json = require "stator.core.json"
local jsonline = require "stator.jsonline"
local link = require "stator.link"
local registry = require "stator.registry"
local time = require "stator.time"

local DEPTH_MAX = 8 -- of a struct shown
local REVISION = 1 -- until scripts can be reloaded

local M = {}

-- ---- answers ----------------------------------------------------------------------------------

local commands = {}

function commands.tasks(name)
  local rows, count, left_out = inspect.tree(name ~= "" and name or nil)
  return { tasks = jsonline.list(rows), count = count, left_out = left_out > 0 and left_out or nil }
end

local function link_rows()
  local rows = jsonline.list {}
  for i, l in ipairs(link.list) do
    rows[i] = { name = l.name, state = l.state, errors = l.errors, reconnects = l.reconnects, rtt_s = l.rtt_s,
      queued = #l.queue, pending = #l.pending }
  end
  return rows
end

function commands.status(_, settings, late)
  local status = inspect_core.stats()
  status.name, status.tick_hz, status.revision = settings.name, settings.tick_hz, REVISION
  status.late_p50_s, status.late_p99_s = late.p50_s, late.p99_s
  status.stopping = require("stator.system").stopping == true
  local scripts = jsonline.list {}
  for i, name in ipairs(settings.script_names or {}) do scripts[i] = name end
  status.scripts, status.links = scripts, link_rows()
  return { status = status }
end

function commands.systems() return M.systems() end

function commands.stop() return {}, "stop" end

-- ---- entities ---------------------------------------------------------------------------------

local function plain(value, depth)
  local kind = type(value)
  if kind ~= "table" then return kind == "cdata" and tostring(value) or value end
  local out = {}
  for k, v in pairs(value) do
    if depth < DEPTH_MAX then out[k] = plain(v, depth + 1) else out[k] = "..." end
  end
  return out
end

local function row_of(id)
  return { path = entity.path(id), id = id, components = jsonline.list(entity.Entity.components(id)) }
end

local function all_entities()
  local ids, count = inspect_core.entities()
  local rows = jsonline.list {}
  for i, id in ipairs(ids) do rows[i] = row_of(id) end
  table.sort(rows, function(a, b)
    if a.path ~= b.path then return a.path < b.path end
    return a.id < b.id
  end)
  return { entities = rows, count = count, left_out = count > #rows and count - #rows or nil }
end

local function find_entity(path)
  local id = require("stator.abi").C.ecs_lookup(require("stator.abi").world, path)
  if id ~= 0 then return id end
  local names = {}
  for i, other in ipairs((inspect_core.entities())) do names[i] = entity.path(other) end
  return nil, ('there is no entity "%s"%s'):format(path, err.nearest(path, names))
end

function commands.entities(path)
  if path == "" then return all_entities() end
  local id, problem = find_entity(path)
  if not id then return nil, problem end
  local row = row_of(id)
  row.values, row.children = {}, jsonline.list {}
  for _, name in ipairs(row.components) do
    local c = registry.components[name]
    if c and not c.is_tag then row.values[name] = plain(entity.Entity.copy(id, c), 0) end
  end
  for i, child in ipairs(entity.Entity.children(id)) do row.children[i] = entity.path(child) end
  return { entity = row }
end

-- ---- requests ---------------------------------------------------------------------------------

local NAMES = { "tasks", "entities", "status", "systems", "stop" }

local function refusal(code, message)
  return jsonline.encode { ok = false, error = { code = code, message = message } }
end

--- The text of a member of the request, "" when it has none, nil when it is no text.
local function text_of(node, name)
  for _, child in ipairs(node) do
    if child.key == name then return child.type == "string" and child.value or nil end
  end
  return ""
end

--- Runs and lateness of systems and of `stator.every` loops.
function M.systems()
  return { now_s = core.now(), systems = jsonline.list(inspect_core.systems()), loops = jsonline.list(time.loops()) }
end

--- Answers a request with a line of JSON, and "stop" or "close" when that follows.
---@param line string
---@param settings table of the scene
---@param late { p50_s: number, p99_s: number } of recent ticks
---@return string answer, string? what follows
function M.answer(line, settings, late)
  local node = json.parse(line)
  if not node or node.type ~= "object" then
    return refusal("bad_request", 'expected a line like {"cmd":"status"}'), "close"
  end
  local name, arg = text_of(node, "cmd"), text_of(node, "arg")
  if not name or name == "" or not arg then
    return refusal("bad_request", "cmd and arg are texts, and cmd is needed"), "close"
  end
  local command = commands[name]
  if not command then
    local known = err.nearest(name, NAMES)
    return refusal("unknown", ("there is no command %s%s"):format(err.shown(name), known)), "close"
  end
  local ok, answer, then_or_problem = pcall(command, arg, settings, late)
  if not ok then return refusal("error", tostring(type(answer) == "table" and answer.message or answer)) end
  if not answer then return refusal("not_found", then_or_problem) end
  answer.ok = true
  return jsonline.encode(answer), then_or_problem
end

return M
