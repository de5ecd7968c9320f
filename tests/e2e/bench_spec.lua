-- The measurements' options, and what becomes of peers that are not there; no figure is looked at.
local json = require "dkjson"
local support = require "support"

local BENCH = ("cd %s && build/%s/tests/stator_bench tests/bench/scene.json tests/bench/bench.lua "):format(support.root,
  os.getenv "STATOR_PRESET" or "dev")

describe("./dev bench", function()
  after_each(support.finish)

  it("tells its options when it is asked, and measures nothing", function()
    for _, asked in ipairs { "--help", "-h", "--nobevy 'it is not built' --help", "--core -h" } do
      local said, code = support.shell(BENCH .. asked .. " 2>/dev/null")
      assert.equal(0, code)
      assert.matches("^usage: ./dev bench ", said)
      for _, option in ipairs {
        "core", "row NAME", "peers", "replies N", "seconds S", "json FILE", "bevy PROGRAM", "nobevy REASON",
        "peer NAME=RUN", "nopeer NAME=WHY", "help, %-h",
      } do
        assert.matches("\n%-%-" .. option .. "  +%w", said)
      end
      assert.is_nil(said:find("ns", 1, true))
    end
  end)

  it("refuses what is no option, with the same text and no trace", function()
    for asked, why in pairs {
      ["--cor"] = "unknown option --cor", ["x"] = "unknown option x", ["--row"] = "no value after --row",
      ["--replies few"] = "no number for --replies: few", ["--seconds 0"] = "no number for --seconds: 0",
      ["--peers --core"] = "--peers is of other tables than --core and --row",
      ["--peer erlang=erl"] = "no peer for --peer: erlang=erl", ["--nopeer node"] = "no peer for --nopeer: node",
    } do
      local said, code = support.shell(BENCH .. asked .. " 2>&1 >/dev/null")
      assert.equal(2, code)
      assert.equal(why, said:match "^[^\n]+")
      assert.matches("\nusage: ", said)
      assert.is_nil(said:find("traceback", 1, true))
    end
  end)

  --- The rows of the tables of peers by name, from one short run with the options.
  local function rows_of(options)
    local file = support.folder() .. "/rows.json"
    local said, code = support.shell(BENCH .. "--peers --replies 3 --seconds 0.05 --json " .. file .. " " .. options .. " 2>&1")
    assert.equal(0, code, said)
    local rows = {}
    for _, row in ipairs(assert(json.decode(support.read(file)))) do rows[row.name] = row end
    return rows, said
  end

  it("gives null for a peer that is not there, and says why, on paper too", function()
    local rows, said = rows_of [[--nopeer 'node=it is "not" there' --peer luv=false --peer 'tokio=echo no number;']]
    for name, why in pairs {
      ["echo: Node.js"] = 'it is "not" there', ["echo: plain luv in LuaJIT"] = "it ended or said nothing",
      ["echo: tokio, multi-thread"] = "it printed no port",
      ["reply to world: bevy-tokio-tasks, 60 Hz"] = "no program was given",
      ["reply to world: bevy-async-ecs, free-running"] = "no program was given",
    } do
      local row = assert(rows[name], name)
      assert.equal(why, row.reason)
      assert.is_nil(row.value)
      assert.is_nil(row.over_value)
      assert.truthy(said:find(why, 1, true), said)
    end
  end)

  it("measures a cell in a process of its own, and a peer that is there", function()
    local rows = rows_of("--seconds 0.2 --peer 'luv=luajit tests/bench/peers/echo_luv.lua'")
    for _, name in ipairs {
      "echo: bare libuv in C", "echo: stator", "echo: plain luv in LuaJIT",
      "reply to world: stator, react = immediate, ticks at 60 Hz", "reply to world: stator, react = tick, 60 Hz",
    } do
      assert.is_nil(rows[name].reason)
      assert.is_number(rows[name].value)
      assert.is_number(rows[name].over_value)
    end
  end)

  it("reloads a cell of 50 modules, and tells the longest slice of each kind of change", function()
    local script = support.folder() .. "/reload.lua"
    support.write(script, [[
      local function tell(...) print(...) end
      assert(loadfile("tests/bench/reload.lua"))().run("tests/bench/", 1, tell, tell)]])
    local said = support.shell((BENCH:gsub("tests/bench/bench.lua", script)))
    for _, name in ipairs { "50 modules, one changed", "50 modules, all changed", "with a component of 10k entities" } do
      assert.matches("longest slice of a reload, " .. name .. "\tms\t%d+%.%d+\t10", said)
    end
  end)

  it("takes what a program tells about plugins of Bevy, costs among it, and says when it tells nothing", function()
    local told = [['{"plugin":"a","case":"dead_target","app":"ends","log":"it \"died\""}' '{"plugin":"a","case":"cost","app":"goes on",]]
      .. [["ns_each":12.5,"log":""}' 'no row']]
    local rows, said = rows_of("--peer 'behaviour=printf \"%s\\n\" " .. told:gsub("'", "'\\''") .. "'")
    assert.equal('"app":"ends","log":"it \\"died\\""', rows["behaviour: a, dead_target"].seen)
    assert.is_nil(rows["behaviour: a, dead_target"].value)
    assert.equal(12.5, rows["behaviour: a, cost"].value)
    assert.truthy(said:find("\nno row\n", 1, true), said)
    assert.equal("it said nothing", rows_of("--peer behaviour=true").behaviour.reason)
    assert.equal("not here", rows_of("--nopeer 'behaviour=not here'").behaviour.reason)
  end)

  it("gives a device that is not asked any more up, and its peer too", function()
    local rows, said = rows_of "--peer 'bevy_async=true'"
    assert.equal("it ended or fell silent", rows["reply to world: bevy-async-ecs, 60 Hz"].reason, said)
  end)
end)
