--- Checks the field names that a script's text writes next to a component, when it is loaded:
--- `cmd:set(e, Motor, { sped = 1 })`, `Motor { sped = 1 }`, `e:when(Motor, { sped = 1 })`. What stands
--- on a path that seldom runs is found at once, and recording need not count keys every time. A script's own
--- functions may take a component and a table as well, so what is no such call for certain is left alone.
local err = require "stator.err"
local registry = require "stator.registry"

local M = { sources = {} }

--- Notes a text for the checks: what was loaded, and under which name it is shown.
---@param claims stator.Claims
function M.add(shown, claims)
  table.insert(M.sources, { shown = shown, claims = claims })
end

--- Problems of all texts, after the components are laid out.
---@return string[]
function M.run()
  local problems, components = {}, registry.components
  for _, source in ipairs(M.sources) do
    local fields = source.claims.fields
    for i = 1, #fields, 3 do
      local component, field = components[fields[i]], fields[i + 1]
      if component and component.by_name and not component.by_name[field] then
        problems[#problems + 1] = ('%s:%d: %s has no field "%s"%s'):format(source.shown, fields[i + 2],
          component.name, field, err.nearest(field, component.field_names))
      end
    end
  end
  return problems
end

return M
