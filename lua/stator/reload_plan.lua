--- The plan of a reload: what its swap will do, as data and as lines for people, before it is done.
local component = require "stator.component"
local core = require "stator.core.task"
local inspect = require "stator.inspect"
local link = require "stator.link"
local outside = require "stator.outside"
local query = require "stator.query"
local registry = require "stator.registry"
local schedule = require "stator.schedule"
local task = require "stator.task"

-- seconds: measured with the bench row of reload, see tests/bench/README.md; they need not be exact
local PAUSE_S, DECLARATION_S, ROW_S, BYTE_S = 50e-6, 6e-6, 60e-9, 1e-9

local M = {}

-- ---- declarations ---------------------------------------------------------------------------

local LISTS = { "systems", "tasks", "per_entity", "observers", "service_list" }

--- Declarations of scripts, by what they are called.
local function declared(set, scripts)
  local list, by_name = {}, {}
  for _, name in ipairs(LISTS) do
    for _, d in ipairs(set[name]) do
      if scripts[d.script] then
        local what = ("%s %s"):format(d.kind, d.name)
        list[#list + 1] = what
        by_name[what] = d
      end
    end
  end
  return list, by_name
end

local function sort_out(plan, stage)
  local old, in_old = declared(registry.live, stage.restarted)
  local new, in_new = declared(stage.set, stage.restarted)
  plan.added, plan.replaced, plan.removed = {}, {}, {}
  for _, what in ipairs(new) do table.insert(in_old[what] and plan.replaced or plan.added, what) end
  for _, what in ipairs(old) do
    if not in_new[what] then table.insert(plan.removed, what) end
  end
end

-- ---- tasks ----------------------------------------------------------------------------------

--- Tasks that stand alone and belong to scripts, in the order of T2.
---@param scripts table<stator.Script, any>
---@return stator.Task[]
function M.tasks_of(scripts)
  local list = {}
  for _, t in pairs(task.by_handle) do -- sorted below
    if not t.parent and t.script and scripts[t.script] then list[#list + 1] = t end
  end
  table.sort(list, function(a, b)
    if a.order ~= b.order then return a.order < b.order end
    return a.sequence < b.sequence
  end)
  return list
end

--- Whether a reload lets a task finish on the code that it has.
function M.may_finish(t)
  return t.declared and t.declared.finish_s and not schedule.is_draining(t)
end

local DEPTH_MAX = 64

--- The one of a task's own children that it waits for, and so on: where it really stands.
local function innermost(t)
  for _ = 1, DEPTH_MAX do
    local handle = core.waits_for(t.handle)
    local child = handle and task.by_handle[handle]
    if not (child and child.parent and child.parent.task == t) then break end
    t = child
  end
  return t
end

local TASKS_NOTED = 10 -- in a slice

--- Notes the a-th to the b-th task of a list: those that have not ended meanwhile.
local function note_some(plan, list, a, b)
  local handles = {}
  for i = a, b do handles[#handles + 1] = innermost(list[i]).handle end
  local waits = inspect.waits_of(handles)
  for i = a, b do
    local t = list[i]
    local w = waits[innermost(t).handle] or {}
    local row = { name = t.name, waits_for = w.waits_for, since_s = w.since_s, place = w.place }
    local finishes = M.may_finish(t)
    row.finish_s = finishes and t.declared.finish_s or nil
    if not t.done then table.insert(finishes and plan.finishing or plan.cancelled, row) end -- since the slice before
  end
end

local function note_tasks(plan, stage)
  plan.cancelled, plan.finishing = {}, {}
  local list = M.tasks_of(stage.restarted)
  for first = 1, #list, TASKS_NOTED do
    note_some(plan, list, first, math.min(first + TASKS_NOTED - 1, #list))
    outside.pause()
  end
end

-- ---- types ----------------------------------------------------------------------------------

--- Who of the scene is bound to a field that changes.
local function bound_points(change)
  local list = {}
  local c = component.by_name[change.name]
  for _, l in ipairs(link.list) do
    for _, point in ipairs(l.points or {}) do
      if point.component == c then list[#list + 1] = { link = l, point = point } end
    end
  end
  return list
end

local function check_points(plan, change)
  for _, bound in ipairs(bound_points(change)) do
    for _, field in ipairs(change.plan.fields) do
      local kept = field.change == "kept"
      if field.name == bound.point.field.name and not kept then
        table.insert(plan.refused, ("%s.%s is bound to a point of link %s (%s): start the cell again to change it")
          :format(change.name, field.name, bound.link.name, bound.point.path))
      end
    end
  end
end

local function carried(rows) return rows == 1 and "1 entity" or ("%d entities"):format(rows) end

local function note_types(plan, stage, drop)
  plan.types = {}
  for _, change in ipairs(stage.changes) do
    local row = { kind = change.kind, name = change.name, what = change.what }
    if change.plan then
      local migrates = false
      for _, place in ipairs(change.after.places) do migrates = migrates or place.migrate ~= nil end
      row.fields, row.rows, row.bytes = change.plan.fields, change.plan.rows, change.plan.bytes
      row.migrates = migrates or nil
      check_points(plan, change)
      plan.rows, plan.bytes = plan.rows + row.rows, plan.bytes + row.bytes
    elseif change.kind == "component" and change.what == "removed" then
      row.rows = query.carriers(change.before.object)
      if row.rows > 0 and not drop[change.name] then
        table.insert(plan.refused, ("component %s is declared nowhere any more, but %d entities carry it: declare it, "
          .. "or reload with --drop %s"):format(change.name, row.rows, change.name))
      end
      for _, bound in ipairs(bound_points(change)) do
        table.insert(plan.refused, ("component %s is bound to a point of link %s (%s): start the cell again"):format(
          change.name, bound.link.name, bound.point.path))
      end
    end
    table.insert(plan.types, row)
  end
end

-- ---- the plan -------------------------------------------------------------------------------

---@class stator.ReloadPlan
---@field revision integer that it will be
---@field reason string
---@field scripts { name: string, why: string }[] that run again
---@field added string[] systems, tasks and the like
---@field replaced string[]
---@field removed string[]
---@field cancelled { name: string, waits_for: string?, since_s: number?, place: string? }[] running tasks
---@field finishing table[] the same, for tasks that finish on the code that they have, with finish_s
---@field types table[] kind, name, what; of components rows, bytes and fields
---@field values table[] changes of the scene that are applied
---@field restart table[] changes of the scene that need a restart of the cell
---@field refused string[] why it cannot be done
---@field pause_s number how long no tick runs at the swap, about

--- Works a plan out. In the reload's task.
---@param stage stator.Stage
---@param options { revision: integer, reason: string, drop: table<string, boolean> }
---@return stator.ReloadPlan
function M.make(stage, options)
  local plan = {
    revision = options.revision, reason = options.reason, scripts = {}, refused = {}, values = stage.scene.applies,
    restart = stage.scene.waits, rows = 0, bytes = 0,
  }
  for i, s in ipairs(stage.order) do plan.scripts[i] = { name = s.name, why = stage.restarted[s] } end
  sort_out(plan, stage)
  outside.pause()
  note_tasks(plan, stage)
  note_types(plan, stage, options.drop)
  local count = #plan.added + #plan.replaced + #plan.removed
  plan.pause_s = PAUSE_S + DECLARATION_S * count + ROW_S * plan.rows + BYTE_S * plan.bytes
  return plan
end

-- ---- for people -----------------------------------------------------------------------------

local function list_of(lines, title, items)
  if #items > 0 then lines[#lines + 1] = ("  %s: %s"):format(title, table.concat(items, ", ")) end
end

local SIGNS = { kept = nil, converted = "~", added = "+", dropped = "-", lossy = "!" }

local function field_texts(row)
  local parts = {}
  for _, field in ipairs(row.fields or {}) do
    local sign = SIGNS[field.change]
    if sign then
      parts[#parts + 1] = sign .. field.name .. (field.reason ~= "" and (" (%s)"):format(field.reason) or "")
    end
  end
  return table.concat(parts, ", ")
end

local function type_line(row)
  local text = ("  %s %s: %s"):format(row.kind, row.name, row.what)
  local fields = field_texts(row)
  if fields ~= "" then text = ("%s: %s"):format(text, fields) end
  if row.rows and row.rows > 0 then text = ("%s; %s"):format(text, carried(row.rows)) end
  if row.fields and fields:find "[-!]" then
    text = text .. "; what goes is kept until the reload is accepted, then it is lost"
  end
  return text
end

local function task_line(row, verb)
  return ("  %s %s%s%s"):format(verb, row.name, row.place and (" at %s"):format(row.place) or "",
    row.waits_for and (", which waits for %s"):format(row.waits_for) or "")
end

--- The lines that say what will be done, the first without an indent.
---@param plan stator.ReloadPlan
---@return string[]
function M.lines(plan)
  local names = {}
  for i, s in ipairs(plan.scripts) do names[i] = ("%s (%s)"):format(s.name, s.why) end
  local lines = { #names > 0 and ("revision %d, %s: %s"):format(plan.revision, plan.reason, table.concat(names, ", "))
    or plan.reason .. ": no script runs again" }
  list_of(lines, "added", plan.added)
  list_of(lines, "replaced", plan.replaced)
  list_of(lines, "removed", plan.removed)
  for _, row in ipairs(plan.cancelled) do lines[#lines + 1] = task_line(row, "cancels") end
  for _, row in ipairs(plan.finishing) do
    lines[#lines + 1] = task_line(row, "lets finish") .. (", for %g s at most"):format(row.finish_s)
  end
  for _, row in ipairs(plan.types) do lines[#lines + 1] = type_line(row) end
  for _, change in ipairs(plan.values) do lines[#lines + 1] = "  " .. change.text end
  for _, change in ipairs(plan.restart) do lines[#lines + 1] = "  " .. change.text end
  if #names > 0 then lines[#lines + 1] = ("  pause: about %.2g ms"):format(plan.pause_s * 1e3) end
  for _, text in ipairs(plan.refused) do lines[#lines + 1] = "  refused: " .. text end
  return lines
end

return M
