-- Work on another thread, in a state of its own. On virtual time: it stands still while work runs.
local ordinals = require "io_ordinals"
local support = require "support"

local FILES = {
  ["add.lua"] = "return function(...) local sum = 0 for i = 1, select('#', ...) do sum = sum + select(i, ...) end return sum end",
  ["many.lua"] = [[
    local M = {}
    function M.back(...) return ... end
    function M.nothing() end
    function M.deep() return { { { "x", [3] = true } } } end
    function M.print() return pcall end
    function M.meta() return setmetatable({}, {}) end
    function M.helper(x) return require("sub.helper")(x) end
    function M.loop() local i = 0 while true do i = i + 1 end end
    function M.swallow() while true do pcall(M.loop) end end
    function M.eat() local t = {} for i = 1, 1e9 do t[i] = ("x"):rep(100) .. i end end
    function M.grow() local s = "x" while true do s = s .. s end end
    function M.names() return pcall(function() return io end), pcall(require, "stator"), pcall(function() unknown = 1 end) end
    function M.recurses(n) return 1 + M.recurses(n + 1) end
    function M.coded() error({ code = "no_way", message = "there is none" }) end
    function M.counts() counter = nil end
    function M.compute(n) local x = 0 for i = 1, n do x = x + i % 7 end return x end
    return M]],
  ["sub/helper.lua"] = "return function(x) return x * 2 end",
  ["boom.lua"] = "local function inner()\n  error 'boom'\nend\nreturn function() inner() return 1 end",
  ["rows.lua"] = [[
    return function()
      local rows = {}
      for i = 1, 1e9 do rows[i] = { { i, name = "row" .. i, { i } }, cost = function() return { i, i } end } end
    end]],
  ["broken.lua"] = "return function( end",
  ["seven.lua"] = "return 7",
}

local function cell_of(body, options)
  local path, folder = support.scene { scripts = { ["main.lua"] = ([[
    local stator = require "stator"
    local await = stator.await
    stator.task("t", { restart = "never" }, function(cmd)
    %s
    end)]]):format(body) } }
  support.shell("mkdir " .. folder .. "/sub")
  for name, text in pairs(FILES) do support.write(folder .. "/" .. name, text) end
  local cell = support.cell { path = path, virtual = not (options and options.real), patience = options and options.patience }
  return cell
end

local function run(body)
  local cell = cell_of(body)
  cell:advance(10)
  return support.said(cell), support.faults(cell), cell
end

describe("stator.work", function()
  after_each(support.finish)

  it("Y16: runs a function of a module of the script's folder, by value", function()
    assert.same({ "6", "1\tnil\tfalse\tx\tnil\t6", "0", "true\tx", "42" }, run [[
      print(await(stator.work("add", 1, 2, 3)))
      print(select(1, await(stator.work("many:back", 1, nil, false, "x", nil))), nil, false, "x", nil,
        select("#", await(stator.work("many:back", 1, nil, false, "x", nil, nil))))
      print(select("#", await(stator.work "many:nothing")))
      local deep = await(stator.work "many:deep")
      print(deep[1][1][3], deep[1][1][1])
      print(await(stator.work("many:helper", 21)))]])
  end)

  it("Y16: takes no virtual time, so a run is the same every time", function()
    assert.same({ "true" }, run [[
      local before = stator.now()
      local list = {}
      for i = 1, 6 do list[i] = stator.start(stator.work("many:compute", 1e6)) end
      for i = 1, 6 do await(list[i]) end
      print(stator.now() == before)]])
  end)

  it("Y17: the state has nothing of the host", function()
    local said = run [[
      local a, b, c, d, e, f = await(stator.work "many:names")
      print(a, b, c, d, e, f)]]
    assert.matches("^false\tfalse\tfalse\tmany.lua:12: \"unknown\" is not declared", said[1])
  end)

  it("Y18: an error comes with its line, its code and both traces", function()
    local said, faults, cell = run [[
      local _, e = stator.try(await, stator.work "boom")
      print(e.code, e.message)
      print(e.trace:find("boom.lua:4", 1, true) ~= nil, e.trace:find("main.lua:4", 1, true) ~= nil)
      for i, name in ipairs { "missing", "broken", "seven", "many:loup", "many:print", "many:meta", "many:coded" } do
        _, e = stator.try(await, stator.work(name))
        print(i, e.code, e.message)
      end]]
    assert.same({}, faults)
    assert.is_truthy(cell)
    assert.same({ "error\tboom.lua:2: boom", "true\ttrue", "1\terror\tmissing.lua: there is no such file in the script's folder" },
      { said[1], said[2], said[3] })
    assert.matches("^2\terror\tbroken.lua:1: ", said[4])
    assert.equal("3\terror\tseven.lua: expected it to return a function, got number", said[5])
    assert.equal('4\terror\tmany.lua: it returns no function "loup", did you mean "loop"?', said[6])
    assert.equal("5\terror\tresult[1] is a function: only plain data comes back from work", said[7])
    assert.equal("6\terror\tresult[1] has a metatable: only plain data comes back from work", said[8])
    assert.equal("7\tno_way\tthere is none", said[9])
  end)

  it("Y18: refuses what is no plain data, at the script's line", function()
    local said = run [[
      print((select(2, pcall(stator.work, "add", print))))
      print((select(2, pcall(stator.work, "../add"))))
      local loop = {} loop.loop = loop
      print((select(2, pcall(stator.work, "add", 1, loop))))]]
    assert.matches("main.lua:%d+: work: argument 1 is a function: only plain data goes into work", said[1])
    assert.matches('work: expected "module" or "module:function", got "../add"', said[2])
    assert.matches("argument 2%[loop%].*nested more than 32 deep", said[3])
  end)

  it("Y19: the memory of work is bounded", function()
    assert.same({ "1\tmemory", "2\tmemory", "3" }, run [[
      for i, name in ipairs { "many:eat", "many:grow" } do
        local _, e = stator.try(await, stator.work(name))
        print(i, e.code)
      end
      print(await(stator.work("add", 1, 2)))]])
  end)

  it("Y19: a recursion of work without end has the code stack", function()
    assert.same({ "stack\ttrue" }, run [[
      local _, e = stator.try(await, stator.work("many:recurses", 1))
      print(e.code, e.message:find("stack overflow", 1, true) ~= nil)]]) -- LuaJIT may leave the handler out, so no trace
  end)

  it("Y19: work that does not end is stopped, also when it catches its errors, and its waiter goes on at once", function()
    local cell = cell_of([[
      for i, name in ipairs { "many:loop", "many:swallow", "many:loop", "many:swallow" } do
        local _, e = stator.try(stator.within, 0.05, await, stator.work(name))
        print(i, e.code)
      end
      print("sum", await(stator.work("add", 1, 2))) -- there is a thread for it]], { real = true })
    support.wait_for(cell, "sum", 20)
    assert.same({ "1\ttimeout", "2\ttimeout", "3\ttimeout", "4\ttimeout", "sum\t3" }, support.said(cell))
  end)

  it("Y19: work can be taken back at any moment: while its state starts, its module is parsed, it allocates", function()
    local parts = { "local M = {}" }
    for i = 1, 3000 do
      parts[#parts + 1] = ("function M.f%d(a) local t = { a, k = 'v%d', { %d.5 } } for i = 1, a do t[i] = function() return t, i end end"
        .. " return #t end"):format(i, i, i)
    end
    parts[#parts + 1] = "return M"
    FILES["large.lua"] = table.concat(parts, "\n")
    finally(function() FILES["large.lua"] = nil end)
    local cell = cell_of([[
      for round = 1, 4 do
        for i = 0, 60 do stator.try(stator.within, i * 1e-4, await, stator.work "many:nothing") end
        for i = 0, 30 do stator.try(stator.within, i * 4e-4, await, stator.work "rows") end
        for i = 0, 20 do stator.try(stator.within, i * 2e-3, await, stator.work("large:f1", 1)) end
      end
      print("sum", await(stator.work("add", 1, 2)), await(stator.work("large:f7", 7)))]], { real = true })
    support.wait_for(cell, "sum", 60)
    assert.same({ "sum\t3\t7" }, support.said(cell))
  end)

  it("Y19: the bound of memory holds in compiled code, while a module is parsed, and whatever it catches", function()
    FILES["huge.lua"] = "return function() return { " .. ("{ {}, {} }, "):rep(700000) .. " } end"
    FILES["catch.lua"] = 'local rows = require "rows" return function() while true do pcall(rows) end end'
    finally(function() FILES["huge.lua"], FILES["catch.lua"] = nil, nil end)
    assert.same({ "rows\tmemory", "catch\tmemory", "huge\tmemory", "3" }, run [[
      for _, name in ipairs { "rows", "catch", "huge" } do
        local _, e = stator.try(await, stator.work(name))
        print(name, e.code)
      end
      print(await(stator.work("add", 1, 2)))]])
  end)

  it("Y19: the VM that is lost takes its work with it", function()
    local cell = cell_of([[
      stator.start(stator.work "many:loop")
      await(stator.sleep(0.05));
      ("x"):rep(60):find(("x*"):rep(40) .. "y")]], { real = true, patience = 1 })
    support.wait_for(cell, "VM is given up", 20)
  end)

  it("Y19: the host's end stops it", function()
    local cell = cell_of("await(stator.work 'many:loop')", { real = true })
    cell:advance(0.05)
    cell:close()
  end)

  it("survives failure, cancel, time-out and despawn at every await", function()
    assert.equal(3, ordinals.check { virtual = true, files = { ["add.lua"] = FILES["add.lua"], ["many.lua"] = FILES["many.lua"] },
      run = [[
        step(stator.work("add", 1, 2))
        step(stator.all { stator.work("many:compute", 1e5), stator.work("many:compute", 1e6), stator.work("add", 1) })
        step(stator.work("many:back", "x"))]] })
  end)
end)
