--- Checks the field names that a script's text writes next to a component, when it is loaded:
--- `cmd:set(e, Motor, { sped = 1 })`, `Motor { sped = 1 }`, `e:when(Motor, { sped = 1 })`. What stands
--- on a path that seldom runs is found at once, and recording need not count keys every time. A script's own
--- functions may take a component and a table as well, so what is no such call for certain is left alone.
local err = require "stator.err"
local registry = require "stator.registry"
local tokens = require "stator.tokens"

local M = { sources = {} }

--- Notes a text for the check: what was loaded, and under which name it is shown.
function M.add(shown, text)
  table.insert(M.sources, { shown = shown, text = text })
end

local CLOSES = { ["("] = ")", ["{"] = "}", ["["] = "]" }

--- Where what opens at `i` closes; behind the list when it does not.
local function closing(list, i)
  local opens, depth = list[i].text, 0
  repeat
    local t = list[i].text
    depth = depth + (t == opens and 1 or t == CLOSES[opens] and -1 or 0)
    i = i + 1
  until depth == 0 or i > #list
  return i - 1
end

--- Names of `local A, B =`, in order, when its "=" is at `i`.
local function names_before(list, i)
  local names = {}
  repeat
    table.insert(names, 1, list[i - 1].text)
    i = i - 2
  until i < 2 or list[i].text ~= ","
  return names
end

--- Notes the components of `= stator.component("A", ...), stator.component("B", ...)`, from `i` on.
local function bind(bound, names, list, i)
  for _, name in ipairs(names) do
    if not (list[i + 4] and list[i + 2].text == "component") then return end
    local call = list[i + 3].text == "("
    local text = list[call and i + 4 or i + 3].text
    bound[name] = registry.recording.components[text:match("^[\"'](.*)[\"']$") or ""]
    i = (call and closing(list, i + 3) or i + 3) + 1
    if not (list[i] and list[i].text == ",") then return end
    i = i + 1
  end
end

--- Takes the names out of `bound` that something else has as well: a parameter, or another local.
local function leave_out_others(bound, list)
  for i = 2, #list do
    local before, opens = list[i - 1].text, list[i].text == "("
    if opens and (before == "function" or list[i - 2] and list[i - 2].text == "function") then
      for k = i + 1, closing(list, i) do bound[list[k].text] = nil end
    elseif before == "local" or before == "for" then
      local last = i
      while list[last + 1] and list[last + 1].text == "," do last = last + 2 end
      local declares = list[last + 4] and list[last + 1].text == "=" and list[last + 4].text == "component"
      for k = i, last do bound[list[k].text] = declares and bound[list[k].text] or nil end
    end
  end
end

--- Names bound by `local Motor = stator.component("Motor", ...)`.
local function bindings(list)
  local bound = {}
  for i = 2, #list - 3 do
    if list[i].text == "=" then bind(bound, names_before(list, i), list, i + 1) end
  end
  leave_out_others(bound, list)
  return bound
end

local OPENS = { [")"] = "(", ["}"] = "{", ["]"] = "[" }

--- Where the call begins of which the token at `i` is an argument, and the argument's number; nil when it is none.
local function call_of(list, i)
  local depth, number = 0, 1
  for k = i - 1, 1, -1 do
    local t = list[k].text
    if depth == 0 and CLOSES[t] then return t == "(" and k or nil, number end
    depth = depth + (OPENS[t] and 1 or CLOSES[t] and -1 or 0)
    if depth == 0 and t == "," then number = number + 1 end
  end
end

-- which argument the component is, before the fields
local OF_CMD = { set = 2, insert = 2, add = 2, set_many = 2 }
local OF_ENTITY = { when = 1, rising = 1, falling = 1 }

--- Whether the component named before the table that begins at `i` is what the table's fields are of.
local function holds_fields(list, i)
  local named = list[i - 1].text == "," and i - 2 or i - 1
  local before = list[named - 1] and list[named - 1].text
  if named == i - 1 then return before ~= "." and before ~= ":" end -- Motor { ... }
  if before ~= "(" and before ~= "," then return false end
  local call, number = call_of(list, named)
  if not call or call < 4 or list[call - 2].text ~= ":" then return false end
  local method, receiver = list[call - 1].text, list[call - 3].text
  return OF_ENTITY[method] == number or receiver == "cmd" and OF_CMD[method] == number
end

local function check_table(source, list, i, component, problems)
  local depth = 0
  repeat
    local t = list[i].text
    if t == "{" or t == "(" or t == "[" then depth = depth + 1 end
    if t == "}" or t == ")" or t == "]" then depth = depth - 1 end
    local starts = list[i - 1].text == "{" or list[i - 1].text == "," or list[i - 1].text == ";"
    if depth == 1 and starts and list[i + 1] and list[i + 1].text == "=" and t:find("^[%a_]")
      and not component.by_name[t] then
      problems[#problems + 1] = ('%s:%d: %s has no field "%s"%s'):format(source.shown, list[i].line,
        component.name, t, err.nearest(t, component.field_names))
    end
    i = i + 1
  until depth == 0 or i > #list
end

--- Problems of all texts, after the components are laid out.
---@return string[]
function M.run()
  local problems = {}
  for _, source in ipairs(M.sources) do
    local list = tokens.of(source.text)
    local bound = bindings(list)
    for i = 2, #list do
      local name = list[i].text == "{" and (list[i - 1].text == "," and list[i - 2] or list[i - 1])
      local component = name and bound[name.text]
      if component and component.by_name and holds_fields(list, i) then
        check_table(source, list, i, component, problems)
      end
    end
  end
  return problems
end

return M
