-- Many reloads: random ones against a model, and that nothing is left of them.
local reloading = require "reloading"
local support = require "support"

local ENTITIES = [=[[ { "name": "box", "components": { "A": { "x": 3 } } } ]]=]

-- versions of two scripts. Both name A; what they make of it differs.
local A = { '"double x"', '"double x", "double y = 1"', '"float y", "int32_t x"', '"double x", "Mode m"' }
local MODES = { '"idle", "auto"', '"auto", "idle", "hand"' }
local MORE_A = {
  "",
  'stator.task("t", {}, function() await(stator.sleep(1e6)) end)\n',
  'stator.task("u", { on_reload = "finish", finish_s = 0.05 }, function() await(stator.sleep(1e6)) end)\nstator.system("s", { read = { P } }, '
    .. 'function() end)\n',
  'stator.per_entity("e", { with = { P } }, function() stator.defer(function() await(stator.sleep(0.02)) end) await(stator.sleep(1e6)) end)\n',
  'local E = stator.event("E", { "int32_t n" })\nlocal inbox = stator.inbox(E)\nstator.task("h", {}, function() for _ in inbox:each() do end '
    .. 'end)\nstator.task("t", {}, function(cmd) for _ in stator.every(0.05) do cmd:send(E, { n = 1 }) end end)\n',
}
local MORE_B = {
  'stator.system("w", { write = { P } }, function(_, q) for _, row in q:each() do row.x = row.x end end)\n',
  'stator.service("ask", function() return 1 end)\nstator.component("B", { "double a" })\n',
  'local B = stator.component("B", { "double a", "char b[8]" })\nstator.observer("o", { changed = P }, function() end)\n',
  'stator.async_system("y", { every = 0.03, read = { P } }, function() await(stator.sleep(1)) end)\nlocal V = stator.struct("V", { "double q" '
    .. '})\nstator.component("C", { "V v[2]" })\n',
  'local V = stator.struct("V", { "double q", "int32_t r" })\nstator.component("C", { "V v[2]" })\nstator.machine("m", { on = "box", start = "a" }, { '
    .. 'a = function() await(stator.sleep(1e6)) end })\n',
}
local BAD = {
  a = { "local x = = 1\n", "error 'no'\n", 'stator.component "Nowhere"\n', 'stator.component("Z", { "double k" })\nstator.component("A", { "char x[8]" })\n' },
  b = { "local x = = 1\n", 'require "nix"\n', 'stator.component("A", { "double other" })\n' },
}
local FAULTY = 'stator.task("f", { restart = { min = 0.05, max = 0.05 } }, function() error "bang" end)\n'

local function script_a(i, mode, more) return ('local Mode = stator.enum("Mode", { %s })\nlocal P = stator.component("A", { %s '
  .. '})\n'):format(MODES[mode], A[i]) .. MORE_A[more] end
local function script_b(more) return 'local P = stator.component "A"\n' .. MORE_B[more] end

local shapes, scratch = {}, nil

--- What a cell that starts with two texts is like.
local function fresh(files)
  local key = files["a.lua"] .. "\0" .. files["b.lua"]
  if not shapes[key] then
    for name, text in pairs(files) do support.write(scratch .. "/" .. name, reloading.HEAD .. text) end
    shapes[key] = reloading.fresh(scratch, 0.3)
  end
  return shapes[key]
end

local function copy(t)
  local out = {}
  for k, v in pairs(t) do out[k] = v end
  return out
end

local function run(seed, steps)
  local state = seed
  local function random(n) -- the same everywhere
    state = (state * 48271) % 2147483647
    return state % n + 1
  end
  local files = { ["a.lua"] = script_a(1, 1, 1), ["b.lua"] = script_b(1) }
  local settings = '"probation_s": 1000, "max_faults": 3'
  local r = reloading.open { scripts = copy(files), entities = ENTITIES, reload = settings }
  local other = reloading.open { scripts = copy(files), entities = ENTITIES }
  scratch = other.folder
  shapes = {}
  local in_force, accepted, disk = copy(files), nil, copy(files)
  local log = {}
  local function note(...) log[#log + 1] = table.concat({ ... }, " ") end
  for _ = 1, steps do
    local what = random(10)
    if what <= 6 then
      for _ = 1, random(2) do
        local is_bad = random(5) == 1
        if random(2) == 1 then
          disk["a.lua"] = is_bad and script_a(random(3), 1, 1) .. BAD.a[random(#BAD.a)] or script_a(random(#A), random(#MODES), random(#MORE_A))
        else
          disk["b.lua"] = is_bad and script_b(1) .. BAD.b[random(#BAD.b)] or script_b(random(#MORE_B))
        end
        if random(6) == 1 then disk["b.lua"] = script_b(random(#MORE_B)) .. FAULTY end
      end
      for name, text in pairs(disk) do r:save(text, name) end
      local before = r:shape()
      local ok, message = r:ask("reload", { drop = "B C" })
      note("reload", tostring(ok), message)
      if ok and message ~= "nothing has changed" then
        accepted = accepted or in_force
        in_force = copy(disk)
      elseif not ok then
        assert.equal(before, r:shape(), table.concat(log, "\n"))
      end
    elseif what <= 8 then
      local ok, message = r:ask "accept"
      note("accept", tostring(ok), message)
      accepted = nil
    else
      local ok, message = r:ask "revert"
      note("revert", tostring(ok), message)
      assert.equal(accepted ~= nil, ok, table.concat(log, "\n"))
      in_force, accepted = accepted or in_force, nil
    end
    r.cell:advance(1)
    if accepted and in_force["b.lua"]:find('"f"', 1, true) and accepted["b.lua"] ~= in_force["b.lua"] then
      note "faults"
      in_force, accepted = accepted, nil
    end
    assert.equal(fresh(in_force), r:shape(), table.concat(log, "\n"))
    assert.equal(3, r:value("box", "A", "x"), table.concat(log, "\n"))
    assert.is_nil(r.cell:check())
    assert.equal(accepted and "probation" or "idle", r:phase(), table.concat(log, "\n"))
  end
  return r
end

describe("many reloads", function()
  after_each(support.finish)

  for seed = 1, 8 do
    it("RL16: after each of random ones the cell is as one that starts with the code in force, seed " .. seed, function()
      run(seed * 7919, 40)
    end)
  end

  --- What is in use: after everything that can be collected is.
  local function in_use(r)
    r:eval "require('jit').flush() for _ = 1, 4 do collectgarbage() end"
    r.cell:advance(0.05)
    r:eval "for _ = 1, 4 do collectgarbage() end"
    local tasks, watches, timers, handles, _, _, _, _, references, operations = r.cell:counts()
    local heap = select(2, r.cell:memory())
    return { tasks, watches, timers, handles, references, operations }, heap
  end

  it("RL16: 300 reloads leave nothing behind: tasks, operations, references, memory", function()
    local r = reloading.open { entities = ENTITIES, scripts = { ["a.lua"] = script_a(1, 1, 5), ["b.lua"] = script_b(1) } }
    local function once(i)
      r:change(script_a(i % 2 + 1, i % 2 + 1, i % 2 == 0 and 5 or 4) .. "-- " .. i % 2, "a.lua")
      r.cell:advance(0.1)
    end
    for i = 1, 20 do once(i) end
    -- names of ended tasks are kept in a ring: all its entries are there
    r:eval "for _ = 1, 4096 do require('stator.past').add { handle = 0, name = 'x' } end"
    local before, heap = in_use(r)
    for i = 1, 300 do once(i) end
    local after, heap_after = in_use(r)
    assert.same(before, after)
    assert.is_true(heap_after < heap * 1.02 + 65536, ("%d bytes, then %d"):format(heap, heap_after))
  end)

  it("RL16: 1,000 reloads between two layouts make no more types for FFI than the first ones", function()
    local r = reloading.open { entities = ENTITIES, main = script_a(1, 1, 1) }
    local function id() return r:eval [[
      local ffi = require "ffi"
      return tonumber(ffi.typeof("struct { char c" .. math.random(1e9) .. "; }"))]] end
    local function once(i) r:change(script_a(i % 2 + 2, i % 2 + 1, i % 2 + 3)) end
    for i = 1, 4 do once(i) end
    local from = id()
    for i = 1, 1000 do once(i) end
    assert.is_true(id() - from < 200, tostring(id() - from))
    assert.equal(1005, r:revision())
    assert.equal(3, r:value("box", "A", "x"))
    assert.is_nil(r.cell:check())
  end)
end)
