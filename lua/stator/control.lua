--- What the control socket answers. Requests are { "cmd": ..., "arg": ... }; answers have ok, and what
--- was asked for or error { code, message }. Reading only, but for "stop", and "reload", "accept", "revert".
local core = require "stator.core.task"
local entity = require "stator.entity"
local err = require "stator.err"
local inspect = require "stator.inspect"
local inspect_core = require "stator.core.inspect"
local json = require "stator.json"
local json_core = require "stator.core.json"
local link = require "stator.link"
local registry = require "stator.registry"
local reload = require "stator.reload"
local revisions = require "stator.revisions"
local schedule = require "stator.schedule"
local script = require "stator.script"
local task = require "stator.task"
local time = require "stator.time"

local DEPTH_MAX = 64 -- of an answer
local ARRAY = getmetatable(json.array())

local ANSWER_S = 0.5 -- how long an answer waits for who asked, and asks again each turn of the loop

local M = {
  asked = {}, ---@type table<string, stator.ReloadRequest> requests whose end somebody waits for, by their line
}

-- ---- JSON -------------------------------------------------------------------------------------

--- Marks a list, so that an empty one is written as [].
local function list(t) return setmetatable(t, ARRAY) end

--- Texts are written as UTF-8: of another one each byte that is not ASCII is shown as "?".
local function shown_text(text)
  if not text:find "[\128-\255]" or json_core.encode(text, #text * 6 + 2) then return text end
  return (text:gsub("[\128-\255]", "?"))
end

--- What JSON has no words for in those it has: a number that is not finite is null.
local function plain(value, depth)
  local kind = type(value)
  if kind == "number" then return value - value == 0 and value or json_core.null end
  if kind == "string" then return shown_text(value) end
  if kind == "boolean" or value == json_core.null then return value end
  if kind ~= "table" then return shown_text(tostring(value)) end
  if depth == DEPTH_MAX then return "..." end
  local out = setmetatable({}, getmetatable(value) == ARRAY and ARRAY or nil)
  for k, v in pairs(value) do out[k] = plain(v, depth + 1) end
  return out
end

local function encoded(answer) return json.encode(plain(answer, 0)) end

-- ---- answers ----------------------------------------------------------------------------------

local commands = {}

--- Adds the rows in order, each with its depth in place of its children: JSON ends at 64 levels.
local function flatten(rows, depth, out)
  for _, row in ipairs(rows) do
    local children = row.children or {}
    row.depth, row.children = depth, nil
    out[#out + 1] = row
    flatten(children, depth + 1, out)
  end
  return out
end

--- Names of the tasks, and the parts before their "/", in order.
local function task_names()
  local known = {}
  for _, t in pairs(task.by_handle) do -- sorted below
    if not t.hidden then known[t.name], known[t.name:match "^.-/" or t.name] = true, true end
  end
  local names = {}
  for name in pairs(known) do names[#names + 1] = name end
  table.sort(names)
  return names
end

function commands.tasks(name)
  local rows, count, left_out = inspect.tree(name ~= "" and name or nil)
  if #rows == 0 and name ~= "" then
    return nil, ("there is no task whose name begins with %s%s"):format(err.shown(name),
      err.nearest(name, task_names()))
  end
  return { tasks = flatten(rows, 0, list {}), count = count, left_out = left_out > 0 and left_out or nil }
end

local function link_rows()
  local rows = list {}
  for i, l in ipairs(link.list) do
    rows[i] = { name = l.name, state = l.state, errors = l.errors, reconnects = l.reconnects, rtt_s = l.rtt_s,
      queued = #l.queue, pending = #l.pending }
  end
  return rows
end

--- What the reload does.
local function reload_row()
  local fallback = revisions.fallback
  return {
    state = reload.state, holds = reload.holds, newest = revisions.newest,
    back_to = fallback and fallback.revision or nil, faults = fallback and fallback.faults or nil,
    left_s = fallback and math.max(0, fallback.until_s - core.now()) or nil,
  }
end

function commands.status(_, settings, late)
  local status = inspect_core.stats()
  status.name, status.tick_hz, status.revision = settings.name, settings.tick_hz, revisions.current
  status.late_p50_s, status.late_p99_s = late.p50_s, late.p99_s
  status.stopping = schedule.stopping
  local scripts = list {}
  for i, s in ipairs(script.uses) do scripts[i] = { name = s.name, revision = s.revision, hash = s.hash } end
  status.scripts, status.links, status.reload = scripts, link_rows(), reload_row()
  return { status = status }
end

function commands.systems() return M.systems() end

function commands.stop() return {}, "stop" end

-- ---- reload -----------------------------------------------------------------------------------

--- The options of a request to reload, or nil and what is wrong.
local function reload_options(arg)
  local request, drop = { verb = "reload", reason = "control socket", drop = {} }, false
  for word in arg:gmatch "%S+" do
    if drop then
      request.drop[word], drop = true, false
    elseif word == "--plan" then
      request.plan_only = true
    elseif word == "--force" then
      request.force = true
    elseif word == "--drop" then
      drop = true
    else
      return nil, ("reload: unknown option %s%s"):format(word, err.nearest(word, { "--plan", "--force", "--drop" }))
    end
  end
  if drop then return nil, "reload: --drop expects the name of a component" end
  return request
end

--- Asks once, and answers when it is known what came of it, or after a while how far it is.
local function ask(key, make)
  for name, asked in pairs(M.asked) do -- each for itself: whoever asked has gone
    if asked.answer and core.now() - asked.answered_s > ANSWER_S then M.asked[name] = nil end
  end
  local request, problem = M.asked[key]
  if not request then
    if schedule.stopping or schedule.quarantined then
      return { ok = false, code = "closed", message = "the scripts of this cell do not run any more" }
    end
    request, problem = make()
    if not request then return { ok = false, code = "bad_request", message = problem } end
    M.asked[key] = request
    reload.ask(request)
  end
  local heard = reload.heard(request)
  if not heard then return nil, "later" end
  M.asked[key] = nil
  return heard
end

function commands.reload(arg)
  return ask("reload " .. arg, function() return reload_options(arg) end)
end

local function verb(name)
  commands[name] = function()
    return ask(name, function() return { verb = name, reason = "control socket" } end)
  end
end

verb "accept"
verb "revert"

-- ---- entities ---------------------------------------------------------------------------------

local function row_of(id)
  return { path = entity.path(id), id = id, components = list(entity.Entity.components(id)) }
end

local function all_entities()
  local ids, count = inspect_core.entities()
  local rows = list {}
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

--- What JSON has no words for, in words, by its place: { ["Tool.pose.1"] = "nan" }.
local function note_not_finite(value, place, out)
  if type(value) == "number" and value - value ~= 0 then
    out[place] = value ~= value and "nan" or value > 0 and "inf" or "-inf"
  elseif type(value) == "table" then
    for k, v in pairs(value) do note_not_finite(v, place .. "." .. tostring(k), out) end
  end
end

function commands.entities(path)
  if path == "" then return all_entities() end
  local id, problem = find_entity(path)
  if not id then return nil, problem end
  local row = row_of(id)
  row.values, row.children = {}, list {}
  for _, name in ipairs(row.components) do
    local c = registry.live.components[name]
    if c and not c.is_tag then row.values[name] = entity.Entity.copy(id, c) end
  end
  local not_finite = {}
  for name, values in pairs(row.values) do note_not_finite(values, name, not_finite) end
  row.not_finite = next(not_finite) and not_finite
  for i, child in ipairs(entity.Entity.children(id)) do row.children[i] = entity.path(child) end
  return { entity = row }
end

-- ---- requests ---------------------------------------------------------------------------------

local NAMES = { "tasks", "entities", "status", "systems", "reload", "accept", "revert", "stop" }

local function refusal(code, message)
  return encoded { ok = false, error = { code = code, message = message } }
end

--- The texts of a request, "" for one that it has not; nil when it is none.
local function texts_of(line)
  local request = json_core.decode(line)
  if type(request) ~= "table" then return end
  local name, arg = request.cmd, request.arg == nil and "" or request.arg
  if type(name) == "string" and name ~= "" and type(arg) == "string" then return name, arg end
end

--- Runs and lateness of systems and of `stator.every` loops.
function M.systems()
  return { now_s = core.now(), systems = list(inspect_core.systems()), loops = list(time.loops()) }
end

--- Answers a request with a line of JSON, and "stop" or "close" when that follows.
---@param line string
---@param settings table of the scene
---@param late { p50_s: number, p99_s: number } of recent ticks
---@return string? answer nil: later, ask again
---@return string? what follows
function M.answer(line, settings, late)
  local name, arg = texts_of(line)
  if not name then
    return refusal("bad_request", 'expected a line like {"cmd":"status"} or {"cmd":"tasks","arg":"a text"}'), "close"
  end
  local command = commands[name]
  if not command then
    local known = err.nearest(name, NAMES)
    return refusal("unknown", ("there is no command %s%s"):format(err.shown(name), known)), "close"
  end
  local ok, answer, then_or_problem = pcall(command, arg, settings, late)
  if not ok then return refusal("error", tostring(type(answer) == "table" and answer.message or answer)) end
  if not answer and then_or_problem == "later" then return nil, "later" end
  if not answer then return refusal("not_found", then_or_problem) end
  if answer.ok == false then answer.error = { code = answer.code, message = answer.message } end
  answer.ok = answer.ok ~= false
  return encoded(answer), then_or_problem
end

return M
