-- The table of what Bevy's plugins do when a task is aborted, its entity dies, its link is lost or it fails, and of what
-- an access to the world costs them. Loaded by peers.lua. The program prints a line of JSON for each plugin and case
-- (peers/bevy_async/src/bin/behaviour); nothing of it is judged.
local M = {}

local LINE = "%-26s %-16s %-8s %s"

--- One line taken apart: plugin, case, how the app went on, and the text of what else was seen.
local function row_of(line)
  local plugin, case, app, seen = line:match '^{"plugin":"(.-)","case":"(.-)","app":"(.-)",?(.*)}$'
  if not plugin then return nil end
  return {
    name = ("behaviour: %s, %s"):format(plugin, case), unit = "ns", target = "", fields = { "value" },
    value = tonumber(seen:match '"ns_each":([%d.]+)'), seen = ('"app":"%s",%s'):format(app, seen),
  }, LINE:format(plugin, case, app, (seen:gsub(',?"log":""', "")))
end

--- Prints the table and answers its rows: `value` ns each where a cost was measured, `seen` all that was told.
function M.run(chosen)
  print("\n" .. LINE:format("Bevy's plugins", "case", "the app", "seen"))
  local program = chosen.peer.behaviour
  local rows, why = {}, chosen.nopeer.behaviour or "no program was given"
  local pipe = program and assert(io.popen(program))
  for line in pipe and pipe:lines() or function() end do
    local row, shown = row_of(line)
    rows[#rows + 1] = row
    print(shown or line)
    io.stdout:flush()
  end
  if pipe then pipe:close() end
  if program and #rows == 0 then why = "it said nothing" end
  if #rows == 0 then
    print("-  " .. why)
    rows[1] = { name = "behaviour", unit = "ns", target = "", fields = { "value" }, reason = why }
  end
  return rows
end

return M
