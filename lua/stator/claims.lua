--- What the checks of scripts need to know of a text, read where it is compiled (stator.compile). Plain data,
--- so it may come from another thread; stator.fieldcheck, machine_checks and explain check it against what is
--- declared, which is known later. Needs nothing of the host.
local M = {}

-- ---- fields next to a component ----------------------------------------------------------------

local CLOSES = { ["("] = ")", ["{"] = "}", ["["] = "]" }

--- Where what opens at `i` closes; behind the list when it does not.
local function closing(list, i)
  local opens, depth = list[i].text, 0
  repeat
    local t = list[i].text
    depth = depth + (t == opens and 1 or t == CLOSES[opens] and -1 or 0)
    i = i + 1
  until depth == 0 or i > #list
  return i - 1
end

--- Names of `local A, B =`, in order, when its "=" is at `i`.
local function names_before(list, i)
  local names = {}
  repeat
    table.insert(names, 1, list[i - 1].text)
    i = i - 2
  until i < 2 or list[i].text ~= ","
  return names
end

--- Notes the components of `= stator.component("A", ...), stator.component("B", ...)`, from `i` on.
local function bind(bound, names, list, i)
  for _, name in ipairs(names) do
    if not (list[i + 4] and list[i + 2].text == "component") then return end
    local call = list[i + 3].text == "("
    local text = list[call and i + 4 or i + 3].text
    bound[name] = text:match("^[\"'](.*)[\"']$")
    i = (call and closing(list, i + 3) or i + 3) + 1
    if not (list[i] and list[i].text == ",") then return end
    i = i + 1
  end
end

--- Takes the names out of `bound` that something else has as well: a parameter, or another local.
local function leave_out_others(bound, list)
  for i = 2, #list do
    local before, opens = list[i - 1].text, list[i].text == "("
    if opens and (before == "function" or list[i - 2] and list[i - 2].text == "function") then
      for k = i + 1, closing(list, i) do bound[list[k].text] = nil end
    elseif before == "local" or before == "for" then
      local last = i
      while list[last + 1] and list[last + 1].text == "," do last = last + 2 end
      local declares = list[last + 4] and list[last + 1].text == "=" and list[last + 4].text == "component"
      for k = i, last do bound[list[k].text] = declares and bound[list[k].text] or nil end
    end
  end
end

--- Names bound by `local Motor = stator.component("Motor", ...)`.
local function bindings(list)
  local bound = {}
  for i = 2, #list - 3 do
    if list[i].text == "=" then bind(bound, names_before(list, i), list, i + 1) end
  end
  leave_out_others(bound, list)
  return bound
end

local OPENS = { [")"] = "(", ["}"] = "{", ["]"] = "[" }

--- Where the call begins of which the token at `i` is an argument, and the argument's number; nil when it is none.
local function call_of(list, i)
  local depth, number = 0, 1
  for k = i - 1, 1, -1 do
    local t = list[k].text
    if depth == 0 and CLOSES[t] then return t == "(" and k or nil, number end
    depth = depth + (OPENS[t] and 1 or CLOSES[t] and -1 or 0)
    if depth == 0 and t == "," then number = number + 1 end
  end
end

-- which argument the component is, before the fields
local OF_CMD = { set = 2, insert = 2, add = 2, set_many = 2 }
local OF_ENTITY = { when = 1, rising = 1, falling = 1 }

--- Whether the component named before the table that begins at `i` is what the table's fields are of.
local function holds_fields(list, i)
  local named = list[i - 1].text == "," and i - 2 or i - 1
  local before = list[named - 1] and list[named - 1].text
  if named == i - 1 then return before ~= "." and before ~= ":" end -- Motor { ... }
  if before ~= "(" and before ~= "," then return false end
  local call, number = call_of(list, named)
  if not call or call < 4 or list[call - 2].text ~= ":" then return false end
  local method, receiver = list[call - 1].text, list[call - 3].text
  return OF_ENTITY[method] == number or receiver == "cmd" and OF_CMD[method] == number
end

--- Notes the fields of the table that begins at `i`.
local function note_fields(list, i, component, fields)
  local depth = 0
  repeat
    local t = list[i].text
    if t == "{" or t == "(" or t == "[" then depth = depth + 1 end
    if t == "}" or t == ")" or t == "]" then depth = depth - 1 end
    local starts = list[i - 1].text == "{" or list[i - 1].text == "," or list[i - 1].text == ";"
    if depth == 1 and starts and list[i + 1] and list[i + 1].text == "=" and t:find("^[%a_]") then
      fields[#fields + 1], fields[#fields + 2], fields[#fields + 3] = component, t, list[i].line
    end
    i = i + 1
  until depth == 0 or i > #list
end

--- Fields that are written next to a component: its name, the field, the line, and so on.
local function fields_of(list)
  local fields, bound = {}, bindings(list)
  for i = 2, #list do
    local name = list[i].text == "{" and (list[i - 1].text == "," and list[i - 2] or list[i - 1])
    local component = name and bound[name.text]
    if component and holds_fields(list, i) then note_fields(list, i, component, fields) end
  end
  return fields
end

-- ---- names that functions return ---------------------------------------------------------------

local STARTS = { ["function"] = true, ["if"] = true, ["do"] = true, ["repeat"] = true }
local ENDS = { ["end"] = true, ["until"] = true }
local AFTER = { ["end"] = true, ["else"] = true, ["elseif"] = true, ["until"] = true, [","] = true, [";"] = true,
  ["or"] = true }
local BEFORE = { ["return"] = true, ["and"] = true, ["or"] = true }

--- Notes the function whose word stands at `i`, then those inside of it. Its names are the texts that it
--- returns first: `return "a"`, `return x and "a" or "b"`.
local function note_function(list, i, functions)
  local key = i > 2 and list[i - 1].text == "=" and list[i - 2].text or nil
  local fn = { line = list[i].line, key = key, first = i, names = {} }
  functions[#functions + 1] = fn
  local k, depth, inner, in_return = i + 1, 1, 0, false
  while list[k] and depth > 0 do
    local text = list[k].text
    if text == "function" then
      k = note_function(list, k, functions)
    elseif STARTS[text] then
      depth = depth + 1
    elseif ENDS[text] then
      depth = depth - 1
    end
    if text == "return" then
      in_return, inner = true, 0
    elseif text == "(" or text == "{" or text == "[" then
      inner = inner + 1
    elseif text == ")" or text == "}" or text == "]" then
      inner = inner - 1
    elseif ENDS[text] or text == "else" or text == "elseif" or text == ";" or (text == "," and inner == 0) then
      in_return = false
    end
    local name = in_return and inner == 0 and text:match "^[\"']([%w_%-%.]*)[\"']$"
    if name and BEFORE[list[k - 1].text] and list[k + 1] and AFTER[list[k + 1].text] then
      fn.names[#fn.names + 1], fn.names[#fn.names + 2] = name, list[k].line
    end
    k = k + 1
  end
  fn.last = k - 1
  return fn.last
end

--- The functions that return names, and those that begin in a line with one of these: which is meant is known
--- by the line alone.
local function functions_of(list)
  local functions, named, kept = {}, {}, {}
  local i = 1
  while i <= #list do
    if list[i].text == "function" then i = note_function(list, i, functions) end
    i = i + 1
  end
  for _, fn in ipairs(functions) do named[fn.line] = named[fn.line] or #fn.names > 0 end
  for _, fn in ipairs(functions) do
    if named[fn.line] then kept[#kept + 1] = fn end
  end
  return kept
end

-- ---- boxes ------------------------------------------------------------------------------------

--- The boxes of a loop `for first, last, pose, vel in q:chunks() do` at i, and where its body begins; nil:
--- it is another loop.
local function boxes_of(list, i)
  if list[i].text ~= "for" or not list[i + 4] or list[i + 2].text ~= "," then return end
  local boxes, k = {}, i + 4
  while list[k] and list[k].text == "," do
    boxes[list[k + 1].text] = true
    k = k + 2
  end
  if not (list[k] and list[k].text == "in") then return end
  while list[k] and list[k].text ~= "do" do
    if list[k].text == "chunks" then boxes.found = true end
    k = k + 1
  end
  if boxes.found and list[k] then return boxes, k end
end

--- Counts `box[row]` in the body that begins at `from`: where one is indexed a second time.
local function note_body(list, from, boxes, doubled)
  local depth, seen = 1, {}
  local k = from + 1
  while list[k] and depth > 0 do
    local text = list[k].text
    if text == "for" or text == "while" then seen = {} end -- the rows of another loop
    if STARTS[text] then depth = depth + 1 elseif ENDS[text] then depth = depth - 1 end
    local is_box = boxes[text] and list[k + 3] and list[k + 1].text == "[" and list[k + 3].text == "]"
      and list[k - 1].text ~= "."
    if is_box then
      local row = ("%s[%s]"):format(text, list[k + 2].text)
      seen[row] = (seen[row] or 0) + 1
      if seen[row] == 2 then
        doubled[#doubled + 1], doubled[#doubled + 2] = row, list[k].line
      end
    end
    k = k + 1
  end
end

local function doubled_of(list)
  local doubled = {}
  for i = 1, #list do
    local boxes, body = boxes_of(list, i)
    if boxes then note_body(list, body, boxes, doubled) end
  end
  return doubled
end

---@class (exact) stator.Claims
---@field fields (string|integer)[] written next to a component: name of the component, field, line, and so on
---@field functions { line: integer, key: string?, first: integer, last: integer, names: (string|integer)[] }[] in
---  the order of their first tokens: those that return names of states, perhaps; names: name, line, and so on
---@field doubled (string|integer)[] boxes that are indexed twice for a row: `pose[i]`, line, and so on

---@param list table[] tokens of a text that compiles
---@return stator.Claims
function M.of(list)
  return { fields = fields_of(list), functions = functions_of(list), doubled = doubled_of(list) }
end

return M
