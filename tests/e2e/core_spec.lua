-- The core on its own, as its README shows it.
local support = require "support"

describe("the core", function()
  it("is a C library: the program of its README builds and prints what it says", function()
    local readme = support.read(support.root .. "/ecs/README.md")
    local folder = support.folder()
    support.write(folder .. "/belt.c", readme:match "```c\n(.-)```")
    local build = readme:match "`cc (.-)` builds it"
    local said = support.shell(("cd %s && cc %s -o %s/belt 2>&1 && %s/belt"):format(support.root,
      build:gsub("belt%.c", folder .. "/belt.c"), folder, folder))
    assert.equal(readme:match "it prints `(.-)`", (said:gsub("%s+$", "")))
  end)
end)
