-- JSON for payloads.
local support = require "support"

local function run(body)
  local said, faults = support.run_task(body)
  assert.same({}, faults)
  return said
end

describe("stator.json", function()
  after_each(support.finish)

  it("Y9: encodes the same text every time: members sorted, the shortest number that comes back", function()
    assert.same({
      '{"":0,"A":[1,2,3],"a":{"b":true,"c":false},"z":null}', "[]", "{}", '"a\\"\\\\\\n\\t\\u0001é"',
      "0.1", "1e+300", "-7", "9007199254740991", "0.30000000000000004", "1e+20" }, run [[
      local json = stator.json
      print(json.encode { z = json.null, a = { c = false, b = true }, A = { 1, 2, 3 }, [""] = 0 })
      print(json.encode(json.array()))
      print(json.encode {})
      print(json.encode 'a"\\\n\t\1é')
      for _, n in ipairs { 0.1, 1e300, -7, 2 ^ 53 - 1, 0.1 + 0.2, 1e20 } do print(json.encode(n)) end]])
  end)

  it("Y9: what is decoded and encoded again is the same text", function()
    local text = '{"a":[1,[],2.5,{"b":"x"},true,false,null],"c":"\\u0001"}'
    assert.same({ (text:gsub("%[%]", "{}")), "nil" }, run(([[
      local t = stator.json.decode(%q)
      print(stator.json.encode(t))
      print(t.none)]]):format(text)))
  end)

  it("Y9: names line and column of what is wrong in a text", function()
    local said = run [[
      for _, text in ipairs { '{\n "a": tru }', "[1,]", "", '{"a":1,"a":2}', "1 2", ("["):rep(65), '"\1"', "\255" } do
        local ok, e = pcall(stator.json.decode, text)
        print(ok, e.code, e.message)
      end]]
    assert.matches("^false\tjson\tmain.lua:%d+: line 2, column 7: ", said[1])
    assert.matches("line 1, column 4", said[2])
    assert.equal(8, #said)
    for _, line in ipairs(said) do assert.matches("^false\tjson\t", line) end
  end)

  it("Y9: names the place of what cannot be written", function()
    local said = run [[
      local loop = {}
      loop.again = loop
      local values = { { a = { 1, print } }, { 1, x = 2 }, { [1] = 1, [3] = 3 }, { [1.5] = 1 }, 0 / 0, 1 / 0, "\255", loop,
        setmetatable({}, {}), coroutine.create(print), { [true] = 1 } }
      for i = 1, 11 do
        local ok, e = pcall(stator.json.encode, values[i])
        print(i, e.code, (e.message:gsub("^main.lua:%d+: ", "")))
      end
      print(select(2, pcall(stator.json.encode, nil)).message)]]
    assert.equal("1\tjson\tjson.encode: $.a[2]: a function cannot be written", said[1])
    assert.matches("%$: a table has names or indexes, not both", said[2])
    assert.matches("%$: a table has names, or the indexes 1 to n", said[3])
    assert.matches("the indexes 1 to n", said[4])
    assert.matches("no nan and no inf", said[5])
    assert.matches("no nan and no inf", said[6])
    assert.matches("no UTF%-8", said[7])
    assert.matches("%$.again.again.*nested more than 64 deep", said[8])
    assert.matches("a table with a metatable", said[9])
    assert.matches("a thread cannot", said[10])
    assert.matches("indexes 1 to n", said[11])
    assert.matches("a nil cannot be written", said[12])
  end)

  it("says that a view has to be copied", function()
    local said = support.run_task([[
      local P = stator.entity "e"
      print(select(2, pcall(stator.json.encode, { P:get(Pose) })).message)
      print(stator.json.encode(P:copy(Pose)))]], { before = 'local Pose = stator.component("Pose", { "double x = 1.5" })',
      entities = '[ { "name": "e", "components": { "Pose": {} } } ]' })
    assert.matches("%$%[1%]: a view cannot be written", said[1])
    assert.equal('{"x":1.5}', said[2])
  end)

  it("bounds texts both ways", function()
    local said = run [[
      local text = ("x"):rep(3 * 2 ^ 20)
      print(pcall(stator.json.decode, '"' .. text .. text .. '"'))
      print(select(2, pcall(stator.json.encode, { text, text })).message)]]
    assert.matches("at most 4 MiB", said[1])
    assert.matches("the text is too long", said[2])
  end)
end)
