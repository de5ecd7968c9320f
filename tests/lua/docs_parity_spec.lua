-- The check of docs/parity.md, and what runs its snippets, on documents that are wrong in one place.
local parity = require "parity"
local support = require "support"

local API = parity.api('\nlocal stator = {\n  sleep = time.sleep, net = names.fixed("stator.net", net),\n  log = { info = log.info },\n}\n')

local function row(id, state, snippet, prose)
  return ("### %s some capability: %s\n\n%s\n\n%s\n"):format(id, state, snippet or ("```lua parity=%s\nprint 1\n-- expect: 1\n```"):format(id),
    prose or "- Better: shorter.")
end

--- A whole document; `change` has other texts for rows: by id, false for none.
local function document(change, summary)
  local parts = { "# Parity", "", summary or "Of 59: 59 done, 0 partial, 0 missing.", "" }
  for _, group in ipairs(parity.group_names) do
    local count = parity.groups[group]
    parts[#parts + 1] = ("## %s. a system: %d done, 0 partial, 0 missing\n"):format(group, count)
    for number = 1, count do
      local id = group .. number
      local text = (change or {})[id]
      if text == nil then text = row(id, "done") end
      parts[#parts + 1] = text or nil
    end
  end
  return table.concat(parts, "\n")
end

local function told(change, summary)
  local list = {}
  for _, problem in ipairs(parity.problems(document(change, summary), API)) do
    if not problem.text:find " states %d+ " then list[#list + 1] = problem.text end
  end
  return list
end

describe("the check of docs/parity.md", function()
  it("finds nothing wrong with a whole document", function()
    assert.same({}, parity.problems(document(), API))
  end)

  it("knows the names of the API, one level deep", function()
    assert.same({ sleep = true, net = true, log = true, info = true }, API)
    local own = parity.api(support.read(support.root .. "/lua/stator/init.lua"))
    for _, name in ipairs { "await", "component", "net", "rs", "world", "machine" } do assert.is_true(own[name], name) end
    assert.is_nil(own.require)
  end)

  it("wants every id once, and no other", function()
    assert.same({ "no row of B7" }, told { B7 = false })
    assert.same({ ("C2 is in line %d already"):format(select(2, document():match "^(.*)### C2":gsub("\n", "")) + 1) },
      told { C2 = row("C2", "done") .. row("C2", "done", "") })
    assert.same({ 'expected "### ID name: state" with an id of the list, got another heading', "no row of A1" },
      told { A1 = row("A11", "done") })
    assert.same({ 'expected "### ID name: state" with an id of the list, got another heading' }, told { E16 = row("E16", "done") .. "### More\n" })
  end)

  it("wants a snippet with an expectation of its own", function()
    assert.same({ "A3 is done and has no snippet" }, told { A3 = row("A3", "done", "") })
    assert.same({ "A3 is done and has no snippet" }, told { A3 = row("A3", "done", "```lua\nprint 1\n-- expect: 1\n```") })
    assert.same({ "A3 is done and has no snippet" }, told { A3 = row("A3", "done", "```lua parity=A3 file=x.lua\n-- expect: 1\n```") })
    assert.same({ "A3 has a snippet without an expectation" }, told { A3 = row("A3", "done", "```lua parity=A3\nprint 1\n```") })
    assert.same({ "a block of A4 stands under A3", "A3 is done and has no snippet" },
      told { A3 = row("A3", "done", "```lua parity=A4\nprint 1\n-- expect: 1\n```") })
    assert.same({}, told { A3 = row("A3", "done", "```sh parity=A3\nstator --version\n# expect: stator\n```") })
    assert.same({}, told { A3 = row("A3", "done", "```lua parity=A3\nprint 1\n```\n\n```text parity=A3\n1\n```") })
  end)

  it("knows three states, and holds each to what it says", function()
    assert.same({ "D1: the state is nearly; expected done, partial or missing" }, told { D1 = row("D1", "nearly") })
    assert.same({ "D1 is partial and does not say what is not there (Not there: ...)" }, told { D1 = row("D1", "partial") })
    assert.same({ "D1 is done and says what is not there" }, told { D1 = row("D1", "done", nil, "- Better: x.\n- Not there: y.") })
    assert.same({ "D1 says neither what is better nor what is different" }, told { D1 = row("D1", "done", nil, "It is there.") })
    assert.same({ "D1 is missing and does not say what is not there (Not there: ...)" }, told { D1 = row("D1", "missing", "", "Later.") })
    assert.same({ "D1 is missing and has a snippet all the same" }, told { D1 = row("D1", "missing", nil, "- Not there: all of it.") })
    assert.same({}, told { D1 = row("D1", "missing", "", "- Not there: all of it; `stator.page` comes.") })
  end)

  it("holds names against the API", function()
    assert.same({ "D1 is missing, and stator.net is there" }, told { D1 = row("D1", "missing", "", "- Not there: `stator.net.listen`.") })
    assert.same({ "D1 is done, and there is no stator.page" }, told { D1 = row("D1", "done", nil, "- Better: `stator.page` shows it.") })
    assert.same({ "D1 is done, and there is no stator.slep" },
      told { D1 = row("D1", "done", "```lua parity=D1\nstator.slep(1)\n-- expect: 1\n```") })
  end)

  it("counts", function()
    local list = parity.problems(document { E2 = row("E2", "missing", "", "- Not there: it.") }, API)
    local texts = {}
    for i, problem in ipairs(list) do texts[i] = problem.text end
    assert.same({ "the summary states 59 done, there are 58", "the summary states 0 missing, there are 1", "group E states 16 done, there are 15",
      "group E states 0 missing, there are 1" }, texts)
    assert.same({ 'there is no line "Of N: N done, N partial, N missing."' }, told({}, "none"))
  end)
end)

describe("a snippet of docs/parity.md", function()
  after_each(support.finish)

  local function run(text)
    local doc = parity.parse("### A1 x: done\n" .. text)
    return select(2, parity.run(parity.blocks_of(doc, "A1"), support.folder(), support.binary, support))
  end
  local BODY = "```lua parity=A1%s\nlocal stator = require 'stator'\nstator.task('t', {}, function()\n%s\nend)\n%s\n```\n"

  it("passes when all expectations are seen in their order", function()
    assert.same({}, run(BODY:format("", "print 'one' print 'two'", "-- expect: main/t: one\n-- expect: t...two")))
    assert.same({ "not seen: one" }, run(BODY:format("", "print 'one' print 'two'", "-- expect: two\n-- expect: one")))
    assert.same({ "not seen: one" }, run(BODY:format("", "print 'one'", "-- expect: one\n-- expect: one")))
    assert.same({ "not seen: o.e" }, run(BODY:format("", "print 'one'", "-- expect: o.e")))
  end)

  it("fails on an error or a warning that nobody expects, and on another exit code", function()
    local wrong = run(BODY:format("", "print 'one' stator.log.warn 'odd'", "-- expect: one"))
    assert.equal(1, #wrong)
    assert.matches("^not expected: .* warn  main/t: odd", wrong[1])
    local failing = "print 'one' error 'bad'"
    assert.same({ "exit code 1, not 0" }, run(BODY:format("", failing, "-- expect: one\n-- expect: error main/t\n-- expect: 1 fault")))
    assert.same({}, run(BODY:format(" exit=1", failing, "-- expect: one\n-- expect: error main/t\n-- expect: 1 fault")))
    assert.same({ "exit code 3, not 0", "not seen: one" }, run("```lua parity=A1\nlocal x = = 1\n-- expect: one\n```\n"))
  end)

  it("may bring its scene, its files and its command", function()
    assert.same({}, run("```json parity=A1\n{ \"name\": \"own\", \"scripts\": [ \"main.lua\" ] }\n```\n" ..
      "```lua parity=A1 ticks=3\nlocal part = require 'part'\nrequire('stator').task('t', {}, function() print(part) end)\n```\n" ..
      "```lua parity=A1 file=part.lua\nreturn 'of a file'\n```\n```text parity=A1\nhost: own\nof a file\ntick limit\n```\n"))
    assert.same({}, run("```sh parity=A1\nstator --version | sed s/stator/it/\n# expect: it 0.\n```\n"))
    assert.same({ "exit code 2, not 0" }, run("```sh parity=A1\nstator nothing\n# expect: unknown command\n```\n"))
  end)
end)
