--- A cell whose scripts are changed while it runs, on virtual time: saves, requests, and what there is to compare.
local support = require "support"
local harness = require "harness"

local M = {}

-- what stands in the cell's VM, as the module "reloading"
local INSIDE = [[
local registry, reload, task = require "stator.registry", require "stator.reload", require "stator.task"
local core, plans = require "stator.core.task", require "stator.reload_plan"
local S = { cancelled = {} }
package.loaded.reloading = S

local cancel = task.cancel
function task.cancel(t, reason)
  S.cancelled[#S.cancelled + 1] = t.name .. ": " .. reason
  return cancel(t, reason)
end

function S.ask(verb, plan_only, force, drop)
  local request = { verb = verb, reason = "the spec", plan_only = plan_only, force = force, drop = {} }
  for name in drop:gmatch "%S+" do request.drop[name] = true end
  S.request = request
  reload.ask(request)
end

--- Whether there is an answer: ok, message, code, lines of the plan.
function S.answer(request)
  local a = (request or S.request).answer
  if not a then return nil end
  return true, a.ok, a.message or "", a.code or "", table.concat(a.lines or {}, "\n")
end

local function sorted(list)
  table.sort(list)
  return table.concat(list, "\n")
end

local function text_of(t)
  local first = t.places[1]
  return ("%s %s: %s%s"):format(t.kind, t.name, first.sparse and "sparse " or "",
    table.concat(first.fields or first.members, ", "))
end

--- The tasks of scripts by T2, with what they wait for when `more`; each with its handle when `handles`.
function S.tasks(handles)
  local list = {}
  for _, t in ipairs(plans.tasks_of(S.all())) do
    list[#list + 1] = t.name .. (handles and (" %.0f"):format(t.handle) or "")
  end
  return table.concat(list, "\n")
end

function S.all()
  local all = {}
  for _, s in ipairs(require("stator.script").uses) do all[s] = true end
  return all
end

--- All that is declared, and the tasks that live, as text: equal for cells that behave the same.
function S.shape()
  local out, set = {}, registry.live
  local types, lists = {}, { "per_entity", "observers", "machines", "service_list", "inboxes" }
  local laid_out = {}
  for _, t in ipairs(set.type_list) do types[#types + 1] = text_of(t) end
  out[#out + 1] = sorted(types)
  local i = 0
  while core.system_info(i) do
    local name = core.system_info(i)
    local by_index = require("stator.schedule").by_index[i]
    out[#out + 1] = ("system %s %s %s"):format(name, by_index.mode, tostring(by_index.phase))
    i = i + 1
  end
  for _, list in ipairs(lists) do
    local names = {}
    for _, d in ipairs(set[list]) do names[#names + 1] = list .. " " .. (d.name or d.inbox and d.inbox.name or "?") end
    local has_order = list == "per_entity" or list == "observers"
    out[#out + 1] = has_order and table.concat(names, "\n") or sorted(names)
  end
  for _, c in ipairs(set.component_list) do
    local fields = {}
    for i, f in ipairs(c.fields) do fields[i] = f.name .. ":" .. f.type .. "x" .. f.count end
    laid_out[#laid_out + 1] = ("%s %s"):format(c.name, table.concat(fields, " "))
  end
  out[#out + 1] = sorted(laid_out)
  out[#out + 1] = ("%d queries"):format(#set.queries)
  out[#out + 1] = S.tasks()
  return table.concat(out, "\n")
end

--- What is kept, but for the texts of places: they stay.
local function kept()
  local out = {}
  for _, name in ipairs(require("stator.core.keep").names "") do
    if not name:find "^places:" and name ~= "reload:state" then out[#out + 1] = name end
  end
  return sorted(out)
end

--- The same and more: equal only when nothing has happened in between.
function S.state()
  local schema = require "stator.core.schema"
  local out = { S.shape(), S.tasks(true), tostring(registry.live), kept() }
  for _, s in ipairs(require("stator.script").uses) do
    local files = {}
    for i, f in ipairs(s.files) do files[i] = f.shown .. f.compiled.hash end
    out[#out + 1] = ("%s %d %d %s"):format(s.name, s.revision or 0, s.position, table.concat(files, " "))
    for _, name in ipairs { "a", "b", "n" } do out[#out + 1] = tostring((s.params or {})[name]) end
  end
  out[#out + 1] = ("%s %d copies"):format(reload.state, #schema.saved())
  local status = require("stator.control").answer('{"cmd":"status"}', { name = "spec", tick_hz = 100 }, {})
  local json = require("stator.json").decode(status).status
  out[#out + 1] = ("%d %s %d"):format(json.revision, json.reload.state, json.reload.newest)
  return table.concat(out, "\n")
end
]]

---@class Reloading
---@field cell table
---@field folder string
local R = {}
R.__index = R

M.HEAD = 'local stator = require "stator"\nlocal await, cmd = stator.await, stator.cmd\n'

--- Opens a cell. `options` as of support.cell; `reload`: members of the scene's "reload", without probation when
--- nil. Files are only read when it is asked for: `watch` in `reload` says otherwise.
function M.open(options)
  if type(options) == "string" then options = { main = options } end
  local settings = options.settings and ", " .. options.settings or ""
  options.settings = ('"reload": { "watch": "off"%s }%s'):format(
    options.reload and ", " .. options.reload or ', "probation_s": 0', settings)
  if options.main then options.scripts = { ["main.lua"] = options.main } end
  for name, text in pairs(options.scripts) do options.scripts[name] = M.HEAD .. text end
  options.main, options.reload = nil, true -- its task runs from the start
  local path, folder = support.scene(options)
  options.path = path
  options.reload = true
  local self = setmetatable({ cell = support.cell(options), folder = folder, path = path }, R)
  self.cell:eval(INSIDE)
  self.cell:advance(0.1)
  self:ask "accept" -- so that the reload's task is there, which starts when it is needed first
  return self
end

--- Once more, in the VM that took the place of a lost one.
function R:inside() self.cell:eval(INSIDE) end

function R:eval(code, ...) return self.cell:eval("local S = package.loaded.reloading\n" .. code, ...) end

--- Saves the script main.lua, or another one; scripts get the head.
function R:save(text, name)
  support.write(self.folder .. "/" .. (name or "main.lua"), M.HEAD .. text)
end

--- Saves a file as it is.
function R:write(name, text) support.write(self.folder .. "/" .. name, text) end

---@param options { plan: boolean?, force: boolean?, drop: string? }?
function R:begin(verb, options)
  options = options or {}
  self:eval("S.ask(...)", verb, options.plan or false, options.force or false, options.drop or "")
end

--- Runs the cell until the request before is answered: ok, message, code, the plan's lines.
function R:answer(within_s)
  local steps = (within_s or 20) * 100
  for _ = 1, steps do
    local known, ok, message, code, lines = self:eval "return S.answer()"
    if known then return ok, message, code, lines end
    self.cell:advance(0.01)
  end
  return nil, "no answer"
end

--- Asks and answers.
function R:ask(verb, options)
  self:begin(verb, options)
  return self:answer()
end

--- Saves and reloads; it must go well. Answers the plan's lines.
function R:change(text, name)
  local assert = require "luassert"
  if text then self:save(text, name) end
  local ok, message, _, lines = self:ask "reload"
  assert.is_true(ok, message)
  return lines
end

--- Saves and reloads; it must be refused, and nothing at all may have changed. Answers the message and the code.
---@param options { drop: string?, moves: boolean? }? moves: a link writes values meanwhile
function R:refused(text, name, options)
  local assert = require "luassert"
  if text then self:save(text, name) end
  local before, hash = self:state(), self.cell:hash()
  local ok, message, code = self:ask("reload", options)
  assert.is_false(ok, message)
  self.cell:advance(0.1)
  assert.equal(before, self:state())
  if not (options and options.moves) then assert.equal(hash, self.cell:hash()) end
  assert.is_nil(self.cell:check())
  return message, code
end

function R:shape() return (self:eval "return S.shape()") end
function R:state() return (self:eval "return S.state()") end
function R:tasks(handles) return (self:eval("return S.tasks(...)", handles or false)) end
--- Tasks that were cancelled since the last call, with the reason: "main/t: reload".
function R:cancelled()
  return (self:eval "local list = table.concat(S.cancelled, '\\n') S.cancelled = {} return list")
end
function R:revision() return (self:eval "return require('stator.revisions').current") end
function R:phase() return (self:eval "return require('stator.reload').state") end

--- The shape of a cell that starts with the files as they are now, after some time.
function M.fresh(folder, seconds)
  local cell = assert(harness.open { scene = folder .. "/scene.json", virtual = true })
  cell:eval(INSIDE)
  cell:advance(seconds or 0.2)
  local shape = cell:eval "return package.loaded.reloading.shape()"
  cell:close()
  return shape
end

--- The cell is as one that starts with the files as they are now.
function R:as_fresh(seconds)
  local assert = require "luassert"
  assert.equal(M.fresh(self.folder, seconds), self:shape())
  assert.is_nil(self.cell:check())
end

--- What scripts printed since the last call: "main/t: text".
function R:said()
  local out, lines = {}, self.cell:logs()
  for i = (self.told or 0) + 1, #lines do
    local who, text = lines[i]:match "^%S+ %l+%s+([%w_]+/[^:]-): (.*)$"
    if who then out[#out + 1] = who .. ": " .. text end
  end
  self.told = #lines
  return out
end

--- What scripts print in some time from now, without the time that ends each line (else the log counts equal ones):
--- each different line once, in the order of the first.
function R:says(seconds)
  local known, out = {}, {}
  self:said()
  self.cell:advance(seconds or 0.25)
  for _, line in ipairs(self:said()) do
    line = line:gsub("\t[%d.]+$", "")
    if not known[line] then
      known[line] = true
      out[#out + 1] = line
    end
  end
  return out
end

--- Lines of the log that a pattern finds.
function R:lines(pattern)
  local out = {}
  for _, line in ipairs(self.cell:logs()) do
    if line:find(pattern) then out[#out + 1] = line end
  end
  return out
end

--- Values of a component's field of all entities of a name.
function R:value(path, component, field)
  return self:eval([[
    local path, component, field = ...
    local Entity = require("stator.entity").Entity
    local c = require("stator.registry").live.components[component]
    local id = require("stator.entity").at(path)
    if not c or not id or not Entity.has(id, c) then return nil end
    if not field or field == "" then return true end
    local value = Entity.copy(id, c)[field]
    if type(value) == "table" then return table.concat(value, " ") end
    return value
  ]], path, component, field or "")
end

--- Lets a task write a component of an entity.
function R:set(path, component, values)
  self:eval(([[
    require("stator.task").spawn({ name = "person", order = require("stator.registry").order(3, 9, 9) }, function()
      local command, entity = require "stator.command", require "stator.entity"
      local c = require("stator.registry").live.components.%s
      local id = entity.at(%q)
      if entity.Entity.has(id, c) then command:set(id, c, %s) else command:insert(id, c, %s) end
    end)]]):format(component, path, values, values))
  self.cell:advance(0.02)
end

return M
