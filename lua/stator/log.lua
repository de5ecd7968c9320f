--- The log for scripts: log.info("%d parts", n). Who and where are added.
local core = require "stator.core.log"

local M = {
  who = function() return nil end, -- name of the running task or system; set by stator.task
}

local function text_of(format, ...)
  if type(format) ~= "string" then return tostring(format) end
  if select("#", ...) == 0 then return format end
  local ok, text = pcall(string.format, format, ...)
  return ok and text or format .. " (bad format: " .. tostring(text) .. ")"
end

local function place_at(level)
  local info = debug.getinfo(level, "Sl")
  if info and info.currentline > 0 then return info.short_src .. ":" .. info.currentline end
end

for _, level in ipairs { "debug", "info", "warn", "error" } do
  M[level] = function(format, ...)
    local place = (level == "warn" or level == "error") and place_at(3) or nil
    core.event(level, M.who() or "script", text_of(format, ...), place)
  end
end

--- What `print` means in a script.
function M.print(...)
  local parts = {}
  for i = 1, select("#", ...) do parts[i] = tostring((select(i, ...))) end
  core.event("info", M.who() or "script", table.concat(parts, "\t"))
end

--- For the runtime: an event with all its parts given.
M.event = core.event

return M
