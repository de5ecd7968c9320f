-- Do docs/spec.md, docs/architecture.md and docs/decisions.md say what the tree has? Prints each problem as
-- file:line: text; exit code 1 when there is one. What is checked: tests/support/specification.lua.
package.path = "tests/support/?.lua;" .. package.path
local specification = require "specification"

local problems = specification.problems(specification.tree ".")
for _, problem in ipairs(problems) do print(problem) end
os.exit(#problems == 0 and 0 or 1)
