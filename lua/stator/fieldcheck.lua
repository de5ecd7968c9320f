--- Checks the field names that a script's text writes next to a component, when it is loaded:
--- `cmd:set(e, Motor, { sped = 1 })`, `Motor { sped = 1 }`, `e:when(Motor, { sped = 1 })`. What stands
--- on a path that seldom runs is found at once, and recording need not count keys every time.
local err = require "stator.err"
local registry = require "stator.registry"

local M = { sources = {} }

--- Notes a text for the check: what was loaded, and under which name it is shown.
function M.add(shown, text)
  table.insert(M.sources, { shown = shown, text = text })
end

local function skip_long(text, at)
  local level = text:match("^%[(=*)%[", at)
  if not level then return end
  local _, last = text:find("]" .. level .. "]", at, true)
  return (last or #text) + 1
end

local function skip_quoted(text, at)
  local quote, i = text:sub(at, at), at + 1
  while i <= #text do
    local c = text:sub(i, i)
    if c == "\\" then i = i + 1 elseif c == quote or c == "\n" then break end
    i = i + 1
  end
  return i + 1
end

--- Tokens as { text, line }: names, quoted strings, and single marks; numbers count as marks.
local function tokens_of(text)
  local list, at, line = {}, 1, 1
  local function take(stop, keep)
    local token = text:sub(at, stop - 1)
    if keep then list[#list + 1] = { text = token, line = line } end
    for _ in token:gmatch("\n") do line = line + 1 end
    at = stop
  end
  while at <= #text do
    if text:find("^%-%-", at) then
      take(skip_long(text, at + 2) or text:find("\n", at, true) or #text + 1, false)
    elseif text:find("^[\"']", at) then
      take(skip_quoted(text, at), true)
    elseif text:find("^%[=*%[", at) then
      take(skip_long(text, at), true)
    elseif text:find("^[%a_]", at) then
      take(select(2, text:find("^[%w_]+", at)) + 1, true)
    elseif text:find("^%s", at) then
      take(select(2, text:find("^%s+", at)) + 1, false)
    else
      take(at + (text:find("^[=~<>]=", at) and 2 or 1), true)
    end
  end
  return list
end

--- Names bound by `local Motor = stator.component("Motor", ...)`.
local function bindings(tokens)
  local bound = {}
  for i = 1, #tokens - 5 do
    if tokens[i].text == "component" and tokens[i - 4] and tokens[i - 3].text == "=" then
      local at = tokens[i + 1].text == "(" and i + 2 or i + 1
      bound[tokens[i - 4].text] = registry.components[tokens[at].text:match("^[\"'](.*)[\"']$") or ""]
    end
  end
  return bound
end

--- Whether a table that begins at `i` holds fields of the component named before it.
local function holds_fields(tokens, i)
  if tokens[i - 1].text ~= "," then return true end -- Motor { ... }
  local before = tokens[i - 3] and tokens[i - 3].text
  if before == "," then return true end -- cmd:set(e, Motor, { ... })
  local method = tokens[i - 4] and tokens[i - 4].text
  return before == "(" and (method == "when" or method == "rising" or method == "falling")
end

local function check_table(source, tokens, i, component, problems)
  local depth = 0
  repeat
    local t = tokens[i].text
    if t == "{" or t == "(" or t == "[" then depth = depth + 1 end
    if t == "}" or t == ")" or t == "]" then depth = depth - 1 end
    local starts = tokens[i - 1].text == "{" or tokens[i - 1].text == "," or tokens[i - 1].text == ";"
    if depth == 1 and starts and tokens[i + 1] and tokens[i + 1].text == "=" and t:find("^[%a_]")
      and not component.by_name[t] then
      problems[#problems + 1] = ('%s:%d: %s has no field "%s"%s'):format(source.shown, tokens[i].line,
        component.name, t, err.nearest(t, component.field_names))
    end
    i = i + 1
  until depth == 0 or i > #tokens
end

--- Problems of all texts, after the components are laid out.
---@return string[]
function M.run()
  local problems = {}
  for _, source in ipairs(M.sources) do
    local tokens = tokens_of(source.text)
    local bound = bindings(tokens)
    for i = 2, #tokens do
      local name = tokens[i].text == "{" and (tokens[i - 1].text == "," and tokens[i - 2] or tokens[i - 1])
      local component = name and bound[name.text]
      if component and component.by_name and holds_fields(tokens, i) then
        check_table(source, tokens, i, component, problems)
      end
    end
  end
  return problems
end

return M
