--- What a reload changes about components, structs, enums and events: compares two sets of declarations, and
--- takes the world from one to the other and back.
---
--- A type has changed when the text of its declaration has, or that of a struct or enum in one of its
--- fields, spaces aside. Whoever names a type that changes runs again, so no code sees a layout that it was
--- not loaded with.
local ffi = require "ffi"
local core = require "stator.core.world"
local core_schema = require "stator.core.schema"
local component = require "stator.component"
local entity = require "stator.entity"
local err = require "stator.err"
local event = require "stator.event"
local record = require "stator.record"
local registry = require "stator.registry"
local schema = require "stator.schema"
local views = require "stator.views"

local M = {}

-- ---- comparing ------------------------------------------------------------------------------

local function tidy(text) return (text:gsub("%s+", " "):gsub("^ ", ""):gsub(" $", "")) end

--- The declarations of one place, as text. Places do not change: it is made once.
local function text_of(declared)
  if not declared.text then
    local parts = { declared.sparse and "sparse" or "" }
    for i, line in ipairs(declared.fields or declared.members) do parts[i + 1] = tidy(line) end
    declared.text = table.concat(parts, "\n")
  end
  return declared.text
end

local signature

--- That of the struct or enum which a field is of, "" when it is of neither.
local function type_of_field(set, line, known)
  local name = tidy(line):match "^[%w_]+"
  local t = name and (set.types.struct[name] or set.types.enum[name])
  return t and ("\n{%s}"):format(signature(set, t, known)) or ""
end

--- All that a type depends on, as text; nil when it is declared nowhere.
function signature(set, t, known)
  if known[t] then return known[t] end
  local first = t.places[1]
  if not first then return nil end
  known[t] = "" -- one that holds itself is refused by the core
  local parts = { text_of(first) }
  for _, line in ipairs(first.fields or {}) do parts[#parts + 1] = type_of_field(set, line, known) end
  known[t] = table.concat(parts)
  return known[t]
end

---@class stator.TypeChange
---@field what string "added", "changed" or "removed"
---@field kind string
---@field name string
---@field before stator.Type?
---@field after stator.Type?
---@field plan table? of a component that the core has with other fields
---@field layout table? of its values before the plan

local COMPARED = 20 -- in a slice

--- What differs, in the order of the later set, then what is gone.
---@param before stator.Set
---@param after stator.Set
---@param pause fun() lets other things run
---@return stator.TypeChange[]
function M.compare(before, after, pause)
  local list, known_before, known_after = {}, {}, {}
  for i, t in ipairs(after.type_list) do
    if i % COMPARED == 0 then pause() end
    local old = before.types[t.kind][t.name]
    local new_text = signature(after, t, known_after)
    local what
    if new_text and not (old and old.places[1]) then
      what = "added"
    elseif new_text and signature(before, old, known_before) ~= new_text then
      what = "changed"
    elseif not new_text and old then
      what = "removed"
    end
    if what then list[#list + 1] = { what = what, kind = t.kind, name = t.name, before = old, after = t } end
  end
  for _, t in ipairs(before.type_list) do
    if not after.types[t.kind][t.name] then
      list[#list + 1] = { what = "removed", kind = t.kind, name = t.name, before = t }
    end
  end
  return list
end

--- The scripts that name what changes, and why, by script: those that are not in `known`.
---@param known table<stator.Script, any>
function M.who_names(changes, known)
  local list, why = {}, {}
  for _, change in ipairs(changes) do
    local naming = change.what ~= "added" and change.before.mentions or {}
    for _, mention in ipairs(naming) do
      local s = mention.script
      if not known[s] and not why[s] then
        list[#list + 1] = s
        why[s] = ("it names %s %s, which is %s"):format(change.kind, change.name, change.what)
      end
    end
  end
  return list, why
end

--- What is wrong with the declarations of a set.
---@param changes stator.TypeChange[]
---@return string[]
function M.problems(set, changes)
  local problems = {}
  for _, t in ipairs(set.type_list) do
    local first = t.places[1]
    if not first then problems[#problems + 1] = registry.declared_nowhere(set, t) end
    for i = 2, #t.places do
      if text_of(t.places[i]) ~= text_of(first) then
        problems[#problems + 1] = ('%s: %s "%s": declared with other fields at %s'):format(t.places[i].place, t.kind,
          t.name, first.place)
      end
    end
  end
  for _, change in ipairs(changes) do
    local before, after = change.before and change.before.places[1], change.after and change.after.places[1]
    if change.what == "changed" and before.sparse ~= after.sparse then
      problems[#problems + 1] = ('%s: component "%s" cannot become %s while the cell runs: start it again'):format(
        after.place, change.name, after.sparse and "sparse" or "not sparse")
    end
  end
  return problems
end

-- ---- structs and enums ----------------------------------------------------------------------

--- Makes the names of enums, structs and events mean what a set says, for declarations from now on. Answers
--- problems.
---@return string[]
function M.define(set)
  local problems, left, enums = {}, {}, {}
  for _, t in ipairs(registry.types_of(set, "enum")) do
    local id, message = core_schema.enum(t.name, t.places[1].members)
    if id then
      enums[id] = t.object
    else
      problems[#problems + 1] = ('%s: enum "%s": %s'):format(t.places[1].place, t.name, message)
    end
  end
  set.enums, set.struct_ids = enums, {}
  for _, kind in ipairs { "struct", "event" } do
    for _, t in ipairs(registry.types_of(set, kind)) do left[#left + 1] = t end
  end
  local moved = true
  while #left > 0 and moved do
    local again = {}
    for _, t in ipairs(left) do
      local fields = t.places[1].fields
      local id, message, code = core_schema.struct(t.name, t.kind == "event" and event.fields_of(fields) or fields)
      if id then message = component.lua_word((core.struct_fields(id))) end
      if code == "ECS_E_UNKNOWN" then
        again[#again + 1], t.message = t, message
      elseif message then
        problems[#problems + 1] = ('%s: %s "%s": %s'):format(t.places[1].place, t.kind, t.name, message)
      else
        set.struct_ids[t.name] = id
      end
    end
    left, moved = again, #again < #left
  end
  for _, t in ipairs(left) do
    problems[#problems + 1] = ('%s: %s "%s": %s'):format(t.places[1].place, t.kind, t.name, t.message)
  end
  return problems
end

-- ---- components -----------------------------------------------------------------------------

--- Registers components that are new to the core. Answers a problem, or nil.
local function register(change)
  local first = change.after.places[1]
  local id, message, code = core.component(change.name, first.fields, first.sparse)
  if id then
    local word = component.lua_word(core.fields(id))
    if word then return ('%s: component "%s": %s'):format(first.place, change.name, word) end
    change.id = id
    return nil
  end
  if code == "ECS_E_CONFLICT" then return nil, true end -- it was there once: it is migrated
  return ('%s: component "%s": %s'):format(first.place, change.name, message)
end

--- What values of before look like: as scripts had it last, or as the core still has it of one that is back.
local function layout_before(change)
  if change.before then return change.before.object end
  local fields = core.fields(core.component_id(change.name))
  local layout = component.layout_of_plan(change.name, fields, registry.live.enums)
  layout.is_tag = #fields == 0
  return layout
end

--- A field whose type has no way to the new one, in words; nil when there is none.
local function what_is_lost(change)
  for _, field in ipairs(change.plan.fields) do
    if field.change == "lossy" then
      return ("%s.%s: %s; give the component the option migrate, see stator.component"):format(change.name, field.name,
        field.reason)
    end
  end
end

local function plan(change)
  local first = change.after.places[1]
  change.layout = layout_before(change)
  local made, fields, rows, bytes = core_schema.plan(change.name, first.fields)
  if not made then return ('%s: component "%s": %s'):format(first.place, change.name, fields) end
  change.plan = { handle = made, fields = fields, rows = rows, bytes = bytes }
  core_schema.may_drop(made) -- a copy is kept until the reload is accepted
  for _, place in ipairs(change.after.places) do change.migrate = change.migrate or place.migrate end
  local lost = not change.back and not change.migrate and what_is_lost(change)
  if lost and rows > 0 then return ('%s: component "%s": %s'):format(first.place, change.name, lost) end
  if lost then change.migrate = function() err.raise(lost) end end -- nobody carries it: until now
  local word = component.lua_word(core_schema.fields(made))
  if word then return ('%s: component "%s": %s'):format(first.place, change.name, word) end
end

--- Finds out what becomes of the components; registers new ones, which nobody sees yet. After define.
---@param changes stator.TypeChange[]
---@return string[] problems
function M.plan(set, changes)
  local problems = {}
  for _, change in ipairs(changes) do
    change.enums = set.enums
    if change.kind == "component" and change.after and change.what ~= "removed" then
      local problem, again
      if change.what == "added" then problem, again = register(change) end
      if change.what == "changed" or again then problem = plan(change) end
      problems[#problems + 1] = problem
    end
  end
  return problems
end

--- Gives plans back.
---@param changes stator.TypeChange[]
function M.drop(changes)
  for _, change in ipairs(changes) do
    if change.plan then core_schema.drop(change.plan.handle) end
  end
end

--- What a script's migrate makes of one value, written to where the core takes it from. Raises.
local function convert(change, old_type, layout, from, to)
  local old = views.to_table(change.layout, ffi.cast(old_type, from)[0])
  local made = change.migrate(old)
  if made == nil then return end
  if type(made) ~= "table" then err.raise("migrate: expected a table of fields, got " .. err.shown(made)) end
  local values = record.struct_value(layout, made)
  local p = ffi.cast(layout.payload_pointer, to)
  for i, f in ipairs(layout.fields) do
    if values[i] ~= nil then record.store_field(p, f, values[i]) end
  end
end

local CHECKED_ROWS = 2000 -- in a slice

--- The function(old, new, id) that lets a script finish a value, or nil. Its errors name the entity.
local function converter(change)
  if not change.migrate or change.layout.is_tag then return nil end
  local layout = component.layout_of_plan(change.name, core_schema.fields(change.plan.handle), change.enums)
  local old_type = change.layout.read_pointer
  return function(from, to, id)
    local ok, e = pcall(convert, change, old_type, layout, from, to)
    if not ok then error(("migrate: %s: %s"):format(entity.path(id) or "?", tostring(err.handler(e).message)), 0) end
  end
end

--- Goes through the values of one component. Answers a problem, or nil.
local function check(change, pause)
  local fn = converter(change)
  while true do
    local done, problem = schema.check(change.plan.handle, CHECKED_ROWS, fn)
    if done == nil then return problem end
    if done then return nil end
    pause()
  end
end

--- What to do about a problem with a component's values.
local function advice(change)
  for _, field in ipairs(change.migrate and {} or change.plan.fields) do
    if field.change == "lossy" then return "; give the component the option migrate, see stator.component" end
  end
  return ""
end

--- A message of the core with the path of the entity that it names.
local function with_path(problem)
  return (problem:gsub("%(entity (%d+)%)$", function(id) return ("(%s)"):format(entity.path(tonumber(id)) or id) end))
end

--- Goes through all values without changing any: what would be refused at the swap is known before.
---@param pause fun() lets other things run
---@return string[] problems
function M.check(changes, pause)
  local problems = {}
  for _, change in ipairs(changes) do
    if change.plan and not change.back then
      local problem = check(change, pause)
      if problem then
        problems[#problems + 1] = ('%s: component "%s": %s%s'):format(change.after.places[1].place, change.name,
          with_path(problem), advice(change))
      end
    end
  end
  return problems
end

-- ---- there and back -------------------------------------------------------------------------

-- Copies in C, which outlive the VM: of the revision that was accepted last, and of the one that a swap leaves
local ACCEPTED, LEFT = "accepted:", "left:"

--- Forgets the copies for the way back.
function M.accept()
  for _, saved in ipairs(core_schema.saved()) do core_schema.free(saved.name) end
end

local function has_accepted(name)
  for _, saved in ipairs(core_schema.saved()) do
    if saved.name == ACCEPTED .. name then return true end
  end
  return false
end

--- Copies what a component has now, for whoever has to go back.
local function save(change)
  local prefix = has_accepted(change.name) and LEFT or ACCEPTED
  change.copy = prefix .. change.name
  return core_schema.save(change.copy, change.name)
end

--- Migrates one component. Values that came meanwhile are converted as well.
local function migrate(change)
  local ok, message = save(change)
  if not ok then return nil, message end
  if change.back then return core_schema.back(ACCEPTED .. change.name) end
  return schema.migrate(change.plan.handle, converter(change))
end

--- Takes back what was migrated.
local function undo(done)
  for i = #done, 1, -1 do
    if done[i].copy then
      core_schema.back(done[i].copy)
      core_schema.free(done[i].copy)
    end
  end
end

--- Gives the components their new fields. All or none: answers nil, or a problem.
---@param changes stator.TypeChange[]
function M.migrate(changes)
  local done = {}
  for _, change in ipairs(changes) do
    if change.plan then
      done[#done + 1] = change
      local ok, message = migrate(change)
      if not ok then
        undo(done)
        return ('component "%s": %s'):format(change.name, message)
      end
    end
  end
  for _, change in ipairs(done) do
    if change.copy == LEFT .. change.name then core_schema.free(change.copy) end
  end
end

--- Lays out what is new: nobody holds it yet.
---@param set stator.Set
---@param changes stator.TypeChange[]
function M.lay_out_new(set, changes)
  for _, change in ipairs(changes) do
    if change.kind == "component" and change.id then component.lay_out(change.after, change.id, set.enums) end
  end
end

--- Lays out what scripts hold, as the core has it now. Nothing here fails.
---@param set stator.Set
---@param changes stator.TypeChange[]
function M.lay_out(set, changes)
  for _, change in ipairs(changes) do
    local t = change.after
    if t and change.what ~= "removed" then
      if change.kind == "component" then
        if not change.id then component.lay_out(t, core.component_id(change.name), set.enums) end
      elseif change.kind == "event" then
        event.lay_out(t, set.struct_ids[change.name], set.enums)
      elseif change.kind == "enum" and change.before and change.before.object ~= t.object then
        component.redirect(change.before.object, t.object)
      end
    end
  end
  for _, t in ipairs(registry.types_of(set, "component")) do
    for _, place in ipairs(t.places) do
      if place.aged then core.aged(t.object.id) end
    end
  end
  component.list(set)
end

return M
