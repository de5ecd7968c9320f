-- The check of documents (tests/docs.lua) on documents that are broken in one place.
local support = require "support"
local docs = dofile(support.root .. "/tests/docs.lua")

local SOUND = [[
# Title
### Matrix A
| Requirement | Weight | one | two |
| --- | --- | --- | --- |
| R1 wait | 3 | 4 [E1] | 0 [E1 E2] |
| R2 stop | 2 | 2* [E2] | 1 [E3] |
| **Sum** | 5 | **16** | 2 |
### Figures
| Case | Evidence |
| --- | --- |
| it ends | seen [E3] |

## Evidence
- **E1** read there: https://example.org/file#L1
- **E2** a spec that shows it,
  in its second line: `./dev test tests/lua/there_spec.lua`
- **E3** `tests/bench/there.lua`
]]

local TREE = {
  exists = function(path) return path:find "there" ~= nil end,
  verb = function(name) return name == "test" end,
}
local DOCUMENT = { file = "docs/x.md", checks = { docs.evidence, docs.matrices, docs.figures } }

--- Problems of the sound text with one text in place of another.
local function problems(old, new)
  local from, to = SOUND:find(old or "", 1, true)
  return docs.problems(DOCUMENT, SOUND:sub(1, from - 1) .. (new or "") .. SOUND:sub(to + 1), TREE)
end

describe("the check of documents", function()
  it("finds nothing in a sound one", function() assert.same({}, problems()) end)

  it("fails on a score without evidence", function()
    assert.same({ "docs/x.md:5: one: the score 4 has no evidence" }, problems("4 [E1]", "4"))
    assert.same({ "docs/x.md:5: one: the score 4 has no evidence" }, problems("4 [E1]", "4 [see]"))
    assert.same({ "docs/x.md:6: one: the score 2 has no evidence" }, problems("2* [E2]", "2*"))
  end)

  it("fails on what is no score, a cell that is missing and a weight that is", function()
    assert.same({ 'docs/x.md:5: one: "5 [E1]" is no score of 0 to 4', "docs/x.md:7: one: the sum is 19" },
      problems("4 [E1]", "5 [E1]"))
    assert.same('docs/x.md:5: one: "good [E1]" is no score of 0 to 4', problems("4 [E1]", "good [E1]")[1])
    assert.same("docs/x.md:5: a solution has no score", problems(" | 0 [E1 E2]", "")[1])
    assert.same("docs/x.md:5: a requirement needs a weight", problems("| 3 |", "| much |")[1])
    assert.same("docs/x.md:3: the second column of a matrix is Weight", problems("| Weight |", "| one |")[1])
  end)

  it("fails on a sum that is wrong, and on one that is not there", function()
    assert.same({ "docs/x.md:7: one: the sum is 16" }, problems("**16**", "17"))
    assert.same({ "docs/x.md:7: Weight: the sum is 5" }, problems("**Sum** | 5", "**Sum** | 6"))
    assert.same({ "docs/x.md:3: a matrix ends in its sums" }, problems("| **Sum** | 5 | **16** | 2 |\n", ""))
  end)

  it("fails on a number without an entry, an entry twice and one that nothing cites", function()
    assert.same({ "docs/x.md:5: no entry of E9" }, problems("0 [E1 E2]", "0 [E1 E9]"))
    assert.same({ "docs/x.md:15: E1 is in line 14 already" }, problems("- **E2** a spec", "- **E1** `tests/there`\n- **E2** a spec"))
    assert.same({ "docs/x.md:18: nothing cites E4" }, problems("bench/there.lua`\n", "bench/there.lua`\n- **E4** `docs/there`\n"))
  end)

  it("fails on an entry without a link or a command", function()
    assert.same({ "docs/x.md:14: E1 has neither a link nor a command" },
      problems("https://example.org/file#L1", "somewhere in `its/sources`"))
    assert.same({ "docs/x.md:14: E1 has neither a link nor a command" }, problems("https://example.org/file#L1", "https://"))
  end)

  it("fails on a command whose file is not there, also in a line that goes on, and on one that ./dev does not know", function()
    assert.same({ "docs/x.md:15: E2: there is no tests/lua/gone_spec.lua" }, problems("lua/there_spec", "lua/gone_spec"))
    assert.same({ "docs/x.md:17: E3: there is no tests/bench/gone.lua" }, problems("bench/there", "bench/gone"))
    assert.same({ "docs/x.md:17: E3: there is no README.md" }, problems("tests/bench/there.lua", "README.md"))
    assert.same({ 'docs/x.md:15: E2: ./dev knows no "tset"' }, problems("./dev test", "./dev tset"))
  end)

  it("fails on a row of figures without evidence", function()
    assert.same({ "docs/x.md:11: a row of figures has no evidence" }, problems("it ends | seen [E3]", "it ends [E3] | seen"))
  end)

  it("knows this tree", function()
    local tree = docs.tree(support.root)
    assert.is_true(tree.exists "tests/docs.lua" and tree.exists "docs")
    assert.is_false(tree.exists "tests/gone.lua")
    assert.is_true(tree.verb "lint" and tree.verb "bench")
    assert.is_false(tree.verb "lin")
  end)
end)
