--- Changes of the schema between two steps, over stator.core.schema: what loops over values and calls
--- scripts' functions. The rest is there.
---
---   local plan, entries, rows, bytes = core.plan("Motor", fields)
---   local done, code = schema.check(plan, 500, convert)     -- a slice; again until it answers true
---   local ok, problem, code = schema.migrate(plan, convert)
---
--- `convert(old, new, entity)` gets light pointers to a value as it is and as it will be, with what could be
--- converted and defaults for the rest; it writes the new one and must not wait. An error in it ends the
--- migration, and nothing has changed. Host only: scripts never see this module.
local core = require "stator.core.schema"

local M = {}

--- Calls convert for at most `rows` more values. Answers true at the end of all, false when there are more;
--- or nil, the problem (a text, or what the converter raised) and a code ("converter" for its own errors).
local function walk(plan, rows, convert, keep)
  for _ = 1, rows do
    local old, new, id = core.value(plan, keep)
    if not old then
      if new then return nil, new, id end
      return true
    end
    local ok, problem = pcall(convert, old, new, id)
    if not ok then return nil, problem, "converter" end
  end
  return false
end

--- A slice of a dry run: converts at most `rows` more values and stores none. Answers as walk does.
---@param plan userdata
---@param rows integer
---@param convert fun(old: userdata, new: userdata, entity: number)?
function M.check(plan, rows, convert)
  if convert then return walk(plan, rows, convert, false) end
  return core.check(plan, rows)
end

--- Carries a plan out, or changes nothing. The plan is gone then.
---@param convert fun(old: userdata, new: userdata, entity: number)?
---@return true?, any problem a text, or what the converter raised
---@return string? code
function M.migrate(plan, convert)
  core.rewind(plan)
  if convert then
    local done, problem, code = walk(plan, math.huge, convert, true)
    if not done then
      core.drop(plan)
      return nil, problem, code
    end
  end
  return core.migrate(plan)
end

return M
