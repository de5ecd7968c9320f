-- The scene file while the cell runs: what has changed in it, and what of that the cell takes.
local support = require "support"

local SCRIPT = [[
local stator = require "stator"
local Mode = stator.enum("Mode", { "idle", "auto" })
stator.struct("Vec", { "double x = 1", "double y = 2", "entity at" })
local Motor = stator.component("Motor", { "double speed_rpm = 20", "uint8_t level", "char label[8] = none", "Mode mode = auto",
  "double joint[3] = 4", "entity drive", "bool on", "Vec home", "Vec mark[2]", "entity two[2]" })
local Tag, Extra = stator.component("Tag", {}), stator.component("Extra", { "double a = 7", "double b = 8" })
local P = stator.params { limit = 5, text = "t", fast = false }
]]

local BASE = [[{
  "name": "cell", "params": { "rpm": 3, "tag": "a" },
  "scripts": [
    { "file": "main.lua", "params": { "limit": 6 } },
    { "file": "main.lua", "as": "second", "params": { "text": "x${tag}" } } ],
  "links": { "plc": { "driver": "modbus_tcp", "host": "127.0.0.1", "port": 1, "timeout_s": 2,
    "points": { "m1.Motor.speed_rpm": "hr 1 in", "m1.Motor.on": "coil 2" } } },
  "world": { "Extra": { "a": 1 } },
  "entities": [
    { "name": "m1", "components": { "Motor": { "speed_rpm": "$rpm", "mode": "idle", "joint": [1, 2, 3], "drive": "m1/eye" } },
      "children": [ { "name": "eye", "components": { "Motor": { "label": "e", "home": { "x": 5 } } } } ] },
    { "name": "m2", "components": { "Motor": {}, "Extra": {} } } ]
}]]

-- kept in the cell's VM: `state`, `diff`, and functions that answer text
local INSIDE = [[
local registry = require "stator.registry"
local scene_diff, boot = require "stator.scene_diff", require "stator.boot"
local file, sets = boot.options.scene, boot.options.sets
cell = { state = scene_diff.in_force(file, sets) }
local SHOWN = { "kind", "script", "name", "entity", "component", "field", "from", "to" }
function cell.compare(text, options)
  options = options or {}
  options.text = text
  cell.diff = scene_diff.compare(cell.state, options)
  local out = {}
  for _, problem in ipairs(cell.diff.problems) do out[#out + 1] = "problem: " .. problem end
  for _, c in ipairs(cell.diff.changes) do
    out[#out + 1] = c.text
    local parts = {}
    for _, name in ipairs(SHOWN) do if c[name] then parts[#parts + 1] = name .. "=" .. c[name] end end
    out[#out + 1] = "  " .. table.concat(parts, " ") .. (c.restart and " restart" or "") .. (c.waiting and " waiting" or "")
  end
  return (table.concat(out, "\n"):gsub(file:match("^(.*/)"):gsub("%p", "%%%0"), ""))
end
function cell.step(fn) -- as a task of the host
  require("stator.task").spawn({ name = "person", order = registry.order(3, 9, 9) }, fn)
end
function cell.record()
  cell.told = "was not recorded"
  cell.step(function()
    cell.told = table.concat(scene_diff.record(cell.diff.changes), "\n"):gsub(file:match("^(.*/)"):gsub("%p", "%%%0"), "")
  end)
end
function cell.accept()
  local kept
  cell.before = cell.state
  cell.state, kept = scene_diff.accept(cell.state, cell.diff)
  return kept
end
function cell.go_back()
  cell.state = cell.before
  return scene_diff.go_back(cell.state)
end
function cell.get(path, component, field)
  local value = require("stator.entity").at(path):copy(registry.live.components[component])[field]
  if type(value) ~= "table" then return value end
  return require("stator.json").encode(value)
end
]]

local function start(options)
  options = options or {}
  local cell = support.cell {
    scene = options.scene or BASE, scripts = { ["main.lua"] = options.script or SCRIPT }, sets = options.sets,
    patience = options.patience,
  }
  cell:eval(INSIDE)
  cell:advance(0.02)
  return cell
end

--- BASE with some of its text replaced: { from, to, ... }.
local function changed(replacements, text)
  text = text or BASE
  for i = 1, #replacements, 2 do
    local at, last = text:find(replacements[i], 1, true)
    assert(at, replacements[i])
    text = text:sub(1, at - 1) .. replacements[i + 1] .. text:sub(last + 1)
  end
  return text
end

local function compare(cell, replacements, text)
  local lines = {}
  for line in cell:eval("return cell.compare(...)", changed(replacements, text)):gmatch("[^\n]+") do lines[#lines + 1] = line end
  return lines
end

local function get(cell, ...) return (cell:eval("return cell.get(...)", ...)) end

--- Records what the last compare found, and has it applied.
local function apply(cell)
  cell:eval "cell.record()"
  cell:advance(0.02)
  return (cell:eval "return cell.told")
end

describe("a scene file that has changed", function()
  after_each(support.finish)

  it("in nothing but its form has no changes", function()
    local cell = start()
    assert.same({}, compare(cell, {}))
    assert.same({}, compare(cell, { '"name": "cell", ', "", '"params": { "rpm": 3,', '\n\n"name": "cell", "params": { "rpm": 3.0,' }))
    assert.same({}, compare(cell, { '"timeout_s": 2,', "", '"port": 1,', '"timeout_s": 2.0, "port": 1e0, "scan_s": 0.05,' }))
    assert.same({}, compare(cell, { '"m1.Motor.speed_rpm": "hr 1 in", "m1.Motor.on": "coil 2"', '"m1.Motor.on": "coil 2", "m1.Motor.speed_rpm": "hr 1 in"' }))
    assert.same({}, compare(cell, { '"speed_rpm": "$rpm", "mode": "idle"', '"mode": "idle", "speed_rpm": 3' }))
    assert.same({}, compare(cell, { '"name": "cell",', '"name": "cell", "tick_hz": 100, "reload": { "lock": false }, "limits": {},' }))
  end)

  it("in parameters of one use of a script", function()
    local cell = start()
    assert.same({
      'scene.json:4:39: scripts[0].params.limit: the parameter "limit" of the script "main" changes from 6 to 7',
      "  kind=param script=main name=limit from=6 to=7",
    }, compare(cell, { '"limit": 6', '"limit": 7' }))
    assert.same({
      'scene.json:5:55: scripts[1].params.text: the parameter "text" of the script "second" changes from "xa" to "xb"',
      '  kind=param script=second name=text from="xa" to="xb"',
    }, compare(cell, { '"tag": "a"', '"tag": "b"' }))
    assert.same({
      'scene.json:4:5: scripts[0].params.limit: the parameter "limit" of the script "main" changes from 6 to default',
      "  kind=param script=main name=limit from=6 to=default",
      'scene.json:5:55: scripts[1].params.fast: the parameter "fast" of the script "second" changes from default to true',
      "  kind=param script=second name=fast from=default to=true",
    }, compare(cell, { '"params": { "limit": 6 }', '"params": {}', '"text": "x${tag}"', '"fast": true, "text": "x${tag}"' }))
    assert.same({ true, false, true }, { cell:eval [[
      local c = cell.diff.changes
      return c[1].value == nil and c[1].from_value == 6, c[2].value == nil, c[2].value]] })
  end)

  it("in parameters has those of the command line stay in force", function()
    local cell = start { sets = { "rpm=9" } }
    assert.same({}, compare(cell, { '"rpm": 3', '"rpm": 4' }))
    assert.equal(9, get(cell, "m1", "Motor", "speed_rpm"))
    assert.same({
      "problem: --set rpm=9: the scene has no parameter \"rpm\"",
      'problem: scene.json:10:61: entities[0].components.Motor.speed_rpm: there is no parameter "rpm"',
    }, (function(list) table.sort(list) return list end)(compare(cell, { '"rpm": 3, ', "" })))
  end)

  it("in values of entities, their children and the world", function()
    local cell = start()
    assert.same({
      'scene.json:8:25: world.Extra.a: Extra.a of "world" changes from 1 to 2',
      "  kind=value entity=world component=Extra field=a from=1 to=2",
      'scene.json:10:48: entities[0].components.Motor.speed_rpm: Motor.speed_rpm of "m1" changes from 3 to 4',
      "  kind=value entity=m1 component=Motor field=speed_rpm from=3 to=4",
      'scene.json:10:69: entities[0].components.Motor.mode: Motor.mode of "m1" changes from "idle" to "auto"',
      '  kind=value entity=m1 component=Motor field=mode from="idle" to="auto"',
      'scene.json:10:85: entities[0].components.Motor.joint: Motor.joint of "m1" changes from [1, 2, 3] to [1, 2, 4]',
      "  kind=value entity=m1 component=Motor field=joint from=[1, 2, 3] to=[1, 2, 4]",
      'scene.json:10:105: entities[0].components.Motor.drive: Motor.drive of "m1" changes from "m1/eye" to "m2"',
      '  kind=value entity=m1 component=Motor field=drive from="m1/eye" to="m2"',
      'scene.json:11:79: entities[0].children[0].components.Motor.home: Motor.home of "m1/eye" changes from { x: 5 } to { x: 6, y: 1 }',
      "  kind=value entity=m1/eye component=Motor field=home from={ x: 5 } to={ x: 6, y: 1 }",
    }, compare(cell, {
      '"rpm": 3', '"rpm": 4', '"a": 1', '"a": 2', '"idle"', '"auto"', "[1, 2, 3]", "[1, 2, 4]", '"drive": "m1/eye"', '"drive": "m2"',
      '{ "x": 5 }', '{ "y": 1, "x": 6 }',
    }))
    assert.equal("", apply(cell))
    assert.equal(2, get(cell, "world", "Extra", "a"))
    assert.equal(8, get(cell, "world", "Extra", "b"))
    assert.equal(4, get(cell, "m1", "Motor", "speed_rpm"))
    assert.equal(1, get(cell, "m1", "Motor", "mode"))
    assert.equal("[1,2,4]", get(cell, "m1", "Motor", "joint"))
    assert.equal('{"x":6,"y":1}', get(cell, "m1/eye", "Motor", "home"))
    assert.is_true((cell:eval [[
      local e, Motor = require "stator.entity", require("stator.registry").live.components.Motor
      return e.at("m1"):get(Motor).drive == e.at "m2"]]))
    assert.is_true(cell:eval "return cell.accept()")
    assert.same({}, (function(text) return text == "" and {} or text end)(cell:eval("return cell.compare(...)", changed {
      '"rpm": 3', '"rpm": 4', '"a": 1', '"a": 2', '"idle"', '"auto"', "[1, 2, 3]", "[1, 2, 4]", '"drive": "m1/eye"', '"drive": "m2"',
      '{ "x": 5 }', '{ "y": 1, "x": 6 }' })))
  end)

  it("in values that it no longer gives sets their defaults", function()
    local cell = start()
    local scene = changed { '"drive": "m1/eye"', '"drive": "m1/eye", "label": "l", "level": 3, "on": true, "home": { "x": 9, "at": "m2" }, '
      .. '"mark": [{ "x": 9 }, { "y": 9 }], "two": ["m1", "m2"]' }
    assert.equal(12, #compare(cell, {}, scene))
    assert.equal("", apply(cell))
    cell:eval "cell.accept()"
    assert.equal("l", get(cell, "m1", "Motor", "label"))
    assert.equal('[{"x":9,"y":2},{"x":1,"y":9}]', get(cell, "m1", "Motor", "mark"))
    local lines = compare(cell, { '"speed_rpm": "$rpm", "mode": "idle", "joint": [1, 2, 3], "drive": "m1/eye"', "" })
    assert.same({
      'scene.json:10:37: entities[0].components.Motor.speed_rpm: Motor.speed_rpm of "m1" changes from 3 to default',
      "  kind=value entity=m1 component=Motor field=speed_rpm from=3 to=default",
    }, { lines[1], lines[2] })
    assert.equal(20, #lines)
    assert.equal("", apply(cell))
    local expected = {
      speed_rpm = 20, mode = 1, joint = "[4,4,4]", level = 0, label = "none", on = false, home = '{"x":1,"y":2}',
      mark = '[{"x":1,"y":2},{"x":1,"y":2}]',
    }
    for field, value in pairs(expected) do assert.equal(value, get(cell, "m1", "Motor", field)) end
    assert.same({ true, true, true, true }, { cell:eval [[
      local m = require("stator.entity").at("m1"):get(require("stator.registry").live.components.Motor)
      return m.drive == nil, m.two[1] == nil, m.two[2] == nil, m.home.at == nil]] })
  end)

  it("overwrites what a script has written only where the file has changed", function()
    local cell = start { script = SCRIPT .. [[
stator.task("t", {}, function(cmd)
  if stator.entity("m1"):get(Motor).level ~= 0 then return end
  cmd:set(stator.entity "m1", Motor, { speed_rpm = 500, level = 9, joint = { 7, 8, 9 } })
end)]] }
    assert.equal(500, get(cell, "m1", "Motor", "speed_rpm"))
    compare(cell, { "[1, 2, 3]", "[1, 2, 4]" })
    assert.equal("", apply(cell))
    assert.same({ 500, 9, "[1,2,4]" }, { get(cell, "m1", "Motor", "speed_rpm"), get(cell, "m1", "Motor", "level"),
      get(cell, "m1", "Motor", "joint") })
  end)

  it("in components: added ones are inserted, removed ones wait for a restart", function()
    local cell = start()
    assert.same({
      'scene.json:11:54: entities[0].children[0].components.Tag: the component Tag of "m1/eye" is new',
      "  kind=component entity=m1/eye component=Tag from=none to={}",
      'scene.json:12:5: entities[1].components.Motor: the component Motor of "m2" is no longer there; it needs a restart',
      "  kind=component entity=m2 component=Motor from={} to=none restart",
    }, compare(cell, { '"Motor": { "label"', '"Tag": {}, "Motor": { "label"', '"Motor": {}, ', "" }))
    assert.equal("", apply(cell))
    assert.is_true((cell:eval [[return require("stator.entity").at("m1/eye"):has(require("stator.registry").live.components.Tag)]]))
    assert.is_true((cell:eval [[return require("stator.entity").at("m2"):has(require("stator.registry").live.components.Motor)]]))
    cell:eval "cell.accept()"
    assert.same({
      'scene.json:12:5: entities[1].components.Motor: the component Motor of "m2" is no longer there; it still waits for a restart',
      "  kind=component entity=m2 component=Motor from={} to=none restart waiting",
    }, compare(cell, { '"Motor": { "label"', '"Tag": {}, "Motor": { "label"', '"Motor": {}, ', "" }))
    -- what was added is in force: taking it away again is a change of its own
    assert.same({
      'scene.json:11:21: entities[0].children[0].components.Tag: the component Tag of "m1/eye" is no longer there; it needs a restart',
      "  kind=component entity=m1/eye component=Tag from={} to=none restart",
    }, compare(cell, {}))
    -- with values, over a component that a script has given the entity meanwhile, and to the world
    assert.same({
      'scene.json:8:14: world.Motor: the component Motor of "world" is new', "  kind=component entity=world component=Motor from=none to={ level: 4 }",
      'scene.json:8:43: world.Tag: the component Tag of "world" is new', "  kind=component entity=world component=Tag from=none to={}",
      'scene.json:10:37: entities[0].components.Extra: the component Extra of "m1" is new',
      "  kind=component entity=m1 component=Extra from=none to={ a: 3 }",
    }, compare(cell, { '"Extra": { "a": 1 }', '"Motor": { "level": 4 },     "Tag": {}, "Extra": { "a": 1 }', '{ "Motor": { "speed_rpm"',
      '{ "Extra": { "a": 3 }, "Motor": { "speed_rpm"', '"Motor": { "label"', '"Tag": {}, "Motor": { "label"' }))
    cell:eval [[
      cell.step(function()
        require("stator.command"):insert(require("stator.entity").at "m1", require("stator.registry").live.components.Extra, { a = 70, b = 80 })
      end)]]
    cell:advance(0.02)
    assert.equal("", apply(cell))
    assert.same({ 3, 80, 4, 20 }, { get(cell, "m1", "Extra", "a"), get(cell, "m1", "Extra", "b"), get(cell, "world", "Motor", "level"),
      get(cell, "world", "Motor", "speed_rpm") })
  end)

  it("tells of entities and components that are gone from the world", function()
    local cell = start()
    cell:eval [[
      local Motor = require("stator.registry").live.components.Motor
      local cmd, at = require "stator.command", require("stator.entity").at
      cell.step(function()
        cmd:despawn(at "m1/eye")
        cmd:remove(at "m2", Motor)
      end)]]
    cell:advance(0.02)
    compare(cell, { '"label": "e"', '"label": "f"', '"Motor": {}', '"Motor": { "level": 2 }', '"drive": "m1/eye"', '"drive": "m2"', '"rpm": 3', '"rpm": 4',
      '"joint": [1, 2, 3]', '"joint": [1, 2, 3], "two": ["m2", "m1/eye"]' })
    assert.equal('scene.json:10:119: entities[0].components.Motor.two[1]: there is no entity "m1/eye"\n'
      .. 'scene.json:11:65: entities[0].children[0].components.Motor.label: there is no entity "m1/eye" any more\n'
      .. "scene.json:12:48: entities[1].components.Motor.level: m2 has no Motor any more", apply(cell))
    assert.equal(4, get(cell, "m1", "Motor", "speed_rpm"))
    assert.same({}, support.faults(cell))
  end)

  it("in the settings of reload", function()
    local cell = start()
    assert.same({
      'scene.json:2:30: reload.lock: the setting "reload.lock" changes from false to true', "  kind=setting name=lock from=false to=true",
      'scene.json:2:44: reload.max_faults: the setting "reload.max_faults" changes from 3 to 0', "  kind=setting name=max_faults from=3 to=0",
    }, compare(cell, { '"name": "cell",', '"name": "cell","reload": { "lock": true, "max_faults": 0 },' }))
    cell:eval "cell.accept()"
    assert.same({
      'scene.json:1:1: reload.lock: the setting "reload.lock" changes from true to false', "  kind=setting name=lock from=true to=false",
      'scene.json:1:1: reload.max_faults: the setting "reload.max_faults" changes from 0 to 3', "  kind=setting name=max_faults from=0 to=3",
    }, compare(cell, {}))
    assert.same({ 3, 0, true }, { cell:eval [[
      local c = cell.diff.changes
      return c[2].value, c[2].from_value, c[1].from_value]] })
  end)

  it("in links, names the setting or the point, and leaves equal ones out", function()
    local cell = start()
    assert.same({
      'scene.json:6:79: links.plc.timeout_s: the setting "timeout_s" of the link "plc" changes from 2 to 3; it needs a restart',
      "  kind=restart from=2 to=3 restart",
      'scene.json:7:17: links.plc.points["m1.Motor.speed_rpm"]: the point "m1.Motor.speed_rpm" of the link "plc" changes from "hr 1 in" to "hr 3 in"; '
        .. "it needs a restart", '  kind=restart from="hr 1 in" to="hr 3 in" restart',
      'scene.json:7:50: links.plc.points["m2.Motor.on"]: the point "m2.Motor.on" of the link "plc" is new; it needs a restart',
      '  kind=restart from=none to="coil 2" restart',
      'scene.json:7:79: links.b: the link "b" is new; it needs a restart', '  kind=restart from=none to="modbus_tcp" restart',
    }, (function(list)
      assert.same({
        'scene.json:6:14: links.plc.points["m1.Motor.on"]: the point "m1.Motor.on" of the link "plc" is no longer there; it needs a restart',
        '  kind=restart from="coil 2" to=none restart',
      }, { table.remove(list, 1), table.remove(list, 1) })
      return list
    end)(compare(cell, { '"timeout_s": 2', '"timeout_s": 3', "hr 1", "hr 3", '"m1.Motor.on"', '"m2.Motor.on"', '"coil 2" } }',
      '"coil 2" } }, "b": { "driver": "modbus_tcp", "host": "h" }' })))
    assert.same({
      'scene.json:6:3: links.plc: the link "plc" is no longer there; it needs a restart', '  kind=restart from="modbus_tcp" to=none restart',
      'scene.json:6:14: links.plc2: the link "plc2" is new; it needs a restart', '  kind=restart from=none to="modbus_tcp" restart',
    }, compare(cell, { '"plc"', '"plc2"' }))
  end)

  it("in what the cell consists of, waits for a restart and says so again", function()
    local cell = start()
    local replaced = {
      '"name": "cell",', '"name": "cell2", "tick_hz": 50, "limits": { "tasks": 100 }, "control": "s",',
      '{ "name": "m2",', '{ "name": "m3", "components": { "Motor": { "level": 1 } }, "children": [ { "name": "x" } ] }, { "name": "m2", "link": "plc",',
      '"as": "second"', '"as": "third"',
    }
    local expected = {
      'scene.json:2:3: name: the setting "name" changes from "cell" to "cell2"', '  kind=restart from="cell" to="cell2" restart',
      'scene.json:2:20: tick_hz: the setting "tick_hz" changes from 100 to 50', "  kind=restart from=100 to=50 restart",
      'scene.json:2:47: limits.tasks: the setting "limits.tasks" changes from 1048576 to 100', "  kind=restart from=1048576 to=100 restart",
      'scene.json:2:63: control: the setting "control" changes from none to "s"', '  kind=restart from=none to="s" restart',
      'scene.json:3:3: scripts: the script "second" is no longer there', '  kind=restart from="main.lua" to=none restart',
      'scene.json:5:5: scripts[1]: the script "third" is new', '  kind=restart from=none to="main.lua" restart',
      'scene.json:12:5: entities[1]: the entity "m3" is new', "  kind=restart from=none to=there restart",
      'scene.json:12:115: entities[2].link: the link of the entity "m2" changes from none to "plc"', '  kind=restart from=none to="plc" restart',
    }
    local function with(suffix, waiting)
      local out = {}
      for i, line in ipairs(expected) do out[i] = line .. (i % 2 == 1 and "; " .. suffix or waiting) end
      return out
    end
    assert.same(with("it needs a restart", ""), compare(cell, replaced))
    assert.equal("", apply(cell))
    cell:eval "cell.accept()"
    assert.same(with("it still waits for a restart", " waiting"), compare(cell, replaced))
    assert.same({}, compare(cell, {})) -- as it was at the start
    replaced[2] = replaced[2]:gsub("50", "60")
    local lines = compare(cell, replaced)
    assert.equal('scene.json:2:20: tick_hz: the setting "tick_hz" changes from 100 to 60; it needs a restart', lines[3])
    assert.equal("  kind=restart from=none to=there restart waiting", lines[14])
  end)

  it("in the order of scripts and entities, and by entities that went", function()
    local cell = start()
    local script_1, script_2 = '{ "file": "main.lua", "params": { "limit": 6 } }', '{ "file": "main.lua", "as": "second", "params": { "text": "x${tag}" } }'
    assert.same({
      'scene.json:3:3: scripts: the order of the scripts changes from main, second to second, main; it needs a restart',
      "  kind=restart from=main, second to=second, main restart",
      'scene.json:9:3: entities: the entity "m2" is no longer there; it needs a restart', "  kind=restart from=there to=none restart",
    }, compare(cell, { script_1, "FIRST", script_2, script_1, "FIRST", script_2,
      ',\n    { "name": "m2", "components": { "Motor": {}, "Extra": {} } }', "" }))
    local eye = '"children": [ { "name": "eye", "components": { "Motor": { "label": "e", "home": { "x": 5 } } } } ]'
    local pair = changed { '} } } } ]', '} } } }, { "name": "lamp" } ]', '{ "name": "m2"', '{ "name": "m0" }, { "name": "m2"' }
    cell:close()
    cell = start { scene = pair }
    assert.same({
      'scene.json:9:3: entities: the order of the entities changes from m1, m0, m2 to m0, m1, m2; it needs a restart',
      "  kind=restart from=m1, m0, m2 to=m0, m1, m2 restart",
      'scene.json:11:7: entities[1].children: the order of the children of "m1" changes from eye, lamp to lamp, eye; it needs a restart',
      "  kind=restart from=eye, lamp to=lamp, eye restart",
    }, compare(cell, { '{ "name": "m1"', '{ "name": "m0" }, { "name": "m1"', '{ "name": "m0" }, { "name": "m2"', '{ "name": "m2"',
      '[ { "name": "eye"', '[ { "name": "lamp" }, { "name": "eye"', ', { "name": "lamp" } ]', " ]" }, pair))
    pair = changed({ '"drive": "m1/eye"', '"drive": "m1"' }, pair)
    assert.equal('scene.json:10:5: entities[0].children: the entity "m1/eye" is no longer there; it needs a restart',
      compare(cell, { eye:sub(1, -3) .. ', { "name": "lamp" } ]', '"children": [ { "name": "lamp" } ]' }, pair)[1])
  end)

  it("in a value that names an entity which comes with a restart", function()
    local cell = start()
    local replaced = { '"drive": "m1/eye"', '"drive": "m9"', '{ "name": "m2"', '{ "name": "m9" }, { "name": "m2"' }
    assert.same({
      'scene.json:10:105: entities[0].components.Motor.drive: Motor.drive of "m1" changes from "m1/eye" to "m9", and there is no entity "m9" yet; '
        .. "it needs a restart", '  kind=restart entity=m1 component=Motor field=drive from="m1/eye" to="m9" restart',
      'scene.json:12:5: entities[1]: the entity "m9" is new; it needs a restart', "  kind=restart from=none to=there restart",
    }, compare(cell, replaced))
    assert.equal("", apply(cell))
    cell:eval "cell.accept()"
    assert.equal("  kind=restart entity=m1 component=Motor field=drive from=\"m1/eye\" to=\"m9\" restart waiting", compare(cell, replaced)[2])
  end)

  it("and is broken, has all problems told and no changes", function()
    local cell = start()
    assert.same({ "problem: scene.json:2:17: scene: expected ',' or '}'" }, compare(cell, { '"cell",', '"cell"x,' }))
    assert.same({
      'problem: scene.json:2:3: tick_hertz: unknown member, did you mean "tick_hz"?',
      "problem: scene.json:4:48: scripts[0].params.limit: expected a number, the scene gives x",
      'problem: scene.json:5:55: scripts[1].params.txt: main.lua declares no such parameter, did you mean "text"?',
      'problem: scene.json:6:68: links.plc.porrt: unknown setting of a modbus_tcp link, did you mean "port"?',
      'problem: scene.json:7:17: links.plc.points["m1.Motor.sped_rpm"]: Motor has no field "sped_rpm", did you mean "speed_rpm"?',
      'problem: scene.json:8:14: world.Extr: no script declares this component, did you mean "Extra"?',
      'problem: scene.json:10:77: entities[0].components.Motor.mode: expected one of "idle", "auto", got "atuo", did you mean "auto"?',
      'problem: scene.json:10:114: entities[0].components.Motor.drive: there is no entity "m1/eyes", did you mean "m1/eye"?',
      "problem: scene.json:12:15: entities[1].name: an entity \"m1\" is there already",
    }, (function(text)
      local list = {}
      for line in text:gmatch "[^\n]+" do list[#list + 1] = line end
      return list
    end)(cell:eval([[
      local uses = { main = { file = "main.lua" }, second = { file = "main.lua" } }
      for _, use in pairs(uses) do
        use.params_declared = { limit = "", text = "", fast = "" }
        use.param_sets = { { defaults = { limit = 5, text = "t", fast = false }, values = {} } }
      end
      return cell.compare(..., { scripts = uses })]], changed { '"name": "cell",', '"tick_hertz": 5,', '"limit": 6', '"limit": "x"',
      '"text"', '"txt"', '"port"', '"porrt"', "m1.Motor.speed_rpm\"", "m1.Motor.sped_rpm\"",
      '"Extra": { "a"', '"Extr": { "a"', '"idle"', '"atuo"', '"drive": "m1/eye"', '"drive": "m1/eyes"',
      '"name": "m2"', '"name": "m1"' })))
    assert.same({ "problem: scene.json:3:14: scripts[0]: mian.lua: No such file or directory" },
      compare(cell, {}, '{\n\n "scripts": ["mian.lua", "main.lua"] }'))
  end)

  it("and names an entity no more that a script uses, has that told", function()
    local cell = start { script = SCRIPT .. 'local m2 = stator.entity "m2"' }
    local text = ',\n    { "name": "m2", "components": { "Motor": {}, "Extra": {} } }'
    assert.matches('^problem: main.lua:%d+: the scene has no entity "m2", did you mean "m1"%?$', compare(cell, { text, "" })[1])
    assert.equal('scene.json:9:3: entities: the entity "m2" is no longer there; it needs a restart\n  kind=restart from=there to=none restart',
      cell:eval("return cell.compare(..., { used = { entities = {}, links = {} } })", changed { text, "" }))
  end)

  it("is checked against the components as they will be", function()
    local cell = start()
    assert.equal('problem: scene.json:7:17: links.plc.points["m1.Motor.speed_rpm"]: Motor has no field "speed_rpm", did you mean "speed_hz"?\n'
      .. 'problem: scene.json:10:48: entities[0].components.Motor.speed_rpm: Motor has no such field, did you mean "speed_hz"?\n'
      .. 'problem: scene.json:12:50: entities[1].components.Extra: no script declares this component', (cell:eval([[
      local components = require("stator.registry").live.components
      local Motor = components.Motor
      local by_name = {}
      for name, f in pairs(Motor.by_name) do by_name[name == "speed_rpm" and "speed_hz" or name] = f end
      local new = { name = "Motor", by_name = by_name, field_names = { "speed_hz", "mode" }, enums = Motor.enums }
      return cell.compare(..., { components = { Motor = new } })]], changed { '"Extra": { "a": 1 }', "" })))
    assert.equal("", (cell:eval([[
      local components = require("stator.registry").live.components
      return cell.compare(..., { components = function(name) return components[name] end })]], BASE)))
  end)

  it("is read from its file when no text is given", function()
    local cell = start()
    assert.equal(0, (cell:eval "return #require('stator.scene_diff').compare(cell.state).changes"))
    local path = cell:eval "return require('stator.boot').options.scene"
    support.write(path, changed { '"limit": 6', '"limit": 7' })
    assert.equal("7", (cell:eval "return require('stator.scene_diff').compare(cell.state).changes[1].to"))
    os.remove(path)
    assert.matches("No such file", (cell:eval "return require('stator.scene_diff').compare(cell.state).problems[1]"))
  end)
end)

describe("what is in force of a scene", function()
  after_each(support.finish)

  it("goes back to what was before an accept", function()
    local cell = start()
    compare(cell, { '"limit": 6', '"limit": 7' })
    cell:eval "cell.accept()"
    assert.same({}, compare(cell, { '"limit": 6', '"limit": 7' }))
    assert.is_true((cell:eval "return cell.go_back()"))
    assert.equal("  kind=param script=main name=limit from=6 to=7", compare(cell, { '"limit": 6', '"limit": 7' })[2])
  end)

  it("is exact for numbers, and for what a component that was added consists of", function()
    local cell = start()
    assert.equal("  kind=value entity=world component=Extra field=a from=1 to=1.0000000000000002",
      compare(cell, { '"a": 1', '"a": 1.0000000000000002' })[2])
    local added = { '"Motor": {}, "Extra"', '"Tag": {}, "Motor": {}, "Extra"',
      '{ "Motor": { "speed_rpm"', '{ "Extra": { "a": 3, "b": 4 }, "Motor": { "speed_rpm"' }
    compare(cell, added)
    cell:eval "cell.accept()"
    assert.same({}, compare(cell, added))
    assert.equal("  kind=value entity=m1 component=Extra field=b from=4 to=default",
      compare(cell, { added[1], added[2], added[3], (added[4]:gsub(', "b": 4', "")) })[2])
    cell:eval "cell.accept()"
    assert.equal("  kind=component entity=m1 component=Extra from={ a: 3 } to=none restart", compare(cell, { added[1], added[2] })[2])
  end)

  it("outlives the VM also when the script no longer declares a parameter that it had at the start", function()
    local new = [[
local stator = require "stator"
stator.task("u", { restart = { min = 0.1, max = 1 } }, function() print("new") end)]]
    local cell = start { scene = '{ "limits": { "slice_soft_ms": 1, "slice_ms": 4 }, "scripts": [ { "file": "main.lua", "params": { "limit": 6 } } ] }',
      patience = os.getenv "STATOR_PRESET" == "asan" and 10 or 2, script = [[
local stator = require "stator"
local P = stator.params { limit = 5 }
stator.task("t", {}, function()
  stator.await(stator.sleep(0.5))
  string.find(("a"):rep(60), ("a-"):rep(40) .. "b")
end)]] }
    assert.equal("  kind=param script=main name=limit from=6 to=default",
      compare(cell, {}, '{ "limits": { "slice_soft_ms": 1, "slice_ms": 4 }, "scripts": [ "main.lua" ] }')[2])
    cell:eval "cell.accept()"
    cell:eval([[ -- as a reload leaves it
      require("stator.core.keep").put("file:" .. require("stator.boot").options.scene:gsub("scene.json$", "main.lua"),
        require("string.buffer").encode(require("stator.compile").text(..., "main.lua")))]], new)
    cell:advance(1)
    assert.same({ "new" }, support.said(cell, "^new"))
    for _, line in ipairs(cell:logs()) do assert.is_nil(line:find("declares no such parameter", 1, true)) end
  end)

  it("outlives the VM: parameters, settings, and what waits for a restart", function()
    local base = changed { '"name": "cell",', '"name": "cell", "limits": { "slice_soft_ms": 1, "slice_ms": 4 },' }
    local cell = start { scene = base, patience = os.getenv "STATOR_PRESET" == "asan" and 10 or 2, script = SCRIPT .. [[
stator.task("hang", { restart = { min = 0.1, max = 1 } }, function(cmd)
  print("limit", P.limit, P.text, P.fast)
  stator.await(stator.sleep(0.5))
  if stator.persist("lost") then return end
  cmd:persist("lost", true)
  stator.await(cmd:commit())
  string.find(("a"):rep(60), ("a-"):rep(40) .. "b") -- a C function in which only the VM can be given up
end)]] }
    local replaced = { '"limit": 6', '"limit": 7, "fast": true', '"name": "cell",',
      '"name": "cell", "tick_hz": 50, "reload": { "probation_s": 1.5 },' }
    assert.equal(8, #compare(cell, replaced, base))
    assert.is_true((cell:eval "return cell.accept()"))
    cell:advance(1.5)
    cell:eval(INSIDE)
    assert.equal("limit\t7\tt\ttrue", support.said(cell, "^limit\t7")[1])
    assert.equal(1.5, (cell:eval "return require('stator.boot').settings.reload.probation_s"))
    assert.equal(100, (cell:eval "return require('stator.boot').settings.tick_hz"))
    assert.same({
      'scene.json:2:19: tick_hz: the setting "tick_hz" changes from 100 to 50; it still waits for a restart',
      "  kind=restart from=100 to=50 restart waiting",
    }, compare(cell, replaced, base))
  end)
end)

describe("a parameter", function()
  after_each(support.finish)

  local LIVE = [[
local stator = require "stator"
local P = stator.params { limit = 5, text = "t" }
local Q = stator.params { limit = 1, other = true }
local text = P.text
local pause = stator.entity "world"
stator.task("t", {}, function(cmd)
  for _ in stator.every(0.1) do print(P.limit, P.text, Q.limit, Q.other) end
end)
stator.inbox = nil]]
  LIVE = LIVE:gsub("\nstator.inbox = nil", ""):gsub('\nlocal pause = stator.entity "world"', "")

  local USE = [[
    local script = require "stator.script"
    local registry = require "stator.registry"
    use = registry.live.tasks[1].script
    set = script.set_param]]

  it("is replaced while the script runs, in all that stator.params has handed out", function()
    local cell = support.cell { main = LIVE, scene = [=[{ "scripts": [ { "file": "main.lua", "params": { "limit": 6 } } ] }]=] }
    cell:advance(0.05)
    cell:eval(USE)
    assert.is_nil((cell:eval "return set(use, 'limit', 7)"))
    assert.equal(7, (cell:eval "return use.params.limit"))
    cell:advance(0.1)
    assert.is_nil((cell:eval "return set(use, 'limit', nil)"))
    assert.is_nil((cell:eval "return set(use, 'other', false)"))
    cell:advance(0.1)
    assert.same({ "6\tt\t6\ttrue", "7\tt\t7\ttrue", "5\tt\t1\tfalse" }, support.said(cell))
  end)

  it("keeps its type, and has to be declared", function()
    local cell = support.cell { main = LIVE }
    cell:eval(USE)
    assert.equal("expected a number, the scene gives x", (cell:eval "return set(use, 'limit', 'x')"))
    assert.equal('there is no parameter "limt"', (cell:eval "return set(use, 'limt', 1)"))
    assert.is_nil((cell:eval "return use.params.limit"))
    cell:advance(0.05)
    assert.same({ "5\tt\t1\ttrue" }, support.said(cell))
  end)

  it("that a body reads is noted, and not one that is read later", function()
    local cell = support.cell { main = LIVE }
    cell:advance(0.05)
    cell:eval(USE)
    assert.same({ true, nil, nil }, { cell:eval "return use.params_read.text, use.params_read.limit, use.params_read.other" })
  end)
end)
