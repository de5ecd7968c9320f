--- Checks the field names that a script's text writes next to a component, when it is loaded:
--- `cmd:set(e, Motor, { sped = 1 })`, `Motor { sped = 1 }`, `e:when(Motor, { sped = 1 })`. What stands
--- on a path that seldom runs is found at once, and recording need not count keys every time.
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
    bound[name] = registry.components[text:match("^[\"'](.*)[\"']$") or ""]
    i = (call and closing(list, i + 3) or i + 3) + 1
    if not (list[i] and list[i].text == ",") then return end
    i = i + 1
  end
end

--- Names bound by `local Motor = stator.component("Motor", ...)`.
local function bindings(list)
  local bound = {}
  for i = 2, #list - 3 do
    if list[i].text == "=" then bind(bound, names_before(list, i), list, i + 1) end
  end
  return bound
end

--- Whether a table that begins at `i` holds fields of the component named before it.
local function holds_fields(list, i)
  if list[i - 1].text ~= "," then return true end -- Motor { ... }
  local before = list[i - 3] and list[i - 3].text
  if before == "," then return true end -- cmd:set(e, Motor, { ... })
  local method = list[i - 4] and list[i - 4].text
  return before == "(" and (method == "when" or method == "rising" or method == "falling")
end

--- Of methods that may be passed on: `pcall(e.get, e, Motor, { max_age_s = 1 })`.
local OPTION = { max_age_s = true, hold_s = true, within = true }

local function check_table(source, list, i, component, problems)
  local depth = 0
  repeat
    local t = list[i].text
    if t == "{" or t == "(" or t == "[" then depth = depth + 1 end
    if t == "}" or t == ")" or t == "]" then depth = depth - 1 end
    local starts = list[i - 1].text == "{" or list[i - 1].text == "," or list[i - 1].text == ";"
    if depth == 1 and starts and list[i + 1] and list[i + 1].text == "=" and t:find("^[%a_]")
      and not component.by_name[t] and not OPTION[t] then
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
