-- What documents promise of themselves, checked: one entry a document in DOCUMENTS, a list of checks that get its
-- lines. Run by ./dev lint. A check of a document that is not there yet is a problem too.
--
-- Evidence: entries `- **E12** text` below a heading "Evidence", each with a link or with a command or path in backquotes
-- that begins with `./dev`, a folder of this tree or README.md; cited as [E12] or [E3 E12].
-- Matrices: tables below a heading with "Matrix"; first column the requirement, second its weight, then one cell a
-- solution: a score of 0 to 4 and its evidence, `3 [E12]`; `3* [E12]` is in work. A last row "Sum" has the weighted sums.
-- Figures: a table with a column "Evidence" cites something in every row.
local M = {}

local FOLDERS = { docs = true, ecs = true, examples = true, host = true, lua = true, scripts = true, tests = true }
local FILES = { ["README.md"] = true, ["CHANGELOG.md"] = true }
local MAX_SCORE = 4

-- ---- reading ----------------------------------------------------------------------------------

local function cells_of(line)
  local cells = {}
  for cell in (line:match "^|(.*)|%s*$" or ""):gmatch "([^|]*)|?" do cells[#cells + 1] = cell:match "^%s*(.-)%s*$" end
  if cells[#cells] == "" then cells[#cells] = nil end
  return cells
end

--- All tables of a document: heading above it, names of columns, rows with `line` and `cells`.
local function tables_of(lines)
  local list, heading, current = {}, "", nil
  for i, line in ipairs(lines) do
    heading = line:match "^#+%s+(.*)" or heading
    if not line:find "^|" then
      current = nil
    elseif not current then
      current = { heading = heading, line = i, columns = cells_of(line), rows = {} }
      list[#list + 1] = current
    elseif not line:find "^|[%s:|-]+$" then
      current.rows[#current.rows + 1] = { line = i, cells = cells_of(line) }
    end
  end
  return list
end

--- Numbers cited in a text: those in brackets that hold nothing else.
local function cited(text)
  local list = {}
  for inside in text:gmatch "%[([E%d ,]+)%]" do
    for number in inside:gmatch "E(%d+)" do list[#list + 1] = number end
  end
  return list
end

--- Entries by number, and in order: `line`, `number`, `text` with the lines that go on.
local function evidence_of(lines)
  local by, list, inside, last = {}, {}, false, nil
  for i, line in ipairs(lines) do
    local heading = line:match "^#+%s+(.*)"
    if heading then inside, last = heading:find "^Evidence" ~= nil, nil end
    local number, text = line:match "^%- %*%*E(%d+)%*%* (.*)"
    if inside and number then
      last = { line = i, number = number, text = text, again = by[number] }
      list[#list + 1], by[number] = last, by[number] or last
    elseif last and line:find "^%s+%S" then
      last.text = last.text .. line
    else
      last = nil
    end
  end
  return by, list
end

-- ---- checks -----------------------------------------------------------------------------------

--- What a span in backquotes names in this tree: nothing when it is neither a command of ours nor a path.
local function names_of(span)
  local function is_path(word) return FILES[word] or FOLDERS[word:match "^([%w_]+)/" or ""] end
  local first = span:match "^%S+" or ""
  if first ~= "./dev" and not is_path(first) then return nil end
  local list = {}
  for word in span:gmatch "%S+" do
    if is_path(word) then list[#list + 1] = word end
  end
  return list, first == "./dev" and (span:match "^%S+%s+(%S+)" or "") or nil
end

local function check_names(entry, tree, problem)
  local any = false
  for span in entry.text:gmatch "`([^`]+)`" do
    local names, verb = names_of(span)
    any = any or names ~= nil
    if verb and not tree.verb(verb) then problem(entry.line, ("E%s: ./dev knows no %q"):format(entry.number, verb)) end
    for _, name in ipairs(names or {}) do
      if not tree.exists(name) then problem(entry.line, ("E%s: there is no %s"):format(entry.number, name)) end
    end
  end
  return any
end

--- Every entry has a link or a command, names what exists, and is cited; every citation has an entry.
function M.evidence(lines, problem, tree)
  local by, list = evidence_of(lines)
  local used = {}
  for i, line in ipairs(lines) do
    for _, number in ipairs(line:find "^%- %*%*E%d" and {} or cited(line)) do
      used[number] = true
      if not by[number] then problem(i, ("no entry of E%s"):format(number)) end
    end
  end
  for _, entry in ipairs(list) do
    if entry.again then problem(entry.line, ("E%s is in line %d already"):format(entry.number, entry.again.line)) end
    local named = check_names(entry, tree, problem)
    if not named and not entry.text:find "https://%S+%.%S+" then
      problem(entry.line, ("E%s has neither a link nor a command"):format(entry.number))
    end
    if not used[entry.number] then problem(entry.line, ("nothing cites E%s"):format(entry.number)) end
  end
end

local function check_row(row, matrix, sums, problem)
  local weight = tonumber(row.cells[2])
  if not weight then return problem(row.line, "a requirement needs a weight") end
  if #row.cells ~= #matrix.columns then problem(row.line, "a solution has no score") end
  sums[2] = (sums[2] or 0) + weight
  for i = 3, #row.cells do
    local score, rest = row.cells[i]:match "^(%d+)%*?(.*)$"
    if not score or tonumber(score) > MAX_SCORE then
      problem(row.line, ("%s: %q is no score of 0 to %d"):format(matrix.columns[i] or "?", row.cells[i], MAX_SCORE))
    elseif #cited(rest) == 0 then
      problem(row.line, ("%s: the score %s has no evidence"):format(matrix.columns[i] or "?", score))
    end
    sums[i] = (sums[i] or 0) + weight * (tonumber(score) or 0)
  end
end

--- Every score has its evidence, and the sums are right.
function M.matrices(lines, problem)
  for _, matrix in ipairs(tables_of(lines)) do
    if matrix.heading:find "Matrix" then
      local sums, total = {}, nil
      if matrix.columns[2] ~= "Weight" then problem(matrix.line, "the second column of a matrix is Weight") end
      for _, row in ipairs(matrix.rows) do
        if (row.cells[1] or ""):find "Sum" then total = row else check_row(row, matrix, sums, problem) end
      end
      if not total then problem(matrix.line, "a matrix ends in its sums") end
      for i = 2, total and #matrix.columns or 0 do
        local said = tonumber(((total.cells[i] or ""):gsub("%*", "")))
        if said ~= sums[i] then
          problem(total.line, ("%s: the sum is %s"):format(matrix.columns[i], tostring(sums[i])))
        end
      end
    end
  end
end

--- Every row of a table with a column "Evidence" cites something there.
function M.figures(lines, problem)
  for _, figures in ipairs(tables_of(lines)) do
    for i, name in ipairs(figures.columns) do
      for _, row in ipairs(name == "Evidence" and figures.rows or {}) do
        if #cited(row.cells[i] or "") == 0 then problem(row.line, "a row of figures has no evidence") end
      end
    end
  end
end

-- ---- documents --------------------------------------------------------------------------------

M.DOCUMENTS = {
  { file = "docs/research.md", checks = { M.evidence, M.matrices, M.figures } },
}

--- Problems of a text, as a list of "file:line: text". `tree` answers `exists(path)` and `verb(name)`.
function M.problems(document, text, tree)
  local lines, list = {}, {}
  for line in (text .. "\n"):gmatch "(.-)\n" do lines[#lines + 1] = line end
  local function problem(line, what) list[#list + 1] = ("%s:%d: %s"):format(document.file, line, what) end
  for _, check in ipairs(document.checks) do check(lines, problem, tree) end
  return list
end

local function read(path)
  local file = io.open(path)
  local text = file and file:read "*a"
  if file then file:close() end
  return text
end

--- The tree below a folder.
function M.tree(root)
  local dev = read(root .. "/dev") or ""
  return {
    exists = function(path) return os.rename(root .. "/" .. path, root .. "/" .. path) ~= nil end,
    verb = function(name) return ("\n" .. dev):find("\n" .. name .. ")", 1, true) ~= nil end,
  }
end

--- Prints all problems; whether there is none.
function M.run(root)
  local clean = true
  for _, document in ipairs(M.DOCUMENTS) do
    local text = read(root .. "/" .. document.file)
    local list = text and M.problems(document, text, M.tree(root)) or { document.file .. ":1: it is not there" }
    for _, line in ipairs(list) do print(line) end
    clean = clean and #list == 0
  end
  return clean
end

return M
