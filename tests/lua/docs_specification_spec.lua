-- The check of docs/spec.md, architecture.md and decisions.md, on trees that are wrong in one place.
local specification = require "specification"
local support = require "support"

local SPEC = [[
# Specification

| API | Meaning | State |
| --- | --- | --- |
| `stator.sleep(s)`, `stator.net.connect(host)`, `stator.net.listen(o)` | waits | done |
| `stator.log.info(text)`, `stator.log.warn`, `cmd:set(e, C, v)`, `conn:read(n)` | more | done |
| `stator.page(address)` | shows it | missing |
| `stator run SCENE`, `--virtual`, `--drop`, `stator ctl SOCKET tasks` | runs | done |
| `stator new DIR`, `--page`, `stator ctl SOCKET set` | makes one | missing |
| `"limits"` of a scene | bounds | done |
| `"prefabs"` of a scene | not there | missing |

| Invariant | Where |
| --- | --- |
| A bound of 64 | `host/queue.h#QUEUE_MAX = 64` |

| Measured | Target |
| --- | --- |
| `one sleep` | <= 1.5x |
| `many sleeps` | >= 0.8x |
| `core: sleep at last` | <= 2x |

| Feature | Where | Tested by | Measured | State | Remark |
| --- | --- | --- | --- | --- | --- |
| sleeping | `host/sleep.c` | `tests/lua/sleep_spec.lua#S1`, `tests/ecs/test_sleep.c#it_sleeps` | `one sleep`, `core: spawn 7 at once` | done | |
| snapshots, `ecs_save` | `ecs/save.c` | `tests/lua/sleep_spec.lua#wakes` | - | partial | Not there: `stator.save` |
| the page | `host/page.c` | - | - | missing | later |
]]

local ARCHITECTURE = [[
# Architecture
## The files of `ecs/`
| File | What |
| --- | --- |
| `save` | saves |
## The files of `host/`
See [host](../host/README.md).
| File | What |
| --- | --- |
| `sleep`, `main.c` | sleeps |
## The files of `lua/stator/`
| File | What |
| --- | --- |
| `init`, `net`, `command`, `scene_limits` | all |
]]

local DECISIONS = "# Decisions\n\nNewest last.\n\n**2026-01-02 One.** Why.\nStill why.\n\n**2026-01-02 Two.** Why.\n\n**2026-02-01 Three,** why.\n"

local PICKUP = "# Go on\n## What is half done\nSee [the rows](spec.md), [this](#what-is-half-done), `host/sleep.c`, [there](https://example.org/x).\n"

local FILES = {
  ["docs/pickup.md"] = PICKUP, ["README.md"] = "[go on](docs/pickup.md#what-is-half-done)\n",
  ["docs/spec.md"] = SPEC, ["docs/architecture.md"] = ARCHITECTURE, ["docs/decisions.md"] = DECISIONS,
  ["ecs/save.c"] = "", ["ecs/save.h"] = "int ecs_save(void);", ["host/sleep.c"] = "", ["host/README.md"] = "`queue` holds them",
  ["host/queue.h"] = "enum { QUEUE_MAX = 64 };",
  ["host/main.c"] = 'static const char USAGE[] =\n    "  stator run SCENE   runs\\n"\n    "  stator ctl SOCKET tasks [NAME] |\\n"\n' ..
    '    "  stator ctl SOCKET stop [--drop C]\\n"\n    "  --virtual   virtual\\n";\n',
  ["lua/stator/init.lua"] = '\nlocal stator = {\n  sleep = time.sleep, net = names.fixed("stator.net", net),\n' ..
    '  log = { info = log.info, warn = 1 },\n}\n',
  ["lua/stator/net.lua"] = "function M.connect(o) end\nfunction M.listen(o) end\nfunction Connection:read(n) end\n",
  ["lua/stator/command.lua"] = "function Commands:set(e) end\n", ["lua/stator/scene_limits.lua"] = 'expect { "limits" }',
  ["tests/lua/sleep_spec.lua"] = 'describe("sleep", function()\n  it("S1 sleeps", f)\n  it("S12: " .. name, f)\n  it("wakes", f)\nend)\n',
  ["tests/ecs/test_sleep.c"] = "RUN(it_sleeps);",
  ["tests/bench/bench.lua"] = 'row("one sleep", "ns", value, limit, 1.5)\nrow = { name = "many sleeps", target = ">= 0.8x" }',
  ["tests/bench/core.lua"] = '{ title = ("spawn %d at once"):format(7) }\n{ title = ("sleep %s"):format("at last") }', ["tests/support/support.lua"] = "",
}

--- Problems of the tree with one text in place of another in one file; false: without the file.
local function told(file, old, new)
  local texts = {}
  for path, text in pairs(FILES) do texts[path] = text end
  if old == false then
    texts[file] = nil
  elseif not texts[file or ""] then
    if file then texts[file] = old end
  else
    local from, to = texts[file]:find(old, 1, true)
    texts[file] = texts[file]:sub(1, from - 1) .. new .. texts[file]:sub(to + 1)
  end
  local tree = { read = function(path) return texts[path] end }
  function tree.list(folder)
    local paths = {}
    for path in pairs(texts) do
      if path:sub(1, #folder + 1) == folder .. "/" then paths[#paths + 1] = path end
    end
    table.sort(paths)
    return paths
  end
  local list = {}
  for i, problem in ipairs(specification.problems(tree)) do list[i] = problem:gsub(":%d+:", ":", 1) end
  return list
end

local function spec(old, new) return told("docs/spec.md", old, new) end

describe("the check of docs/spec.md", function()
  it("finds nothing in a sound tree", function() assert.same({}, told()) end)

  it("fails on a row without a test, and on what is no test", function()
    assert.same({ "docs/spec.md: snapshots, ecs_save: has no test" }, spec("`tests/lua/sleep_spec.lua#wakes`", "-"))
    assert.same({ "docs/spec.md: snapshots, ecs_save: tests/support/support.lua is no test", "docs/spec.md: snapshots, ecs_save: has no test" },
      spec("`tests/lua/sleep_spec.lua#wakes`", "`tests/support/support.lua`"))
    assert.same({ "docs/spec.md: the page: is missing and has a test" },
      spec("`host/page.c` | -", "`host/page.c` | `tests/lua/sleep_spec.lua`"))
  end)

  it("fails on a test that does not exist: the file, the title, the function", function()
    assert.same({ "docs/spec.md: sleeping: there is no tests/lua/gone_spec.lua#S1" }, spec("lua/sleep_spec.lua#S1", "lua/gone_spec.lua#S1"))
    assert.same({ "docs/spec.md: sleeping: there is no tests/lua/sleep_spec.lua#S2" }, spec("_spec.lua#S1", "_spec.lua#S2"))
    assert.same({ "docs/spec.md: sleeping: there is no tests/ecs/test_sleep.c#it_sleep" }, spec("#it_sleeps", "#it_sleep"))
    assert.same({}, spec("_spec.lua#S1", "_spec.lua#S12"))
    assert.same({ "docs/spec.md: sleeping: there is no tests/lua/sleep_spec.lua#S1" },
      told("tests/lua/sleep_spec.lua", 'it("S1 ', 'it("S3 '))
  end)

  it("fails on a file that does not exist, on a text that is not in it, and on a row that says no file", function()
    assert.same({ "docs/spec.md: sleeping: there is no host/slip.c" }, spec("`host/sleep.c`", "`host/slip.c`"))
    assert.same({ "docs/spec.md: sleeping: says not where it is" }, spec("`host/sleep.c`", "-"))
    assert.same({ "docs/spec.md: there is no host/queue.h#QUEUE_MAX = 64" }, told("host/queue.h", "64", "32"))
  end)

  it("fails on a state that is none", function()
    assert.same({ 'docs/spec.md: sleeping: the state is "ready"; expected done, partial or missing' }, spec("` | done | |", "` | ready | |"))
  end)

  it("fails on missing where it is there: function, class, command, option, member, file", function()
    local function missing(name) return ("docs/spec.md: %s: is missing, and %s is there"):format(name, name) end
    assert.same({ missing "stator.sleep" }, spec("`stator.page(address)`", "`stator.sleep`"))
    assert.same({ missing "stator.net.listen" }, spec("`stator.page(address)`", "`stator.net.listen`"))
    assert.same({ missing "cmd:set" }, spec("`stator.page(address)`", "`cmd:set`"))
    assert.same({ missing "stator run" }, spec("`stator.page(address)`", "`stator run`"))
    assert.same({ missing "stator ctl SOCKET stop" }, spec("`stator.page(address)`", "`stator ctl SOCKET stop`"))
    assert.same({ missing "--virtual" }, spec("`stator.page(address)`", "`--virtual`"))
    assert.same({ missing '"limits"' }, spec("`stator.page(address)`", '`"limits"`'))
    assert.same({ "docs/spec.md: the page: is missing, and host/page.c is there",
      "docs/architecture.md: host/page.c is named neither here nor in host/README.md" }, told("host/page.c", ""))
  end)

  it("fails on missing that nothing could contradict", function()
    assert.same({ "docs/spec.md: the page: is missing, and nothing says by what that can be seen" }, spec("`host/page.c` |", "- |"))
  end)

  it("fails on done or partial where it is not there", function()
    local function absent(first, name) return { ("docs/spec.md: %s: is done, and there is no %s"):format(first, name) } end
    assert.same(absent("stator run SCENE, --virtual, --drop, stator ctl SO", "--drop"), told("host/main.c", "--drop", "--drip"))
    assert.same(absent("stator run SCENE, --virtual, --drop, stator ctl SO", "stator ctl SOCKET tasks"), told("host/main.c", "tasks", "task"))
    assert.same(absent('"limits" of a scene', '"limits"'), told("lua/stator/scene_limits.lua", "limits", "limit"))
    assert.same(absent("stator.log.info(text), stator.log.warn, cmd:set(e,", "conn:read(n)"), told("lua/stator/net.lua", ":read(", ":reads("))
    assert.same(absent("stator.sleep(s), stator.net.connect(host), stator.", "stator.net.listen(o)"), told("lua/stator/net.lua", "listen", "lisp"))
    assert.same({ "docs/spec.md: snapshots, ecs_save: is partial, and there is no ecs_save" }, told("ecs/save.h", "ecs_save", "ecs_keep"))
  end)

  it("fails on partial that does not say what is absent, or calls absent what is there", function()
    assert.same({ "docs/spec.md: snapshots, ecs_save: is partial and does not say what is not there (Not there: ...)" },
      spec("Not there: `stator.save`", "some"))
    assert.same({ "docs/spec.md: snapshots, ecs_save: is partial, and stator.sleep is there" }, spec("`stator.save`", "`stator.sleep`"))
  end)

  it("fails on a measured row that the bench does not print", function()
    assert.same({ 'docs/spec.md: sleeping: the bench prints no row "one slip"' }, spec("`one sleep`, ", "`one slip`, "))
    assert.same({ 'docs/spec.md: the bench prints no row "one sleep"', 'docs/spec.md: sleeping: the bench prints no row "one sleep"' },
      told("tests/bench/bench.lua", "one sleep", "a sleep"))
  end)

  it("fails on a target that is not the bench's, and on a text that no row is filled with", function()
    assert.same({ "docs/spec.md: one sleep: the bench holds it against <= 1.5x, not <= 2x" }, spec("<= 1.5x", "<= 2x"))
    assert.same({ "docs/spec.md: many sleeps: the bench holds it against >= 0.8x, not <= 0.8x" }, spec(">= 0.8x", "<= 0.8x"))
    assert.same({ 'docs/spec.md: the bench prints no row "core: sleep at night"' }, spec("sleep at last", "sleep at night"))
  end)

  it("fails on a function of the API that no table of it has", function()
    assert.same({ "docs/spec.md: the API has stator.nap, and no row of an API table names it" },
      told("lua/stator/init.lua", "sleep = time.sleep,", "sleep = time.sleep, nap = time.nap,"))
    assert.same({ "docs/spec.md: the API has stator.warn, and no row of an API table names it" }, spec("`stator.log.warn`", "`conn:read`"))
  end)

  it("fails on a row twice, on no status table and on no document", function()
    local snapshots = "| snapshots, `ecs_save` | `ecs/save.c` | `tests/lua/sleep_spec.lua#wakes` | - | partial | Not there: `stator.save` |"
    assert.matches("^docs/spec.md: the page is in line %d+ already$", spec(snapshots, "| the page | `host/page.c` | - | - | missing | |")[1])
    assert.same({ 'docs/spec.md: there is no status table (first column "Feature")' }, spec("| Feature |", "| Features |"))
    assert.same("docs/spec.md: it is not there", told("docs/spec.md", false)[1])
  end)
end)

describe("the check of docs/architecture.md", function()
  it("fails on a file that is not named, and on one that is named and not there", function()
    assert.same({ "docs/architecture.md: ecs/new.c is named neither here nor in ecs/README.md" }, told("ecs/new.c", ""))
    assert.same({ "docs/architecture.md: lua/stator/driver/rtu.lua is named neither here nor in lua/stator/README.md" }, told("lua/stator/driver/rtu.lua", ""))
    assert.same({ "docs/architecture.md: host/sleep.c is named neither here nor in host/README.md", "docs/architecture.md: there is no host/slept" },
      told("docs/architecture.md", "`sleep`", "`slept`"))
    assert.same({}, told("ecs/data.bin", ""))
  end)

  it("counts the folder's README only where it is linked", function()
    assert.same({ "docs/architecture.md: host/queue.h is named neither here nor in host/README.md" },
      told("docs/architecture.md", "../host/README.md", "../host/queue.h"))
    assert.same("docs/architecture.md: no heading names `ecs/`", told("docs/architecture.md", "of `ecs/`", "of the core")[1])
  end)
end)

describe("the check of pointers", function()
  it("fails on a link that leads nowhere, to a file or to a heading", function()
    assert.same({ "docs/pickup.md: the link specs.md leads nowhere" }, told("docs/pickup.md", "(spec.md)", "(specs.md)"))
    assert.same({ "docs/pickup.md: the link #what-is-done leads nowhere" }, told("docs/pickup.md", "(#what-is-half-done)", "(#what-is-done)"))
    assert.same({ "README.md: the link docs/pickup.md#what-is-half-done leads nowhere", "docs/pickup.md: the link #what-is-half-done leads nowhere" },
      (function(list) table.sort(list) return list end)(told("docs/pickup.md", "What is half done", "What is done")))
  end)

  it("fails on a path that is not there", function()
    assert.same({ "docs/pickup.md: there is no host/slip.c" }, told("docs/pickup.md", "host/sleep.c", "host/slip.c"))
  end)
end)

describe("the check of docs/decisions.md", function()
  it("fails on a decision without a date, or out of order", function()
    assert.same({ "docs/decisions.md: a decision without a date: expected **YYYY-MM-DD What.**" },
      told("docs/decisions.md", "**2026-01-02 Two", "**Two"))
    assert.same({ "docs/decisions.md: a decision without a date: expected **YYYY-MM-DD What.**" },
      told("docs/decisions.md", "**2026-01-02 Two.**", "Two."))
    assert.same({ "docs/decisions.md: 2025-02-01 stands after 2026-01-02; the newest is last" },
      told("docs/decisions.md", "2026-02-01", "2025-02-01"))
    assert.same({ "docs/decisions.md: there is no decision" }, told("docs/decisions.md", DECISIONS, "# Decisions\n"))
  end)
end)

describe("the tree", function()
  it("is read as it is", function()
    local tree = specification.tree(support.root)
    assert.is_nil(tree.read "docs/gone.md")
    assert.is_true(specification.exists(tree, "stator.net.connect"))
    assert.is_true(specification.exists(tree, "cmd:spawn_many"))
    assert.is_true(specification.exists(tree, "ecs_snapshot_write"))
    assert.is_false(specification.exists(tree, "stator.page"))
    assert.is_false(specification.exists(tree, "stator new"))
    assert.is_nil(specification.exists(tree, "some words"))
    local found = false
    for _, path in ipairs(tree.list "lua/stator") do found = found or path == "lua/stator/driver/modbus.lua" end
    assert.is_true(found)
  end)
end)
