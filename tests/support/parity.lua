--- Reads docs/parity.md: rows, their states, snippets and expectations. What is wrong with them, and how to run them.
local M = {}

M.groups = { A = 10, B = 18, C = 6, D = 9, E = 16 } -- capabilities of each group, numbered from 1
M.group_names = { "A", "B", "C", "D", "E" }
M.states = { "done", "partial", "missing" }

local DEFAULT_TICKS, TIMEOUT_S = 200, 30
local DEFAULT_SCENE = '{ "name": "parity", "scripts": [ "main.lua" ], "entities": [ { "name": "cell" } ] }\n'
local EXPECT = { lua = "^%s*%-%- expect: (.+)$", sh = "^%s*# expect: (.+)$" }

local function lines_of(text)
  local list = {}
  for line in (text:gsub("\n$", "") .. "\n"):gmatch("(.-)\n") do list[#list + 1] = line end
  return list
end

local function member(list, value)
  for _, v in ipairs(list) do
    if v == value then return true end
  end
  return false
end

--- "lua parity=A3 ticks=50" to { language = "lua", parity = "A3", ticks = "50" }
local function read_info(info)
  local block = { language = info:match "^%S*" }
  for key, value in info:gmatch "(%w+)=(%S+)" do block[key] = value end
  return block
end

--- "8 done, 2 partial" to { done = 8, partial = 2 }
local function read_counts(text, line)
  local counts = { line = line }
  for count, state in text:gmatch "(%d+) (%a+)" do counts[state] = tonumber(count) end
  return counts
end

local function expectations(block)
  local list, pattern = {}, EXPECT[block.language]
  for _, line in ipairs(lines_of(block.text)) do
    local wanted = block.language == "text" and line:match "%S" and line or pattern and line:match(pattern)
    if wanted then list[#list + 1] = wanted end
  end
  return list
end

--- The rows of a document in their order, its fenced blocks that name an id, and the counts its summary states.
---@param text string
---@return { rows: table[], blocks: table[], summary: table<string, table> }
function M.parse(text)
  local doc, row, block, body = { rows = {}, blocks = {}, summary = {} }, nil, nil, nil
  for number, line in ipairs(lines_of(text)) do
    if block then
      if line:find "^```%s*$" then
        block.text = table.concat(body, "\n") .. "\n"
        block.expect = expectations(block)
        if block.parity then doc.blocks[#doc.blocks + 1] = block end
        block = nil
      else
        body[#body + 1] = line
      end
    elseif line:find "^```" then
      block, body = read_info(line:sub(4)), {}
      block.line, block.under = number, row and row.id
    elseif line:find "^###%s" then
      local id, name, state = line:match "^### (%u%d+) (.-): (%S+)$"
      row = { id = id, name = name, state = state, line = number, prose = {} }
      doc.rows[#doc.rows + 1] = row
    elseif line:find "^##?%s" then
      row = nil
      local group, counts = line:match "^## (%u)%. .-: (.+)$"
      if group then doc.summary[group] = read_counts(counts, number) end
    elseif line:find "^Of %d+: " then
      doc.summary.all = read_counts(line, number)
    elseif row then
      row.prose[#row.prose + 1] = line
    end
  end
  return doc
end

--- The names of the table that `require "stator"` gives, read from the text of lua/stator/init.lua.
---@param text string
---@return table<string, boolean>
function M.api(text)
  local names = {}
  for name in (text:match "\nlocal stator = (%b{})" or ""):gmatch "([%a_][%w_]*)%s*=" do names[name] = true end
  return names
end

local function blocks_of(doc, id)
  local list = {}
  for _, block in ipairs(doc.blocks) do
    if block.parity == id then list[#list + 1] = block end
  end
  return list
end

local function is_program(block) return (block.language == "lua" and not block.file) or block.language == "sh" end

local function check_ids(doc, problem)
  local seen = {}
  for _, row in ipairs(doc.rows) do
    local group, number = (row.id or ""):match "^(%u)(%d+)$"
    local last = M.groups[group]
    if not last or tonumber(number) < 1 or tonumber(number) > last or row.id ~= group .. tonumber(number) then
      problem(row.line, 'expected "### ID name: state" with an id of the list, got another heading')
    elseif seen[row.id] then
      problem(row.line, ("%s is in line %d already"):format(row.id, seen[row.id]))
    else
      seen[row.id] = row.line
    end
  end
  for _, group in ipairs(M.group_names) do
    for number = 1, M.groups[group] do
      if not seen[group .. number] then problem(1, ("no row of %s%d"):format(group, number)) end
    end
  end
  for _, block in ipairs(doc.blocks) do
    if block.under ~= block.parity then
      problem(block.line, ("a block of %s stands under %s"):format(block.parity, block.under or "no row"))
    end
  end
end

local function check_snippets(doc, row, problem)
  local programs, wanted, blocks = 0, 0, blocks_of(doc, row.id)
  for _, block in ipairs(blocks) do
    if is_program(block) then programs = programs + 1 end
    wanted = wanted + #block.expect
  end
  if row.state == "missing" then
    if #blocks > 0 then problem(row.line, row.id .. " is missing and has a snippet all the same") end
  elseif programs == 0 then
    problem(row.line, ("%s is %s and has no snippet"):format(row.id, row.state))
  elseif wanted == 0 then
    problem(row.line, row.id .. " has a snippet without an expectation")
  end
end

--- What a row says against what the code has: a missing row may not name what is there, any other names nothing else.
local function check_names(doc, row, api, problem)
  local texts = { table.concat(row.prose, "\n") }
  for _, block in ipairs(blocks_of(doc, row.id)) do texts[#texts + 1] = block.text end
  for name in table.concat(texts, "\n"):gmatch "stator%.([%a_][%w_]*)" do
    if row.state == "missing" and api[name] then
      problem(row.line, ("%s is missing, and stator.%s is there"):format(row.id, name))
    elseif row.state ~= "missing" and not api[name] then
      problem(row.line, ("%s is %s, and there is no stator.%s"):format(row.id, row.state, name))
    end
  end
end

local function check_prose(row, problem)
  local prose = "\n" .. table.concat(row.prose, "\n")
  local lacks = prose:find("Not there:", 1, true) ~= nil
  if row.state == "done" and lacks then problem(row.line, row.id .. " is done and says what is not there") end
  if row.state ~= "done" and not lacks then
    problem(row.line, ("%s is %s and does not say what is not there (Not there: ...)"):format(row.id, row.state))
  end
  if row.state ~= "missing" and not prose:find("\n- Better:", 1, true) and not prose:find("\n- Different:", 1, true) then
    problem(row.line, row.id .. " says neither what is better nor what is different")
  end
end

local function check_summary(doc, problem)
  local counts = { all = {} }
  for _, group in ipairs(M.group_names) do counts[group] = {} end
  for _, row in ipairs(doc.rows) do
    for _, key in ipairs { (row.id or ""):sub(1, 1), "all" } do
      local of = counts[key]
      if of and row.state then of[row.state] = (of[row.state] or 0) + 1 end
    end
  end
  for _, key in ipairs { "all", unpack(M.group_names) } do
    local stated = doc.summary[key]
    local name, form = "group " .. key, ('"## %s. name: N done, N partial, N missing"'):format(key)
    if key == "all" then name, form = "the summary", '"Of N: N done, N partial, N missing."' end
    if not stated then problem(1, "there is no line " .. form) end
    for _, state in ipairs(stated and M.states or {}) do
      local is = counts[key][state] or 0
      if (stated[state] or 0) ~= is then
        problem(stated.line, ("%s states %d %s, there are %d"):format(name, stated[state] or 0, state, is))
      end
    end
  end
end

--- All that is wrong with a document, as { line, text }, in the order of the checks.
---@param text string the document
---@param api table<string, boolean> of M.api
---@return { line: integer, text: string }[]
function M.problems(text, api)
  local doc, list = M.parse(text), {}
  local function problem(line, what) list[#list + 1] = { line = line, text = what } end
  check_ids(doc, problem)
  for _, row in ipairs(doc.rows) do
    if row.id and not member(M.states, row.state) then
      problem(row.line, ("%s: the state is %s; expected done, partial or missing"):format(row.id, row.state))
    elseif row.id then
      check_snippets(doc, row, problem)
      check_names(doc, row, api, problem)
      check_prose(row, problem)
    end
  end
  check_summary(doc, problem)
  return list
end

-- ---- running ----------------------------------------------------------------------------------

--- "..." stands for anything, the rest for itself.
local function to_pattern(wanted)
  return (wanted:gsub("%.%.%.", "\1"):gsub("[%^%$%(%)%%%.%[%]%*%+%-%?]", "%%%0"):gsub("\1", ".-"))
end

--- What of the expectations a run did not show, in their order, and warnings and errors that nobody expected. Those of
--- the watchdog count for nothing: a slow machine has them.
---@param expect string[]
---@param output string
---@return string[]
function M.judge(expect, output)
  local wrong, at, taken, list = {}, 1, {}, lines_of(output)
  for _, wanted in ipairs(expect) do
    local found
    for i = at, #list do
      if list[i]:find(to_pattern(wanted)) then found = i break end
    end
    if found then taken[found], at = true, found + 1 else wrong[#wrong + 1] = "not seen: " .. wanted end
  end
  for i, line in ipairs(list) do
    local level = line:match "^%S+ (%a+) "
    local told = (level == "error" or level == "warn") and not line:find(" warn  watchdog: ", 1, true)
    if told and not taken[i] then wrong[#wrong + 1] = "not expected: " .. line end
  end
  return wrong
end

--- Runs the blocks of one row in a folder.
---@param row_blocks table[]
---@param folder string empty, absolute
---@param binary string the host
---@param support { write: function, shell: function }
---@return string output, string[] wrong what is not as the row says; empty: all is
function M.run(row_blocks, folder, binary, support)
  local scene, command, expect, exit = DEFAULT_SCENE, nil, {}, 0
  for _, block in ipairs(row_blocks) do
    for _, wanted in ipairs(block.expect) do expect[#expect + 1] = wanted end
    exit = tonumber(block.exit) or exit
    if block.file then
      support.write(folder .. "/" .. block.file, block.text)
    elseif block.language == "lua" then
      support.write(folder .. "/main.lua", block.text)
      command = command or ("stator run %s --ticks %s scene.json"):format(block.time == "real" and "" or "--virtual",
        block.ticks or DEFAULT_TICKS)
    elseif block.language == "json" then
      scene = block.text
    elseif block.language == "sh" then
      support.write(folder .. "/run.sh", block.text)
      command = "sh -eu run.sh"
    end
  end
  support.write(folder .. "/scene.json", scene)
  local output, code = support.shell(("cd %s && PATH=%s:$PATH timeout -k 5 %d %s 2>&1 < /dev/null"):format(folder,
    binary:match "^(.*)/" or ".", TIMEOUT_S, command))
  local wrong = M.judge(expect, output)
  if code ~= exit then table.insert(wrong, 1, ("exit code %d, not %d"):format(code, exit)) end
  return output, wrong
end

--- The blocks of a row of the document, in their order.
M.blocks_of = blocks_of

return M
