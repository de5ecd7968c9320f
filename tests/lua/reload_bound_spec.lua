-- A reload and what else holds components: points of links, conditions, queries, tasks on old code, ages, places.
local reloading = require "reloading"
local support = require "support"

local POINTS = [[{ "plc": { "driver": "modbus_tcp", "simulate": "sim.lua", "scan_s": 0.05,
  "points": { "box.Part.speed": "hr 1 in", "box.Part.on": "coil 2" } } }]]

local function part(fields, more) return ('local Part = stator.component("Part", { %s })\n%s'):format(fields, more or "") end

describe("a reload and what holds components", function()
  after_each(support.finish)

  local function linked(fields)
    return reloading.open {
      scripts = { ["main.lua"] = part(fields) }, links = POINTS,
      files = { ["sim.lua"] = 'local stator = require "stator"\nreturn function(device) for _ in stator.every(0.1) do device.holding[1] = '
        .. '(device.holding[1] or 0) + 1 end end\n' },
      entities = [=[[ { "name": "box", "link": "plc", "components": { "Part": {} } } ]]=],
    }
  end

  it("RL7: fields that are bound to points stay as they are; others come and go, and the points go on", function()
    local r = linked '"int32_t speed", "bool on", "double other"'
    r.cell:advance(1)
    local link = r:eval "return require('stator.link').list[1].task.handle"
    assert.is_true(r:value("box", "Part", "speed") > 5)
    for _, fields in ipairs { '"double speed", "bool on"', '"bool on"', '"int32_t speed"', '"int32_t speeed", "bool on"' } do
      assert.matches("plc", (r:refused(part(fields), nil, { moves = true })))
    end
    assert.matches("plc", (r:refused("-- nothing\n", nil, { drop = "Part", moves = true })))
    r:change(part '"bool on", "char text[8]", "int32_t speed"')
    local speed = r:value("box", "Part", "speed")
    assert.is_true(speed > 5)
    r.cell:advance(1)
    assert.is_true(r:value("box", "Part", "speed") > speed + 5)
    assert.equal(link, r:eval "return require('stator.link').list[1].task.handle")
    assert.same({}, support.faults(r.cell))
  end)

  it("RL9: conditions and queries that compare a field that goes end with their tasks", function()
    local wait = 'stator.task("t", {}, function() await(stator.entity("box"):when(Part, { x = 50 })) end)\n'
    local count = 'local q = stator.query { with = { Part } }\nstator.task("c", {}, function() await(q:when_count(7)) end)\n'
    local r = reloading.open { entities = [=[[ { "name": "box" } ]]=], scripts = {
      ["a.lua"] = part('"double x", "double y"', wait .. count),
      ["b.lua"] = 'local Part = stator.component "Part"\n' .. wait } }
    r:set("box", "Part", "{ x = 1, y = 2 }")
    r:save('local Part = stator.component "Part"\nstator.task("t", {}, function() await(stator.entity("box"):when(Part, { y = 50 })) print "fifty" '
      .. 'end)\n', "b.lua")
    r:change(part('"double y"', count), "a.lua")
    assert.equal(2, (select(2, r.cell:counts())))
    r:set("box", "Part", "{ y = 50 }")
    r.cell:advance(0.1)
    assert.same({ "b/t: fifty" }, r:said())
    assert.is_nil(r.cell:check())
  end)

  it("RL10: a task that may finish and waits for a field that goes: refused, and all goes on as before", function()
    local function main(fields, cond)
      return part(fields, ('stator.task("t", { on_reload = "finish" }, function() local ok, e = stator.try(function() '
        .. 'await(stator.entity("box"):when(Part, %s)) end) print(ok, ok or e.code) end)\n'):format(cond))
    end
    local r = reloading.open { main = main('"double x", "double y"', "{ x = 50 }"), entities = [=[[ { "name": "box" } ]]=] }
    r:set("box", "Part", "{ x = 1, y = 2 }")
    r:save(main('"double y"', "{ y = 50 }"))
    local before = r:state()
    local ok, message = r:ask "reload"
    assert.is_false(ok)
    assert.matches("Part", message)
    assert.equal(before, r:state())
    assert.is_nil(r.cell:check())
    r.cell:advance(40) -- longer than it would have had to finish
    r:set("box", "Part", "{ x = 50 }")
    r.cell:advance(1)
    assert.same({ "main/t: true\t" }, { (r:said()[1]:gsub("true.*", "true\t")) })
    assert.equal("", r:tasks())
    assert.same({}, support.faults(r.cell))
  end)

  it("RL10: a task on old code sees a component as it is now", function()
    local function main(fields)
      return part(fields, 'stator.task("t", { on_reload = "finish" }, function(cmd) await(stator.sleep(2)) local p = stator.entity("box"):get(Part) '
        .. 'print(p.x) cmd:set(stator.entity "box", Part, { x = p.x + 1 }) end)\n')
    end
    local r = reloading.open { main = main '"double x"', entities = [=[[ { "name": "box" } ]]=] }
    r:set("box", "Part", "{ x = 5 }")
    r:change(main '"double a", "int32_t x"')
    r.cell:advance(2)
    assert.same({ "main/t: 5" }, r:said())
    assert.equal(6, r:value("box", "Part", "x"))
  end)

  it("RL5: a component keeps its age when the option comes", function()
    local function main(age)
      return ('local Part = stator.component("Part", { "double x" }%s)\nstator.task("t", {}, function() local e = stator.entity "box" for _ in '
        .. 'stator.every(1) do local ok, p = pcall(function() return e:get(Part, { max_age_s = 0.5 }) end) print(ok, stator.now()) end end)\n'):format(age)
    end
    local r = reloading.open { main = main "", entities = [=[[ { "name": "box", "components": { "Part": {} } } ]]=] }
    r:change(main ", { age = true }")
    r:set("box", "Part", "{ x = 5 }")
    assert.same({}, support.faults(r.cell))
    local age = r:eval [[return require("stator.registry").live.types.component.Part.places[1].aged]]
    assert.is_true(age)
    r:said()
    r.cell:advance(2)
    local said = r:said()
    assert.matches("^main/t: false", said[#said])
  end)

  it("RL9: detached tasks and machines in flight go with their script", function()
    local function main(mark)
      local text = [[
        local robot = stator.entity "box"
        stator.machine("m", { on = "box", start = "a" }, {
          a = function() await(stator.sleep(0.5)) return "b" end,
          b = function() stator.defer(function() print "left MARK" end) await(stator.sleep(1e6)) end,
        })
        stator.task("t", {}, function() stator.detach("aside", function() stator.defer(function() print "aside MARK" end) await(stator.sleep(1e6)) end) end)
      ]]
      return (text:gsub("MARK", mark))
    end
    local r = reloading.open { main = main "1", entities = [=[[ { "name": "box" } ]]=] }
    r.cell:advance(1)
    assert.equal("b", r:value("box", "Machine", "state"))
    r:change(main "2")
    local said = r:said()
    table.sort(said)
    assert.matches("aside 1", said[1])
    assert.matches("left 1", said[#said])
    r.cell:advance(0.1)
    assert.equal("a", r:value("box", "Machine", "state"))
    r:as_fresh()
  end)

  it("RL16: a place of a command is named by file and line, so reloads add none; the line is that of the code in force", function()
    local function main(lines)
      return ("\n"):rep(lines) .. part('"double x"') .. 'stator.task("t", {}, function(cmd) await(stator.sleep(0.01)) cmd:set(12345, Part, { x = 1 }) '
        .. 'await(stator.sleep(0.01)) end)\n'
    end
    local r = reloading.open { main = main(0) }
    for i = 1, 60 do r:change(main(i % 10) .. "-- " .. i) end
    local last = r:eval "local n = 0 while require('stator.places').text(n + 1) do n = n + 1 end return n"
    assert.equal(10, last)
    r.cell:advance(0.5)
    assert.matches("main.lua:4", r:lines("12345")[1] or table.concat(r.cell:logs(), "\n"))
  end)

  it("RL16: numbers of systems and observers are those of their names", function()
    local r = reloading.open 'stator.system("s", {}, function() end)\n'
    local function number() return r:eval "return require('stator.core.task').owner_number 'another'" end
    for i = 1, 20 do r:change(('stator.system("s%d", {}, function() end)\n'):format(i % 2)) end
    assert.is_true(number() < 12)
  end)
end)
