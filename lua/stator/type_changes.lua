--- What a reload changes about components, structs, enums and events: compares two sets of declarations, and
--- takes the world from one to the other and back.
---
--- A type has changed when the text of its declaration has, or that of a struct or enum in one of its
--- fields, spaces aside. Whoever names a type that changes runs again, so no code sees a layout that it was
--- not loaded with.
local core = require "stator.core.world"
local component = require "stator.component"
local event = require "stator.event"
local registry = require "stator.registry"
local schema = require "stator.core.schema"
local views = require "stator.views"

local M = {}

-- ---- comparing ------------------------------------------------------------------------------

local function tidy(text) return (text:gsub("%s+", " "):gsub("^ ", ""):gsub(" $", "")) end

--- The declarations of one place, as text.
local function text_of(declared)
  local parts = { declared.sparse and "sparse" or "" }
  for i, line in ipairs(declared.fields or declared.members) do parts[i + 1] = tidy(line) end
  return table.concat(parts, "\n")
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

--- What differs, in the order of the later set, then what is gone.
---@param before stator.Set
---@param after stator.Set
---@return stator.TypeChange[]
function M.compare(before, after)
  local list, known_before, known_after = {}, {}, {}
  for _, t in ipairs(after.type_list) do
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
    local id, message = schema.define_enum(t.name, t.places[1].members)
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
      local id, message, code = schema.define_struct(t.name, t.kind == "event" and event.fields_of(fields) or fields)
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

local function plan(change)
  local first = change.after.places[1]
  local planned, message = schema.plan(change.name, first.fields)
  if not planned then return ('%s: component "%s": %s'):format(first.place, change.name, message) end
  change.plan = planned
  for _, field in ipairs(planned.fields) do
    if field.change ~= "dropped" and not field.name:find("%.") and not loadstring("return x." .. field.name) then
      return ('%s: component "%s": field "%s": this is a word of Lua, x.%s cannot be written: give it another name')
        :format(first.place, change.name, field.name, field.name)
    end
  end
end

--- Finds out what becomes of the components; registers new ones, which nobody sees yet. After define.
---@param changes stator.TypeChange[]
---@return string[] problems
function M.plan(changes)
  local problems = {}
  for _, change in ipairs(changes) do
    if change.kind == "component" and change.after and change.what ~= "removed" then
      local problem, again
      if change.what == "added" then problem, again = register(change) end
      if change.what == "changed" or again then problem = plan(change) end
      problems[#problems + 1] = problem
    end
  end
  return problems
end

--- A function (old, new, id) for the core that lets a script's `migrate` finish each value.
---@param change stator.TypeChange
local function converter(change)
  local declared
  for _, place in ipairs(change.after.places) do declared = declared or place.migrate end
  if not declared or change.before.object.is_tag then return nil end
  return schema.converter(change, declared, views)
end

--- Gives the components their new fields. All or none: answers nil, or a problem.
---@param changes stator.TypeChange[]
---@param keep boolean? copies of what they have now are made first, for the way back
function M.migrate(changes, keep)
  local done = {}
  for _, change in ipairs(changes) do
    if change.plan then
      local ok, message = true, nil
      if keep then ok, message = schema.save(change.name) end
      if ok then ok, message = schema.migrate(change.name, change.after.places[1].fields, converter(change)) end
      if not ok then
        for i = #done, 1, -1 do schema.back(done[i].name) end
        return ('component "%s": %s'):format(change.name, message)
      end
      done[#done + 1] = change
    end
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
        component.lay_out(t, core.component_id(change.name), set.enums)
        for _, place in ipairs(t.places) do
          if place.aged then core.aged(t.object.id) end
        end
      elseif change.kind == "event" then
        event.lay_out(t, set.struct_ids[change.name], set.enums)
      elseif change.kind == "enum" and change.before and change.before.object ~= t.object then
        component.redirect(change.before.object, t.object)
      end
    end
  end
  component.list(set)
end

return M
