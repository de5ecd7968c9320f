-- Is docs/parity.md whole, and does it say what the code has? Prints each problem as file:line: text; exit code 1 when
-- there is one. The snippets themselves are run by tests/e2e/parity_spec.lua.
package.path = "tests/support/?.lua;" .. package.path
local parity = require "parity"

local FILE = "docs/parity.md"

local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read("*a")
  file:close()
  return text
end

local problems = parity.problems(read(FILE), parity.api(read "lua/stator/init.lua"))
for _, problem in ipairs(problems) do print(("%s:%d: %s"):format(FILE, problem.line, problem.text)) end
os.exit(#problems == 0 and 0 or 1)
