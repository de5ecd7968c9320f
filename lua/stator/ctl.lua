--- Shows answers of the control socket to people. Runs in `stator ctl`, away from the host, so it knows
--- nothing of a cell.
local json = require "stator.core.json"

local M = {}

--- Rows of texts in columns; the last one is not padded.
local function columns(rows)
  local widths, lines = {}, {}
  for _, row in ipairs(rows) do
    for i, text in ipairs(row) do widths[i] = math.max(widths[i] or 0, #text) end
  end
  for n, row in ipairs(rows) do
    local parts = {}
    for i, text in ipairs(row) do parts[i] = i < #row and text .. (" "):rep(widths[i] - #text) or text end
    lines[n] = table.concat(parts, "  "):gsub("%s+$", "")
  end
  return table.concat(lines, "\n") .. "\n"
end

--- 0.00031 -> "310 us"
local function seconds(s)
  if s < 0 then return "-" .. seconds(-s) end
  if s < 0.001 then return ("%.0f us"):format(s * 1e6) end
  if s < 1 then return ("%.3g ms"):format(s * 1e3) end
  if s < 120 then return ("%.3g s"):format(s) end
  return s < 7200 and ("%.0f min"):format(s / 60) or ("%.1f h"):format(s / 3600)
end

local function bytes(n)
  return n < 2 ^ 20 and ("%.0f KiB"):format(n / 1024) or ("%.1f MiB"):format(n / 2 ^ 20)
end

local function whole(n) return ("%.0f"):format(n) end

local function left_out(answer)
  return answer.left_out and ("and %d more: ask for a part by its name\n"):format(answer.left_out) or ""
end

local shows = {}

function shows.tasks(answer)
  local rows = { { "TASK", "AT", "STATE", "FOR", "DEADLINE", "OWNER", "WAITS FOR" } }
  for i, t in ipairs(answer.tasks) do
    rows[i + 1] = {
      ("  "):rep(t.depth) .. t.name, t.place or "-", t.state, t.since_s and seconds(t.since_s) or "-",
      t.deadline_s and seconds(t.deadline_s) or "-", t.owner or "-",
      (t.waits_for or "") .. (t.cancelled and (" (cancelled: %s)"):format(t.cancelled) or ""),
    }
  end
  return columns(rows) .. left_out(answer)
end

--- `words` has what JSON cannot write, by its place.
local function shown_value(value, place, words)
  if value == json.null then return words[place] or "null" end
  if type(value) ~= "table" then
    return type(value) == "string" and ("%q"):format(value) or type(value) == "number" and ("%.6g"):format(value)
      or tostring(value)
  end
  local parts, names = {}, {}
  for i, v in ipairs(value) do parts[i] = shown_value(v, place .. "." .. i, words) end
  for name in pairs(value) do
    if type(name) == "string" then names[#names + 1] = name end
  end
  table.sort(names)
  for _, name in ipairs(names) do
    parts[#parts + 1] = name .. " = " .. shown_value(value[name], place .. "." .. name, words)
  end
  return "{ " .. table.concat(parts, ", ") .. " }"
end

local function one_entity(e)
  local lines = { ("%s  (id %.0f)"):format(e.path, e.id) }
  for _, name in ipairs(e.components) do
    local values = e.values[name]
    lines[#lines + 1] = ("  %s %s"):format(name, values and shown_value(values, name, e.not_finite or {}) or "(tag)")
  end
  if #e.children > 0 then lines[#lines + 1] = "  children: " .. table.concat(e.children, ", ") end
  return table.concat(lines, "\n") .. "\n"
end

function shows.entities(answer)
  if answer.entity then return one_entity(answer.entity) end
  local rows = { { "ENTITY", "COMPONENTS" } }
  for i, e in ipairs(answer.entities) do rows[i + 1] = { e.path, table.concat(e.components, " ") } end
  return columns(rows) .. left_out(answer)
end

--- ", on probation: 7.1 s left, 0 faults, then back to 2"; ", waiting: main/pick: part in gripper"
local function revision_words(r)
  if r.state == "probation" and r.back_to then
    return (", on probation for %s more: %.0f fault%s, could go back to %.0f"):format(seconds(r.left_s), r.faults,
      r.faults == 1 and "" or "s", r.back_to)
  end
  return r.state ~= "idle" and (", %s%s"):format(r.state, r.holds and ": " .. r.holds or "") or ""
end

function shows.status(answer)
  local s = answer.status
  local rows = {
    { "name", s.name .. (s.stopping and " (stopping)" or "") },
    { "up", seconds(s.now_s) },
    { "ticks", ("%.0f at %g Hz, %.0f skipped"):format(s.ticks, s.tick_hz, s.skipped_ticks) },
    { "late", ("p50 %s, p99 %s, at most %s"):format(seconds(s.late_p50_s), seconds(s.late_p99_s),
      seconds(s.late_max_s)) },
    { "rounds", whole(s.rounds) },
    { "tasks", ("%.0f, %.0f carried over, %.0f steps over budget"):format(s.tasks, s.carried, s.over_budget) },
    { "entities", whole(s.entities) },
    { "memory", ("scripts %s, world %s"):format(bytes(s.lua_bytes), bytes(s.world_bytes)) },
    { "faults", ("%.0f, %.0f batches rejected, %.0f VMs lost"):format(s.faults, s.rejected, s.lost_vms) },
    { "revision", whole(s.revision) .. revision_words(s.reload) },
  }
  for _, l in ipairs(s.links) do
    rows[#rows + 1] = { "link " .. l.name, ("%s, round trip %s, %.0f errors, %.0f reconnects"):format(l.state,
      seconds(l.rtt_s), l.errors, l.reconnects) }
  end
  return columns(rows)
end

--- "<1us:98 2us:3 128us:1": the upper end of each bucket that has any.
local function histogram(late)
  local parts = {}
  for i, n in ipairs(late) do
    local text = i == 1 and "<1 us" or "<" .. seconds(2 ^ (i - 1) * 1e-6)
    if i == #late then text = ">=" .. seconds(2 ^ (i - 2) * 1e-6) end
    if n > 0 then parts[#parts + 1] = ("%s: %.0f"):format(text, n) end
  end
  return table.concat(parts, "  ")
end

function shows.systems(answer)
  local rows = { { "SYSTEM OR LOOP", "KIND", "EVERY", "RUNS", "SKIPPED", "MISSED", "LATE MAX", "LATE" } }
  for _, s in ipairs(answer.systems) do
    rows[#rows + 1] = {
      s.name .. (s.faulted and " (faulted)" or ""), s.kind .. " " .. s.phase,
      s.every_s > 0 and seconds(s.every_s) or "tick", whole(s.runs), whole(s.skipped), whole(s.missed),
      seconds(s.late_max_s), histogram(s.late),
    }
  end
  for _, l in ipairs(answer.loops) do
    rows[#rows + 1] = {
      l.name .. " " .. l.place, "every", seconds(l.period_s), whole(l.runs), "-", whole(l.missed),
      seconds(l.late_max_s), histogram(l.late),
    }
  end
  return columns(rows)
end

function shows.stop() return "stopping\n" end

function shows.reload(answer)
  local lines = {}
  for i, line in ipairs(answer.lines or {}) do lines[i] = line end
  lines[#lines + 1] = answer.message
  return table.concat(lines, "\n") .. "\n"
end

shows.accept, shows.revert = shows.reload, shows.reload

--- The text for people.
---@param command string
---@param answer table
---@return string
function M.show(command, answer) return shows[command](answer) end

--- What `stator ctl` prints, and whether the host did what it was asked.
---@param line string the host's answer
---@param raw boolean as it came
function M.main(command, line, raw)
  local answer = json.decode(line)
  if type(answer) ~= "table" then return "stator ctl: the host's answer is no JSON\n", false end
  if raw then return line .. "\n", answer.ok == true end
  if not answer.ok and answer.lines then return M.show(command, answer), false end
  if not answer.ok then
    return ("stator ctl: %s\n"):format(answer.error and answer.error.message or "refused"), false
  end
  return M.show(command, answer), true
end

return M
