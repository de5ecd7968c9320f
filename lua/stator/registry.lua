--- The recording registry: what scripts' bodies declare. Nothing runs until it is frozen; a reload
--- runs the bodies against a fresh registry and compares.
local err = require "stator.err"

---@class stator.Script one use of a script file in the scene
---@field name string its instance name
---@field index integer order in the scene, from 1
---@field params table values from the scene
---@field params_declared table<string, string>? name -> place of stator.params
---@field params_read table<string, boolean>? those that its body has read
---@field position integer how many things its body has declared

local M = {
  script = nil, ---@type stator.Script? whose body runs now
  components = {}, ---@type table<string, table>
  component_list = {},
  enums = {}, ---@type table<string, table>
  enum_list = {},
  struct_list = {},
  systems = {},
  tasks = {},
  per_entity = {},
  observers = {},
  machines = {},
  events = {}, ---@type table<string, table>
  event_list = {},
  inboxes = {}, -- declared ones, in order
  services = {}, ---@type table<string, table>
  service_list = {},
  queries = {},
  entities = {},
  links = {},
}

--- The declaring script and the place of the call; raises outside of a body.
---@param what string what is being declared, for the message
---@param level integer stack level of the caller
function M.declare(what, level)
  local script = M.script
  if not script then
    error(what .. " is declared in a script's body, not while it runs", level + 1)
  end
  script.position = script.position + 1
  local info = debug.getinfo(level, "Sl")
  return script, script.position, info.short_src .. ":" .. info.currentline
end

--- Raises on a key of `options` that is not in `known`.
---@param known string[]
---@param level integer? stack level to blame; nil: the innermost line of a script
function M.check_options(what, options, known, level)
  if type(options) ~= "table" then
    error(("%s: expected a table of options, got %s"):format(what, type(options)), (level or 2) + 1)
  end
  local names = {}
  for key in pairs(options) do names[#names + 1] = tostring(key) end
  table.sort(names)
  for _, name in ipairs(names) do
    local found = false
    for _, k in ipairs(known) do found = found or k == name end
    if not found then
      local message = ('%s: unknown option "%s"%s'):format(what, name, err.nearest(name, known))
      if not level then err.raise(message) end
      error(message, level + 1)
    end
  end
end

--- Key of T2 without the spawn sequence: phase, script, position.
M.PHASES = { startup = 0, pre_update = 1, update = 2, post_update = 3 }
M.PHASE_NAMES = { "startup", "pre_update", "update", "post_update" }
function M.order(phase, script_index, position)
  return (phase * 4096 + script_index) * 16384 + position
end

return M
