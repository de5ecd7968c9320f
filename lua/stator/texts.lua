--- What messages say: the nearest of known names, and the code of what LuaJIT raises as a text. Also for states
--- that have nothing else of stator, see worker.lua.
local M = {}

--- Levenshtein distance of two short texts.
local function distance(a, b)
  local row = {}
  for j = 0, #b do row[j] = j end
  for i = 1, #a do
    local diagonal = row[0]
    row[0] = i
    for j = 1, #b do
      local cost = a:byte(i) == b:byte(j) and 0 or 1
      local value = math.min(row[j] + 1, row[j - 1] + 1, diagonal + cost)
      diagonal, row[j] = row[j], value
    end
  end
  return row[#b]
end

--- The name among `names` that is nearest to `name`, as ', did you mean "x"?', or "".
---@param names string[]
function M.nearest(name, names)
  local limit = #name <= 3 and 1 or math.max(2, math.floor(#name / 3))
  local best, best_distance = nil, limit + 1
  for _, candidate in ipairs(names) do
    local d = distance(name:lower(), candidate:lower())
    if d < best_distance then best, best_distance = candidate, d end
  end
  return best and (', did you mean "%s"?'):format(best) or ""
end

local FULL = {
  ["not enough memory"] = "memory", ["stack overflow"] = "stack", ["C stack overflow"] = "stack",
  ["error in error handling"] = "stack", -- a handler had no room on it either
}

--- The code of a full heap or stack; nil for any other message. With a place before it, or without.
---@param message string
---@return string?
function M.code(message)
  local plain = message:gsub("^[^\n]-:%d+: ", ""):gsub("^(stack overflow) %(.*", "%1")
  return FULL[plain]
end

return M
