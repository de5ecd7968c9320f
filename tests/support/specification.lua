--- Holds docs/spec.md, docs/architecture.md, docs/pickup.md and docs/decisions.md against the tree.
---
--- In spec.md every table with a column "State" is checked. Its first column names what the row is about; spans in
--- backquotes there are names that can be looked up: `stator.net.listen(...)` in the API, `cmd:spawn(...)` in the
--- class, `stator ctl SOCKET tasks` and `--virtual` in the usage of host/main.c, `"reload"` among the members of
--- a scene, `ecs_snapshot_write` in the headers of ecs/. What is done or partial has them, what is missing has not.
--- A span such as `host/net.h#NET_MAX_WAITING = 64` names a file and a text in it; of a spec, a test's title
--- or its beginning, of a C test, the test.
local parity = require "parity"

local M = {}

M.SPEC, M.ARCHITECTURE, M.DECISIONS = "docs/spec.md", "docs/architecture.md", "docs/decisions.md"
M.PICKUP, M.README = "docs/pickup.md", "README.md"
M.STATES = { done = true, partial = true, missing = true }

local FOLDERS = { "ecs", "host", "lua/stator" }
local TOP = { -- folders that a path may begin with
  ecs = true, host = true, lua = true, tests = true, docs = true, scripts = true, examples = true, cmake = true,
}
local INIT, USAGE = "lua/stator/init.lua", "host/main.c"
local PREFIXES = { "core: ", "wall: ", "echo: ", "reply to world: " } -- of the names of rows in its list
local BENCH = { "tests/bench/bench.lua", "tests/bench/core.lua", "tests/bench/peers.lua", "tests/bench/reload.lua" }
--- Where the methods of what scripts hold are defined, by the name that spec.md gives to the object.
local RECEIVERS = {
  cmd = { "command" }, e = { "entity", "condition", "views", "react" }, q = { "query", "condition" },
  inbox = { "inbox" }, conn = { "net" }, listener = { "net" }, sock = { "net" }, ch = { "channel" },
  sem = { "sync" }, m = { "sync" },
  box = { "views" }, plc = { "driver/modbus_tcp", "driver/modbus", "driver/modbus_server" },
}

-- ---- reading ----------------------------------------------------------------------------------

local function cells_of(line)
  local cells = {}
  local inside = line:gsub("\\|", "\1"):match "^|(.*)|%s*$" or ""
  for cell in (inside .. "|"):gmatch "(.-)|" do
    cells[#cells + 1] = cell:gsub("\1", "|"):match "^%s*(.-)%s*$"
  end
  return cells
end

local function lines_of(text)
  local list = {}
  for line in (text .. "\n"):gmatch "(.-)\n" do list[#list + 1] = line end
  return list
end

local function spans_of(text)
  local list = {}
  for span in (text or ""):gmatch "`([^`]+)`" do list[#list + 1] = span end
  return list
end

--- Tables of a text: `columns` (names to numbers), `first` (name of the first), rows with `line` and `cells`.
local function tables_of(text)
  local list, current = {}, nil
  for i, line in ipairs(lines_of(text)) do
    if not line:find "^|" then
      current = nil
    elseif not current then
      current = { line = i, columns = {}, rows = {}, first = cells_of(line)[1] }
      for at, name in ipairs(cells_of(line)) do current.columns[name] = at end
      list[#list + 1] = current
    elseif not line:find "^|[%s:|-]+$" then
      current.rows[#current.rows + 1] = { line = i, cells = cells_of(line) }
    end
  end
  return list
end

-- ---- what the tree has ------------------------------------------------------------------------

local function plain(text) return (text:gsub("%p", "%%%0")) end

local function defines(text, name)
  local word = plain(name)
  return text ~= nil
    and (text:find("function [%w_.]+[.:]" .. word .. "%f[^%w_]") or text:find("%f[%w_]" .. word .. "%s*=[^=]")
      or text:find("[%w_]%." .. word .. ", [%w_.]+ = ")) ~= nil
end

local function in_api(tree, span)
  local name, member = span:match "^stator%.([%w_]+)%.?([%w_]*)"
  if not parity.api(tree.read(INIT))[name] then return false end
  if member == "" or name == "log" then return member == "" or parity.api(tree.read(INIT))[member] or false end
  return defines(tree.read(("lua/stator/%s.lua"):format(name)), member)
end

local function in_class(tree, span)
  local object, name = span:match "^(%a+):([%w_]+)"
  for _, module in ipairs(RECEIVERS[object]) do
    if defines(tree.read(("lua/stator/%s.lua"):format(module)), name) then return true end
  end
  return false
end

--- The usage text of the program, as one line.
local function usage(tree)
  local text = (tree.read(USAGE) or ""):match "USAGE%[%] =(.-);\n" or ""
  return (text:gsub('\\n"', " "):gsub('"', " "):gsub("%s+", " "))
end

local function in_usage(tree, span)
  local text = usage(tree) .. " "
  local option = span:match "^%-%-[%w-]+"
  if option then return text:find(plain(option) .. "%f[^%w-]") ~= nil end
  local verb, word = span:match "^stator (%l+)", span:match "^stator ctl SOCKET (%l+)"
  if word and not text:find("ctl SOCKET [%l%s%[%]|%u-]-%f[%l]" .. word .. "%f[%L]") then return false end
  return text:find(" stator " .. verb .. " ", 1, true) ~= nil
end

local function in_scene(tree, span)
  for _, path in ipairs(tree.list "lua/stator") do
    local is_scene = path:find "/scene[%w_]*%.lua$" or path:find "/link%.lua$" or path:find "/driver/"
    if is_scene and tree.read(path):find(span:match '^"[%w_]+"', 1, true) then return true end
  end
  return false
end

local function in_core(tree, span)
  for _, path in ipairs(tree.list "ecs") do
    if path:find "%.h$" and tree.read(path):find(span:match "^ecs_[%w_]+" .. "%f[^%w_]") then return true end
  end
  return false
end

--- Whether a test is in a file: by its title or how that begins (specs), by its name (C).
local function has_text(tree, path, text)
  local content = tree.read(path)
  if path:find "%.c$" and path:find "^tests/" then return content:find("RUN(" .. text .. ")", 1, true) ~= nil end
  if not path:find "_spec%.lua$" then return content:find(text, 1, true) ~= nil end
  for _, line in ipairs(lines_of(content)) do
    local title = line:match "%f[%w]it%s*%(?%s*(%b\"\")" or line:match "%f[%w]describe%s*%(?%s*(%b\"\")"
      or line:match "%f[%w]it%s*%(%s*(.*)"
    if title and title:find("%f[%w]" .. plain(text) .. "%f[%W]") then return true end
  end
  return false
end

local function is_path(span) return TOP[span:match "^(%w+)/" or ""] ~= nil end

--- Whether what a span names is there; nil when it names nothing that can be looked up.
---@return boolean?
function M.exists(tree, span)
  if span:find "^stator%.%a" then return in_api(tree, span) end
  if span:find "^stator %l" or span:find "^%-%-%l" then return in_usage(tree, span) end
  if RECEIVERS[span:match "^(%a+):%l" or ""] then return in_class(tree, span) end
  if span:find '^"[%w_]+"' then return in_scene(tree, span) end
  if span:find "^ecs_%l" then return in_core(tree, span) end
  if not is_path(span) then return nil end
  local path, text = span:match "^([^#]+)#(.+)$"
  path = path or span
  if tree.read(path) == nil then return false end
  return text == nil or has_text(tree, path, text)
end

-- ---- rows of spec.md --------------------------------------------------------------------------

local function is_test(path)
  return path:find "^tests/.*_spec%.lua" or path:find "^tests/.*/test_[%w_]+%.c"
    or path:find "^tests/fuzz/fuzz_[%w_]+%.c" or path:find "^tests/ecs/mutants%.lua"
end

--- Names of a text that can be looked up, each told when it is there and must not be, or the other way.
local function hold(tree, text, there, tell)
  local count = 0
  for _, span in ipairs(spans_of(text)) do
    local found = M.exists(tree, span)
    if found ~= nil then count = count + 1 end
    if found == not there then tell(span, found) end
  end
  return count
end

local function check_names(tree, row, tell)
  local state = row.state
  local function contradiction(span, found)
    tell(("is %s, and %s"):format(state, found and span .. " is there" or "there is no " .. span))
  end
  local count = hold(tree, row.name, state ~= "missing", contradiction)
  if state == "missing" then
    if count + hold(tree, row.where, false, contradiction) == 0 then
      tell "is missing, and nothing says by what that can be seen"
    end
  elseif state == "partial" then
    local absent = row.remark:match "[Nn]ot there: (.*)"
    if not absent then tell "is partial and does not say what is not there (Not there: ...)" end
    hold(tree, absent, false, contradiction)
  end
end

local function check_places(tree, row, tell)
  local function nothing(span) tell("there is no " .. span) end
  if row.where and row.state ~= "missing" and hold(tree, row.where, true, nothing) == 0 then
    tell "says not where it is"
  end
  if not row.tested then return end
  local tests = 0
  for _, span in ipairs(spans_of(row.tested)) do
    if is_test(span) then tests = tests + 1 else tell(span .. " is no test") end
  end
  hold(tree, row.tested, true, nothing)
  if tests == 0 and row.state ~= "missing" then tell "has no test" end
  if tests > 0 and row.state == "missing" then tell "is missing and has a test" end
end

--- What the bench prints: a pattern for the name of each row, the text of its file, and its target when the same
--- line says it. `%s` in a name stands for another text of the file, `%d` for a number.
local function bench_rows(tree)
  local list = {}
  for _, path in ipairs(BENCH) do
    local text = tree.read(path) or ""
    for _, line in ipairs(lines_of(text)) do
      local least, most = line:match 'target = "(>= [%d.]+x)"', line:match ", ([%d.]+)%)$"
      for name in line:gmatch '[%(=]%s*%(?"([^"]+)"' do
        local pattern = plain(name):gsub("%%%%s", "(.-)"):gsub("%%%%d", "%%d+")
        local target = least or most and ("<= %sx"):format(most)
        list[#list + 1] = { pattern = "^" .. pattern .. "$", text = text, target = target }
      end
    end
  end
  return list
end

--- The row that the bench prints under a name, or nil.
local function printed_row(printed, name)
  for _, prefix in ipairs(PREFIXES) do name = name:gsub("^" .. prefix, "") end
  for _, row in ipairs(printed) do
    local filled = name:match(row.pattern)
    if filled and (filled == name or row.text:find(('"%s"'):format(filled), 1, true)) then return row end
  end
end

--- `target`: what the document says of it, or nil.
local function check_measured(row, printed, target, tell)
  for _, span in ipairs(spans_of(row.measured)) do
    local found = printed_row(printed, span)
    if not found then
      tell(("the bench prints no row %q"):format(span))
    elseif target and found.target and found.target ~= target then
      tell(("%s: the bench holds it against %s, not %s"):format(span, found.target, target))
    end
  end
end

local function row_of(entry, columns)
  local function cell(name) return columns[name] and (entry.cells[columns[name]] or "") or nil end
  return {
    line = entry.line, name = entry.cells[1], state = cell "State", where = cell "Where", tested = cell "Tested by",
    measured = cell "Measured", target = cell "Target", remark = cell "Remark" or cell "Meaning" or "",
  }
end

--- A row with a state.
local function check_row(tree, row, printed, problem)
  local short = row.name:gsub("`", ""):sub(1, 50)
  local function tell(text) problem(row.line, ("%s: %s"):format(short, text)) end
  if not M.STATES[row.state] then
    return tell(("the state is %q; expected done, partial or missing"):format(row.state))
  end
  check_names(tree, row, tell)
  check_places(tree, row, tell)
  check_measured(row, printed, nil, tell)
end

--- One without: what it names is there.
local function check_plain(tree, row, entry, printed, problem)
  local function tell(text) problem(row.line, text) end
  for _, cell in ipairs(entry.cells) do
    hold(tree, cell, true, function(span) tell("there is no " .. span) end)
  end
  check_measured(row, printed, row.target, tell)
end

--- Notes the names of the API that a row lists.
local function note_names(row, listed)
  for _, span in ipairs(spans_of(row.name)) do
    local first, last = span:match "^stator%.([%w_]+)", span:match "^stator%.[%w_.]-([%w_]+)%f[^%w_.]"
    if first then listed[first], listed[last] = true, true end
  end
end

--- Everything that `require "stator"` gives stands in a table of the API.
local function check_complete(tree, listed, problem)
  local names = {}
  for name in pairs(parity.api(tree.read(INIT))) do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(names) do
    if not listed[name] then problem(1, ("the API has stator.%s, and no row of an API table names it"):format(name)) end
  end
end

local function check_table(tree, t, known, problem)
  for _, entry in ipairs(t.rows) do
    local row = row_of(entry, t.columns)
    local key = t.first .. "\0" .. row.name
    if row.state then
      check_row(tree, row, known.printed, problem)
    else
      check_plain(tree, row, entry, known.printed, problem)
    end
    if row.state and known.lines[key] then
      problem(row.line, ("%s is in line %d already"):format(row.name, known.lines[key]))
    end
    known.lines[key] = row.line
    if t.first == "API" then note_names(row, known.listed) end
  end
end

--- Problems of spec.md.
function M.spec(tree, problem)
  local known, has_status = { printed = bench_rows(tree), lines = {}, listed = {} }, false
  for _, t in ipairs(tables_of(tree.read(M.SPEC) or "")) do
    check_table(tree, t, known, problem)
    has_status = has_status or t.first == "Feature"
  end
  if not has_status then problem(1, 'there is no status table (first column "Feature")') end
  check_complete(tree, known.listed, problem)
end

-- ---- the other documents ----------------------------------------------------------------------

--- The part of architecture.md about a folder: what follows the heading that has it in backquotes.
local function section_of(text, folder)
  local parts, inside, first = {}, false, nil
  for i, line in ipairs(lines_of(text)) do
    if line:find "^#+ " then inside = line:find("`" .. folder .. "/`", 1, true) ~= nil end
    first = first or (inside and i or nil)
    parts[i] = inside and line or ""
  end
  return table.concat(parts, "\n"), first
end

local function check_named(path, folder, spans, problem)
  local inside = path:sub(#folder + 2)
  local stem = inside:gsub("%.%w+$", "")
  if not (spans[inside] or spans[stem]) then
    problem(1, ("%s is named neither here nor in %s/README.md"):format(path, folder))
  end
end

--- Every source file of the three folders is named in its section or in the README that is linked; no other is.
function M.files(tree, problem)
  local text = tree.read(M.ARCHITECTURE) or ""
  for _, folder in ipairs(FOLDERS) do
    local section, line = section_of(text, folder)
    if not line then problem(1, ("no heading names `%s/`"):format(folder)) end
    local linked = text:find("../" .. folder .. "/README.md", 1, true) and tree.read(folder .. "/README.md")
    local spans, files = {}, {}
    for _, span in ipairs(spans_of(section .. "\n" .. (linked or ""))) do spans[span] = true end
    for _, path in ipairs(tree.list(folder)) do
      if path:find "%.[chl]u?a?$" then
        check_named(path, folder, spans, problem)
        files[path:sub(#folder + 2)], files[path:sub(#folder + 2):gsub("%.%w+$", "")] = true, true
      end
    end
    for _, t in ipairs(tables_of(section)) do
      for _, row in ipairs(t.rows) do
        for _, span in ipairs(spans_of(row.cells[1])) do
          if not files[span] then problem(row.line, ("there is no %s/%s"):format(folder, span)) end
        end
      end
    end
  end
end

--- Every decision has its date, the newest last.
function M.dates(tree, problem)
  local last, before, begun = "", "", false
  for i, line in ipairs(lines_of(tree.read(M.DECISIONS) or "")) do
    begun = begun or line:find "^%*%*" ~= nil
    if begun and before == "" and line ~= "" then
      local date = line:match "^%*%*(%d%d%d%d%-%d%d%-%d%d) %S"
      if not date then
        problem(i, "a decision without a date: expected **YYYY-MM-DD What.**")
      elseif date < last then
        problem(i, ("%s stands after %s; the newest is last"):format(date, last))
      end
      last = date or last
    end
    before = line
  end
  if not begun then problem(1, "there is no decision") end
end

--- "docs/../ecs/README.md" to "ecs/README.md"
local function tidy_path(path)
  local count
  repeat path, count = path:gsub("[^/]+/%.%./", "", 1) until count == 0
  return path
end

--- The anchors of a text's headings, as those who show Markdown make them.
local function anchors_of(text)
  local anchors = {}
  for _, line in ipairs(lines_of(text)) do
    local title = line:match "^#+%s+(.*)"
    if title then anchors[title:lower():gsub("[^%w%s_-]", ""):gsub("%s", "-")] = true end
  end
  return anchors
end

--- A check of a document: its links lead somewhere in the tree, and paths in backquotes outside of tables exist.
local function pointers(file)
  return function(tree, problem)
    for i, line in ipairs(lines_of(tree.read(file) or "")) do
      for target in line:gmatch "%]%(([^)%s]+)%)" do
        local path, anchor = target:match "^([^#]*)#?(.*)$"
        local text = path == "" and tree.read(file) or tree.read(tidy_path((file:match "^.*/" or "") .. path))
        if not target:find "^https?:" and not (text and (anchor == "" or anchors_of(text)[anchor])) then
          problem(i, ("the link %s leads nowhere"):format(target))
        end
      end
      for _, span in ipairs(line:find "^|" and {} or spans_of(line)) do
        if span:find "^%w+/[%w_/]+%.%a+$" and is_path(span) and not M.exists(tree, span) then
          problem(i, "there is no " .. span)
        end
      end
    end
  end
end

-- ---- all --------------------------------------------------------------------------------------

M.CHECKS = {
  { M.SPEC, M.spec, pointers(M.SPEC) }, { M.ARCHITECTURE, M.files, pointers(M.ARCHITECTURE) },
  { M.PICKUP, pointers(M.PICKUP) }, { M.README, pointers(M.README) }, { M.DECISIONS, M.dates },
}

--- All problems, as "file:line: text".
---@param tree { read: fun(path: string): string?; list: fun(folder: string): string[] } paths from the root
function M.problems(tree)
  local list = {}
  for _, document in ipairs(M.CHECKS) do
    local file = document[1]
    local function problem(line, text) list[#list + 1] = ("%s:%d: %s"):format(file, line, text) end
    if tree.read(file) == nil then problem(1, "it is not there") end
    for i = 2, #document do document[i](tree, problem) end
  end
  return list
end

--- The tree below a folder.
function M.tree(root)
  local texts = {}
  local function read(path)
    if texts[path] == nil then
      local file = io.open(root .. "/" .. path, "rb")
      texts[path] = file and file:read "*a" or false
      if file then file:close() end
    end
    return texts[path] or nil
  end
  local function list(folder)
    local paths = {}
    local pipe = assert(io.popen(("cd '%s' && find '%s' -type f | LC_ALL=C sort"):format(root, folder)))
    for path in pipe:lines() do paths[#paths + 1] = path end
    pipe:close()
    return paths
  end
  return { read = read, list = list }
end

return M
