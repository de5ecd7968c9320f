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

--- Names bound by `local Motor = stator.component("Motor", ...)`.
local function bindings(list)
  local bound = {}
  for i = 1, #list - 5 do
    if list[i].text == "component" and list[i - 4] and list[i - 3].text == "=" then
      local at = list[i + 1].text == "(" and i + 2 or i + 1
      bound[list[i - 4].text] = registry.components[list[at].text:match("^[\"'](.*)[\"']$") or ""]
    end
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
