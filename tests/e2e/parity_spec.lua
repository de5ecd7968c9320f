-- Every snippet of docs/parity.md runs on the host as it stands there, and shows what stands beside it.
local parity = require "parity"
local support = require "support"

describe("docs/parity.md", function()
  after_each(support.finish)

  local text = support.read(support.root .. "/docs/parity.md")
  local doc = parity.parse(text)

  it("is whole", function()
    assert.same({}, parity.problems(text, parity.api(support.read(support.root .. "/lua/stator/init.lua"))))
  end)

  for _, row in ipairs(doc.rows) do
    local blocks = parity.blocks_of(doc, row.id)
    if #blocks > 0 then
      it(row.id .. " " .. row.name, function()
        local output, wrong = parity.run(blocks, support.folder(), support.binary, support)
        assert(#wrong == 0, ("%s\n--- the run:\n%s"):format(table.concat(wrong, "\n"), output))
      end)
    end
  end
end)
