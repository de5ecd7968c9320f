--- Checks the field names that a script's text writes next to a component, when it is loaded:
--- `cmd:set(e, Motor, { sped = 1 })`, `Motor { sped = 1 }`, `e:when(Motor, { sped = 1 })`. What stands
--- on a path that seldom runs is found at once, and recording need not count keys every time. A script's own
--- functions may take a component and a table as well, so what is no such call for certain is left alone.
local err = require "stator.err"

local M = {}

--- Problems of texts.
---@param sources { shown: string, claims: stator.Claims }[] the texts, and under which names they are shown
---@param names_of fun(component: string): string[]? the names of a component's fields; nil: it is none, or a tag
---@return string[]
function M.check(sources, names_of)
  local problems, known = {}, {}
  local function field_names(name)
    if known[name] == nil then
      local list = names_of(name)
      known[name] = list and { list = list, has = {} } or false
      for _, field in ipairs(list or {}) do known[name].has[field] = true end
    end
    return known[name]
  end
  for _, source in ipairs(sources) do
    local fields = source.claims.fields
    for i = 1, #fields, 3 do
      local name, field = fields[i], fields[i + 1]
      local names = field_names(name)
      if names and not names.has[field] then
        problems[#problems + 1] = ('%s:%d: %s has no field "%s"%s'):format(source.shown, fields[i + 2], name, field,
          err.nearest(field, names.list))
      end
    end
  end
  return problems
end

return M
