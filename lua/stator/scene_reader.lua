--- Reads nodes of a parsed scene file, and collects what is wrong with them: all at once, each problem
--- with its place. What reads a part of the scene gets the reader, and adds what it found to it.
local err = require "stator.err"

---@class stator.SceneReader
---@field shown string the file's name in messages
---@field problems table[] line, col, text, order
local Reader = {}
Reader.__index = Reader

local M = { Reader = Reader }

--- Notes a problem at a node. `at_key`: the member's name is what is wrong.
function Reader:problem(node, path, text, at_key)
  if node.broken then return end -- told already
  local line, col = node.line, node.col
  if at_key and node.key_line then line, col = node.key_line, node.key_col end
  table.insert(self.problems, { line = line, col = col, text = ("%s:%d:%d: %s: %s"):format(
    self.shown, line, col, path == "" and "scene" or path, text), order = #self.problems })
end

--- For a problem that has its own place.
function Reader:problem_text(text)
  table.insert(self.problems, { line = math.huge, col = 0, text = text, order = #self.problems })
end

--- All problems as lines, in the order of the file.
function Reader:report()
  table.sort(self.problems, function(a, b)
    if a.line ~= b.line then return a.line < b.line end
    if a.col ~= b.col then return a.col < b.col end
    return a.order < b.order
  end)
  local lines = {}
  for _, p in ipairs(self.problems) do lines[#lines + 1] = p.text end
  return lines
end

-- ---- reading nodes --------------------------------------------------------------------------

local ARTICLE = {
  object = "an object", array = "a list", string = "text", number = "a number", bool = "true or false", null = "null",
}

--- A node's value as a message shows it.
local function found(node)
  if node.type == "string" then return ('"%s"'):format(node.value) end
  if node.type == "number" then return ("%.14g"):format(node.value) end
  if node.type == "bool" then return tostring(node.value) end
  return ARTICLE[node.type]
end

--- The path of a member or of an element, which are counted from 0.
local function join(path, key)
  if type(key) == "number" then return ("%s[%d]"):format(path, key) end
  return path == "" and key or path .. "." .. key
end

--- The member of an object, or nil.
local function member(node, key)
  for _, child in ipairs(node) do
    if child.key == key then return child end
  end
end

--- Checks the type; notes a problem and answers false when it is another.
function Reader:expect(node, path, type_name)
  if node.type == type_name then return true end
  self:problem(node, path, ("expected %s, got %s"):format(ARTICLE[type_name], found(node)))
  return false
end

--- Checks an object and that it has only known members.
function Reader:expect_object(node, path, known)
  if not self:expect(node, path, "object") then return false end
  for _, child in ipairs(node) do
    local ok = false
    for _, key in ipairs(known) do ok = ok or key == child.key end
    if not ok then
      self:problem(child, join(path, child.key), ("unknown member%s"):format(err.nearest(child.key, known)), true)
    end
  end
  return true
end

--- A number from low to high; `otherwise` when the node is left out or wrong.
function Reader:number(node, path, low, high, otherwise)
  if not node then return otherwise end
  if not self:expect(node, path, "number") then return otherwise end
  if node.value < low or node.value > high then
    self:problem(node, path, ("expected %g to %g, got %g"):format(low, high, node.value))
    return otherwise
  end
  return node.value
end

--- A node, or nil when it is left out, as true or false.
function Reader:boolean(node, path, otherwise)
  if not node or not self:expect(node, path, "bool") then return otherwise end
  return node.value
end

--- As number, but a whole one.
function Reader:whole(node, path, low, high, otherwise)
  local value = self:number(node, path, low, high, otherwise)
  if value % 1 == 0 then return value end
  self:problem(node, path, ("expected a whole number, got %g"):format(value))
  return otherwise
end

--- One of the texts.
function Reader:choice(node, path, choices, otherwise)
  if not node then return otherwise end
  if not self:expect(node, path, "string") then return otherwise end
  for _, choice in ipairs(choices) do
    if node.value == choice then return choice end
  end
  self:problem(node, path, ('expected one of "%s", got "%s"%s'):format(table.concat(choices, '", "'), node.value,
    err.nearest(node.value, choices)))
  return otherwise
end

--- Values that parameters may have: numbers, texts, booleans; by name.
---@return table
function Reader:plain_values(node, path)
  local out = {}
  if not node or not self:expect(node, path, "object") then return out end
  for _, child in ipairs(node) do
    if child.type == "number" or child.type == "string" or child.type == "bool" then
      out[child.key] = child.value
    else
      self:problem(child, join(path, child.key), "expected a number, text, true or false, got " .. found(child))
    end
  end
  return out
end

M.found, M.join, M.member = found, join, member

return M
