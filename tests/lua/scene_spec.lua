-- Broken scenes and scripts: what a person is told, to the letter.
local support = require "support"

local SCRIPT = [[
local stator = require "stator"
local Mode = stator.enum("Mode", { "idle", "auto" })
local Motor = stator.component("Motor", { "double speed_rpm", "uint8_t level", "char label[4]", "Mode mode",
  "double joint[3]", "entity drive", "bool on" })
local P = stator.params { limit = 5 }
]]

--- Checks a scene with `stator check`; answers its lines without the folder, and the exit code.
local function check(scene, script, arguments)
  local path, folder = support.scene { scene = scene, scripts = { ["main.lua"] = script or SCRIPT } }
  local out, code = support.shell(("%s check %s %s 2>&1"):format(support.binary, arguments or "", path))
  out = out:gsub(folder:gsub("%-", "%%-") .. "/", "")
  local lines = {}
  for line in out:gmatch("[^\n]+") do lines[#lines + 1] = line end
  return lines, code
end

local function told(scene, expected, script, arguments)
  local lines, code = check(scene, script, arguments)
  expected[#expected + 1] = ("scene.json: %d problem%s; nothing was started"):format(#expected, #expected == 1 and "" or "s")
  assert.same(expected, lines)
  assert.equal(3, code)
end

local function entity(components)
  return ('{ "scripts": ["main.lua"],\n  "entities": [ { "name": "m1", "components": { %s } } ] }'):format(components)
end

describe("a broken scene", function()
  after_each(support.finish)

  it("with a sparse component that is used as another, or declared otherwise elsewhere", function()
    local A = 'local stator = require "stator"\nlocal A = stator.component("A", { "double v" }, { sparse = true })\n'
    local scene = '{ "scripts": ["main.lua"] }'
    told(scene, { "main.lua:3: query: A is sparse: name it in `with`, and get its values by id" },
      A .. "local q = stator.query { read = { A } }")
    told(scene, { 'main.lua:3: component "A": declared as sparse at main.lua:2' },
      A .. 'stator.component("A", { "double v" })')
    told(scene, { 'main.lua:2: component "A": unknown option "spars", did you mean "sparse"?' },
      'local stator = require "stator"\nstator.component("A", {}, { spars = true })')
  end)

  it("whose fields have names that Lua cannot write", function()
    local scene = '{ "scripts": ["main.lua"] }'
    for _, word in ipairs { "end", "and", "nil", "until" } do
      local why = ('field "%s": this is a word of Lua, x.%s cannot be written: give it another name'):format(word, word)
      told(scene, { 'main.lua:2: struct "S": ' .. why, 'main.lua:3: component "C": ' .. why }, ([[
local stator = require "stator"
stator.struct("S", { "double x", "float %s" })
stator.component("C", { "double v", "double %s" })]]):format(word, word))
    end
  end)

  it("whose declarations have a zero byte", function()
    local scene = '{ "scripts": ["main.lua"] }'
    told(scene, { 'main.lua:2: component "C": field 2 is no text such as "double speed_rpm"' },
      'local stator = require "stator"\nstator.component("C", { "double x", "double y\\0z" })')
    told(scene, { 'main.lua:2: component: expected a name, got "C\\000D"' },
      'local stator = require "stator"\nstator.component("C\\0D", { "double x" })')
    told(scene, { 'main.lua:2: struct: expected a name, got 5' }, 'local stator = require "stator"\nstator.struct(5, {})')
  end)

  it("whose scripts bind several components at once has their fields checked by their own names", function()
    told('{ "scripts": ["main.lua"] }', { 'main.lua:3: B has no field "x", did you mean "y"?' },
      'local stator = require "stator"\n' ..
      'local A, B = stator.component("A", { "double x" }), stator.component("B", { "double y" })\n' ..
      "stator.task('t', {}, function(cmd) cmd:spawn { A { x = 1 }, B { x = 1 } } end)")
  end)

  it("that is no JSON", function()
    told('{ "scripts": ["main.lua"],\n  "entities": [ { "name": "a", } ] }',
      { "scene.json:2:32: scene: unexpected ',' before '}'" })
    told('{ "name": "x" "tick_hz": 5 }', { "scene.json:1:15: scene: expected ',' or '}'" })
    told('{ "name": "x\n" }', { "scene.json:1:13: scene: text that began at line 1, column 11 has no closing quote" })
    told('{ // comment\n }', { "scene.json:1:3: scene: expected a name in quotes" })
    told("[1, 2]", { "scene.json:1:1: scene: expected an object, got a list" })
    told("", { "scene.json:1:1: scene: the text ends too early" })
  end)

  it("with a key twice", function()
    told('{ "name": "a",\n  "name": "b" }', { 'scene.json:2:3: scene: "name" is there twice (first at line 1, column 3)' })
  end)

  it("with unknown members, all of them at once", function()
    told('{ "tick_hertz": 5,\n  "entitys": [],\n  "scripts": [] }', {
      'scene.json:1:3: tick_hertz: unknown member, did you mean "tick_hz"?',
      'scene.json:2:3: entitys: unknown member, did you mean "entities"?',
    })
  end)

  it("with values of the wrong type or range", function()
    told('{ "tick_hz": "fast", "react": "soon", "late": 3, "stop_within_s": 9999 }', {
      'scene.json:1:14: tick_hz: expected a number, got "fast"',
      'scene.json:1:31: react: expected one of "immediate", "tick", got "soon"',
      "scene.json:1:47: late: expected text, got 3",
      "scene.json:1:67: stop_within_s: expected 0.1 to 600, got 9999",
    })
  end)

  it("with a script that is not there", function()
    local lines = check('{ "scripts": ["mian.lua"] }')
    assert.equal("scene.json:1:15: scripts[0]: mian.lua: No such file or directory", lines[1])
  end)

  it("with two scripts of one name", function()
    told('{ "scripts": ["main.lua", { "file": "main.lua" }] }',
      { 'scene.json:1:37: scripts[1]: the name "main" is taken by another script: give it "as"' })
  end)

  it("with a parameter that the script does not declare, or of another type", function()
    told('{ "scripts": [ { "file": "main.lua", "params": { "limt": 3 } } ] }',
      { 'scene.json:1:50: scripts[0].params.limt: main.lua declares no such parameter, did you mean "limit"?' })
    told('{ "scripts": [ { "file": "main.lua", "params": { "limit": "x" } } ] }',
      { "main.lua:5: params: limit: expected a number, the scene gives x" })
  end)

  it("with an unknown component or field", function()
    told(entity('"Motr": {}'),
      { 'scene.json:2:49: entities[0].components.Motr: no script declares this component, did you mean "Motor"?' })
    told(entity('"Motor": { "sped_rpm": 1 }'),
      { 'scene.json:2:60: entities[0].components.Motor.sped_rpm: Motor has no such field, did you mean "speed_rpm"?' })
  end)

  it("with field values that do not fit", function()
    told(entity('"Motor": { "speed_rpm": "x", "level": 256, "label": "hello", "mode": "atuo",\n "joint": [1, 2],\n "drive": "m2", "on": 1 }'), {
      'scene.json:2:73: entities[0].components.Motor.speed_rpm: expected a number, got "x"',
      "scene.json:2:87: entities[0].components.Motor.level: expected a whole number from 0 to 255, got 256",
      "scene.json:2:101: entities[0].components.Motor.label: text of 5 bytes; label holds 4",
      'scene.json:2:118: entities[0].components.Motor.mode: expected one of "idle", "auto", got "atuo", did you mean "auto"?',
      "scene.json:3:11: entities[0].components.Motor.joint: expected 3 values, got 2",
      'scene.json:4:11: entities[0].components.Motor.drive: there is no entity "m2", did you mean "m1"?',
      "scene.json:4:23: entities[0].components.Motor.on: expected true or false, got 1",
    })
  end)

  it("with a struct that does not fit", function()
    local nested = SCRIPT .. [[
stator.struct("Vec", { "double x (..9)", "Mode mode" })
stator.component("Plan", { "Vec home", "Vec mark[2]" })
]]
    told(entity('"Plan": { "home": { "x": 10, "z": 1 }, "mark": [{}, { "mode": "atuo" }] }'), {
      "scene.json:2:74: entities[0].components.Plan.home.x: expected a number of at most 9, got 10",
      "scene.json:2:78: entities[0].components.Plan.home.z: Vec has no such field, did you mean \"x\"?",
      'scene.json:2:111: entities[0].components.Plan.mark[1].mode: expected one of "idle", "auto", got "atuo", did you mean "auto"?',
    }, nested)
  end)

  it("with a value outside of its field's range", function()
    local ranged = SCRIPT .. [[
local Oven = stator.component("Oven", { "double temp_c = 20 [degC] (-40..150)", "float ratio (-0.7..0.7)",
  "int16_t step (..9)" })
]]
    told(entity('"Oven": { "temp_c": 151, "ratio": -0.71, "step": 10 }, "Motor": { "speed_rpm": 1e300 }'), {
      "scene.json:2:69: entities[0].components.Oven.temp_c: expected a number from -40 to 150, got 151",
      "scene.json:2:83: entities[0].components.Oven.ratio: expected a number from -0.7 to 0.7, got -0.71",
      "scene.json:2:98: entities[0].components.Oven.step: expected a whole number from -32768 to 9, got 10",
    }, ranged)
    assert.equal(0, select(2, check(entity('"Oven": { "temp_c": 150, "ratio": 0.7, "step": 9 }'), ranged)))
  end)

  it("with bad names of entities", function()
    told('{ "entities": [ { "name": "a/b" }, { "name": "world" }, {}, { "name": "x" }, { "name": "x" } ] }', {
      'scene.json:1:27: entities[0].name: "a/b" is no name: 1 to 63 bytes, without "/" and "."',
      'scene.json:1:46: entities[1].name: "world" is a name of the host',
      'scene.json:1:57: entities[2]: an entity needs a "name"',
      'scene.json:1:88: entities[4].name: an entity "x" is there already',
    })
  end)

  it("with a broken link", function()
    told('{ "links": { "plc": { "driver": "modbus" }, "b": {}, "c": { "driver": "modbus_tcp", "prot": 1 } } }', {
      'scene.json:1:33: links.plc.driver: expected one of "modbus_tcp", got "modbus"',
      'scene.json:1:50: links.b: a link needs a "driver": modbus_tcp',
      'scene.json:1:59: links.c: setting "host" is missing',
      'scene.json:1:85: links.c.prot: unknown setting of a modbus_tcp link, did you mean "port"?',
    })
    told('{ "links": { "c": { "driver": "modbus_tcp", "host": "h", "unit": 1.5 } } }',
      { "scene.json:1:66: links.c.unit: expected a whole number, got 1.5" })
    told('{ "links": { "c": { "driver": "modbus_tcp", "simulate": "x.lua" } } }',
      { "scene.json:1:57: links.c.simulate: x.lua: No such file or directory" })
    told('{ "links": { "c": { "driver": "modbus_tcp", "host": "h", "port": 70000 } } }',
      { "scene.json:1:66: links.c.port: expected 1 to 65535, got 70000" })
  end)

  it("with broken points", function()
    told('{ "scripts": ["main.lua"], "links": { "plc": { "driver": "modbus_tcp", "host": "h", "points": {\n'
      .. '"m1.Motor": "di 1",\n"m2.Motor.on": "di 1",\n"m1.Motr.on": "di 1",\n"m1.Motor.onn": "di 1",\n'
      .. '"m1.Motor.on": "dx 1",\n"m1.Motor.level": "di 1",\n"m1.Motor.speed_rpm": "hr 70000",\n"m1.Motor.label": "hr 1",\n'
      .. '"m1.Motor.mode": "hr 1 f33" } } },\n"entities": [ { "name": "m1", "components": { "Motor": {} } } ] }', {
      'scene.json:2:1: links.plc.points["m1.Motor"]: expected "entity.Component.field"',
      'scene.json:3:1: links.plc.points["m2.Motor.on"]: there is no entity "m2", did you mean "m1"?',
      'scene.json:4:1: links.plc.points["m1.Motr.on"]: no script declares a component "Motr", did you mean "Motor"?',
      'scene.json:5:1: links.plc.points["m1.Motor.onn"]: Motor has no field "onn", did you mean "on"?',
      'scene.json:6:16: links.plc.points["m1.Motor.on"]: unknown area "dx", did you mean "di"?; expected di, coil, ir or hr',
      'scene.json:7:19: links.plc.points["m1.Motor.level"]: a bit needs a bool field, this one is uint8_t',
      'scene.json:8:23: links.plc.points["m1.Motor.speed_rpm"]: "70000" is no address from 0 to 65535',
      'scene.json:9:19: links.plc.points["m1.Motor.label"]: a point fills a single number or bool',
      'scene.json:10:18: links.plc.points["m1.Motor.mode"]: "f33" is no type (u16 i16 u32 i32 f32 u64 i64 f64), '
        .. 'order (abcd cdab badc dcba) or "in"',
    })
    told('{ "scripts": ["main.lua"], "tick_hz": -1, "links": { "plc": { "driver": "modbus_tcp", "host": "h", "points": {\n'
      .. '"m1.Motor.level": "ir 1",\n"m1.Motor.speed_rpm": "hr 65535 f64",\n"m1.Motor.on": "di 1" } },\n'
      .. '"b": { "driver": "modbus_tcp", "host": "h", "points": { "m1.Motor.on": "di 2" } } },\n'
      .. '"entities": [ { "name": "m1", "components": { "Motor": { "spead_rpm": 1 } } } ] }', {
      "scene.json:1:39: tick_hz: expected 0.1 to 10000, got -1",
      'scene.json:2:19: links.plc.points["m1.Motor.level"]: not every u16 fits uint8_t',
      'scene.json:3:23: links.plc.points["m1.Motor.speed_rpm"]: f64 at 65535 goes past address 65535',
      'scene.json:5:57: links.b.points["m1.Motor.on"]: link plc fills this field already',
      'scene.json:6:58: entities[0].components.Motor.spead_rpm: Motor has no such field, did you mean "speed_rpm"?',
    })
  end)

  it("whose scripts use entities, links and components that are not there", function()
    told('{ "scripts": ["main.lua"], "entities": [ { "name": "belt1" } ] }', {
      'main.lua:2: component "Safty" is declared nowhere',
    }, 'local stator = require "stator"\nlocal S = stator.component "Safty"\n')
    told('{ "scripts": ["main.lua"], "entities": [ { "name": "belt1" } ] }', {
      'main.lua:2: the scene has no entity "belt2", did you mean "belt1"?',
      'main.lua:3: the scene has no link "plc"',
    }, 'local stator = require "stator"\nlocal b = stator.entity "belt2"\nlocal p = stator.link "plc"\n')
  end)

  it("with parameters that are not there", function()
    told('{ "params": { "hz": 50 }, "tick_hz": "$hzz" }',
      { 'scene.json:1:38: tick_hz: there is no parameter "hzz", did you mean "hz"?' })
    told('{ "params": { "hz": 50 }, "tick_hz": "$hz" }', {
      '--set hx=1: the scene has no parameter "hx", did you mean "hz"?',
      "--set hz=fast: expected a number",
    }, nil, "--set hx=1 --set hz=fast")
  end)

  it("with limits that are none", function()
    told('{ "limits": { "slice_soft_ms": 50, "slice_ms": 5, "heap_mb": 1, "taks": 4, "lost_vms": 0 } }', {
      "scene.json:1:32: limits.slice_soft_ms: expected at most slice_ms (5), got 50",
      "scene.json:1:62: limits.heap_mb: expected 8 to 1536, got 1",
      'scene.json:1:65: limits.taks: unknown member, did you mean "tasks"?',
      "scene.json:1:88: limits.lost_vms: expected 1 to 1e+06, got 0",
    })
  end)

  it("with settings of reload that are none", function()
    told('{ "reload": { "lock": 1, "watch": "event", "probation_s": 3601, "max_faults": 1.5, "wach": true } }', {
      "scene.json:1:23: reload.lock: expected true or false, got 1",
      'scene.json:1:35: reload.watch: expected one of "events", "poll", "off", got "event", did you mean "events"?',
      "scene.json:1:59: reload.probation_s: expected 0 to 3600, got 3601",
      "scene.json:1:79: reload.max_faults: expected a whole number, got 1.5",
      'scene.json:1:84: reload.wach: unknown member, did you mean "watch"?',
    })
    told('{ "reload": { "max_faults": 1001 } }', { "scene.json:1:29: reload.max_faults: expected 0 to 1000, got 1001" })
    told('{ "reload": false }', { "scene.json:1:13: reload: expected an object, got false" })
  end)

  it("that is no file", function()
    local out, code = support.shell(support.binary .. " check /nonexistent/scene.json 2>&1")
    assert.equal(3, code)
    assert.matches("^/nonexistent/scene.json: No such file or directory\n", out)
  end)
end)

describe("a good scene", function()
  after_each(support.finish)

  it("may name the entities that the host makes", function()
    local said = support.run_task([[
      print(stator.entity("scripts/main"):path(), stator.entity("world"):alive())]])
    assert.same({ "scripts/main\ttrue" }, said)
    local cell = support.cell [[
local stator = require "stator"
local me = stator.entity "scripts/main"
stator.task("t", {}, function() print(me:path()) end)]]
    cell:advance(0.1)
    assert.same({ "scripts/main" }, support.said(cell))
  end)

  it("is told to be good", function()
    local lines, code = check(entity('"Motor": { "mode": "auto", "drive": "m1", "joint": [1, 2, 3], "label": "abcd" }'))
    assert.same({ "scene.json: ok: 1 entities, 1 scripts, 0 links" }, lines)
    assert.equal(0, code)
  end)

  it("has settings of reload, each with a default", function()
    local settings = [[
      local r = require("stator.boot").settings.reload
      return r.lock, r.watch, r.probation_s, r.max_faults]]
    local cell = support.cell { main = SCRIPT }
    assert.same({ false, "events", 10, 3 }, { cell:eval(settings) })
    cell = support.cell { main = SCRIPT, settings = '"reload": { "watch": "poll", "max_faults": 0 }' }
    assert.same({ false, "poll", 10, 0 }, { cell:eval(settings) })
    cell = support.cell { main = SCRIPT, settings = '"reload": { "lock": true, "watch": "off", "probation_s": 0 }' }
    assert.same({ true, "off", 0, 3 }, { cell:eval(settings) })
  end)

  it("takes parameters from the command line, with their type and inside text", function()
    local cell = support.cell {
      scene = [=[{ "params": { "rpm": 1, "tag": "a" }, "scripts": ["main.lua"],
        "entities": [ { "name": "m1", "components": { "Motor": { "speed_rpm": "$rpm", "label": "x${tag}y" } } } ] }]=],
      scripts = { ["main.lua"] = SCRIPT .. [[
stator.task("t", {}, function() local m = stator.entity("m1"):get(Motor) print(m.speed_rpm, m.label, P.limit) end)]] },
      sets = { "rpm=7.5", "tag=b" },
    }
    cell:advance(0.02)
    assert.same({ "7.5\txby\t5" }, support.said(cell))
  end)

  it("uses one script twice, each with its own parameters and locals", function()
    local cell = support.cell {
      scene = [=[{ "scripts": [ { "file": "main.lua", "as": "main_a", "params": { "limit": 1 } },
        { "file": "main.lua", "as": "main_b" } ] }]=],
      scripts = { ["main.lua"] = SCRIPT .. [[
local count = 0
stator.task("t", {}, function() count = count + P.limit print(count) end)]] },
    }
    cell:advance(0.02)
    assert.same({ "1", "5" }, support.said(cell))
  end)

  it("gives entities parents, references by path, and world components", function()
    local cell = support.cell {
      scene = [=[{ "scripts": ["main.lua"], "world": { "Motor": { "level": 3 } }, "entities": [
        { "name": "a", "components": { "Motor": { "drive": "a/b" } }, "children": [ { "name": "b" } ] } ] }]=],
      scripts = { ["main.lua"] = SCRIPT .. [[
stator.task("t", {}, function()
  local a = stator.entity "a"
  print(a:get(Motor).drive == a:child("b"), a:child("b"):path(), a:child("b"):parent() == a:id(), stator.world:get(Motor).level)
end)]] },
    }
    cell:advance(0.02)
    assert.same({ "true\ta/b\ttrue\t3" }, support.said(cell))
  end)
end)

describe("a broken script", function()
  after_each(support.finish)

  local SCENE = '{ "scripts": ["main.lua"] }'

  it("with a syntax error", function()
    told(SCENE, { "main.lua:2: '=' expected near 'x'" }, "local stator = require 'stator'\nlocl x = 1\n")
  end)

  it("with an error in its body", function()
    told(SCENE, { "main.lua:2: attempt to index local 'a' (a nil value)" }, "local a\nprint(a.b)\n")
    told(SCENE, { 'main.lua:1: unknown name "foo"' }, "foo()\n")
    told(SCENE, { 'main.lua:1: "foo" is not declared: write `local foo = ...`' }, "foo = 1\n")
    told(SCENE, { 'main.lua:1: stator has no "tsk", did you mean "task"?' }, "require('stator').tsk()\n")
    told(SCENE, { "main.lua:1: io.open is not there for scripts: the loop must not block: use stator.file, links "
      .. "for devices, components for values" }, "local f = io.open('x')\n")
    told(SCENE, { "main.lua:1: os.execute is not there for scripts: the loop must not block: use stator.process.run" }, "os.execute('ls')\n")
    told(SCENE, { "main.lua:1: ffi is not there for scripts: components are typed views already" }, "local x = ffi.new('int')\n")
  end)

  it("with declarations that do not hold", function()
    local function body(text) return 'local stator = require "stator"\nlocal C = stator.component("C", { "double x" })\n' .. text end
    told(SCENE, { 'main.lua:3: system "s": unknown option "evry", did you mean "every"?' }, body "stator.system('s', { evry = 1 }, print)")
    told(SCENE, { 'main.lua:3: system "s": expected a function, got nil' }, body "stator.system('s', {})")
    told(SCENE, { 'main.lua:3: system "s": unknown phase "late"' }, body "stator.system('s', { phase = 'late' }, print)")
    told(SCENE, { 'main.lua:3: system "s": read expects a list of components, as { Pose }' }, body "stator.system('s', { read = C }, print)")
    told(SCENE, { 'main.lua:4: task "s": the name is taken at main.lua:3' },
      body "stator.system('s', {}, print)\nstator.task('s', {}, print)")
    told(SCENE, { 'main.lua:3: component "C": declared with other fields at main.lua:2' }, body "stator.component('C', { 'float x' })")
    told(SCENE, { 'main.lua:3: component "D": field "flot x": unknown type "flot" (expected bool, int8_t, uint8_t, int16_t, '
      .. "uint16_t, int32_t, uint32_t, float, double, char, entity, an enum or a struct)" }, body "stator.component('D', { 'flot x' })")
  end)

  it("with field names that no component has, on whatever path", function()
    told(SCENE, {
      'main.lua:5: Motor has no field "spead", did you mean "speed"?',
      'main.lua:7: Motor has no field "on", did you mean "ok"?',
      'main.lua:8: Motor has no field "sped", did you mean "speed"?',
    }, [[
local stator = require "stator"
local Motor = stator.component("Motor", { "double speed", "bool ok", "double joint[2]" }) -- { spead = 1 }
stator.task("t", {}, function(cmd)
  if stator.now() > 1e6 then
    cmd:set(stator.world, Motor, { spead = 1, joint = { 1, x == 2 } })
    local text = "Motor { nope = 1 }"
    stator.await(stator.world:when(Motor, { on = true }))
    cmd:spawn { Motor { ok = true, sped = 2 }, Motor { speed = f { a = 1 } } }
  end
end)]])
  end)

  it("but not with fields of its own functions that take a component", function()
    local cell = support.cell [[
local stator = require "stator"
local C, D = stator.component("C", { "double v" }), stator.component("D", { "double v" })
local function helper(_, component, options) return component.name .. options.speed end
local own = { when_all = helper, set = helper, C = function(t) return t.speed end }
local function with(D) return D { speed = 5 } end
stator.task("t", {}, function(cmd)
  cmd:insert(stator.world, C, { v = 1 })
  stator.await(cmd:commit())
  print(helper(cmd, C, { speed = 1 }), own:set(C, { speed = 2 }), own.set(1, C, { speed = 3 }), own.C { speed = 4 })
  print(pcall(stator.world.get, stator.world, C, { max_age_s = 1 }))
  print(with(function(t) return t.speed end), (function(_, c, o) return o.speed end)(cmd, D, { speed = 6 }))
end)]]
    cell:advance(0.1)
    assert.same({ "C1\tC2\tC3\t4" }, support.said(cell, "^C1"))
    assert.same({ "5\t6" }, support.said(cell, "^5"))
    assert.same({}, support.faults(cell))
  end)

  it("with fields of commands that no component has, wherever the component is named", function()
    told(SCENE, {
      'main.lua:4: Motor has no field "spead", did you mean "speed"?', 'main.lua:5: Motor has no field "seed", did you mean "speed"?',
      'main.lua:6: Motor has no field "sped", did you mean "speed"?',
      'main.lua:7: Motor has no field "spd"', 'main.lua:8: Motor has no field "peed", did you mean "speed"?',
    }, [[
local stator = require "stator"
local Motor = stator.component("Motor", { "double speed" })
stator.task("t", {}, function(cmd)
  cmd:insert(stator.entity({ "a", "b" }), Motor, { spead = 1 })
  stator.cmd:add(f(1, { 2, 3 }), Motor, { seed = 1 })
  cmd:set_many({ 1, 2 }, Motor, { sped = 1 })
  stator.world:rising(Motor, { spd = true })
  return pcall(f, Motor { peed = 1 })
end)]])
  end)

  it("waiting in its body", function()
    told(SCENE, { "main.lua:2: operations are made inside a task: a system, an observer or a script's body cannot wait" },
      "local stator = require 'stator'\nstator.await(stator.sleep(1))\n")
    for _, call in ipairs { "pcall(ch.receive, ch)", "pcall(stator.semaphore(1).acquire, stator.semaphore(1))" } do
      told(SCENE, { "main.lua:3: operations are made inside a task: a system, an observer or a script's body cannot wait" },
        ("local stator = require 'stator'\nlocal ch = stator.channel { cap = 1 }\nlocal _, e = %s\nerror(e, 0)"):format(call))
    end
  end)

  it("requires modules of its folder, each once", function()
    local cell = support.cell {
      scene = SCENE,
      scripts = {
        ["main.lua"] = "local stator = require 'stator'\nlocal a, b = require 'parts', require 'parts'\n"
          .. "stator.task('t', {}, function() print(a == b, a.v, pcall(require, 'nope')) end)",
      },
      files = { ["parts.lua"] = "return { v = 7 }" },
    }
    cell:advance(0.02)
    assert.matches("^true\t7\tfalse\tmain.lua:3: require: modules are loaded in a script's body", support.said(cell)[1])
    told(SCENE, { "main.lua:1: require \"nope\": nope.lua: No such file or directory" }, "local x = require 'nope'\n")
  end)
end)

describe("an error while the cell runs", function()
  after_each(support.finish)

  it("in a task, a system or an observer is a fault with its place; the rest goes on", function()
    local cell = support.cell {
      main = [[
local stator = require "stator"
local N = stator.component("N", { "double v" })
local e = stator.entity "e"
stator.task("bad", {}, function() local x = nil; x.y = 1 end)
stator.system("bad_system", { every = 0.05 }, function() error("system broke") end)
stator.observer("bad_observer", { changed = N }, function() error({ code = "own", message = "observer broke" }) end)
stator.task("good", {}, function(cmd)
  cmd:set(e, N, { v = 1 })
  stator.await(stator.sleep(0.2))
  print("still here")
end)]],
      entities = [=[ [ { "name": "e", "components": { "N": {} } } ] ]=],
    }
    cell:advance(0.3)
    assert.same({
      "attempt to index local 'x' (a nil value) [scripts/main] (main.lua:4)",
      "observer broke [scripts/main] (main.lua:6)",
      "system broke [scripts/main] (main.lua:5)",
    }, (function(list) table.sort(list) return list end)(support.faults(cell)))
    assert.equal("still here", support.said(cell, "still")[1])
  end)
end)
