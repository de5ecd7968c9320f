-- Scripts compiled on another thread: what comes of them is what compiling in place gives.
local support = require "support"

local COUNT = 'local stator = require "stator"\nlocal N = stator.component("N", { "double v", "double w" })\n'

--- Texts that say something about each part of what is compiled.
local TEXTS = {
  ["plain.lua"] = "local sum = 0 for i = 1, 10 do sum = sum + i end return sum",
  ["fields.lua"] = COUNT .. "return function(cmd, e)\n  cmd:set(e, N, { v = 1, u = 2 })\n  return N { w = 3 }\nend",
  ["states.lua"] = "return {\n  a = function() return 'b' end, b = function(x)\n    if x then return x and 'a' or 'c' end\n"
    .. "    return (function() return 'none' end)()\n  end }",
  ["boxes.lua"] = "for first, last, pose in q:chunks() do for i = first, last do pose[i].x = pose[i].y end end",
  ["places.lua"] = "cmd:set(e, C, {})\ncmd:despawn(e) cmd:spawn {}",
  ["shebang.lua"] = "#!/usr/bin/env stator's \"\nreturn 1, debug.getinfo(1, 'l').currentline",
  ["crlf.lua"] = "local a = 1\r\nlocal b = 2\r\nreturn a, b, debug.getinfo(1, 'l').currentline",
  ["bom.lua"] = "\239\187\191return 3, debug.getinfo(1, 'l').currentline",
  ["bom_shebang.lua"] = "\239\187\191#!stator's\nreturn 4, debug.getinfo(1, 'l').currentline",
  ["empty.lua"] = "",
  ["zero.lua"] = "return #'a\0b'",
  ["table.lua"] = "return { one = 1, two = 2, three = { 3, 4 }, four = 'x' }",
  ["broken.lua"] = "local x = 1\nlocal y = = 2\n",
  ["open.lua"] = "return function(",
  ["unfinished.lua"] = "x = 'abc\n",
  ["code.lua"] = string.dump(function() return 1 end),
  ["shebang_code.lua"] = "#!x\n" .. string.dump(function() return 1 end),
  ["bom_code.lua"] = "\239\187\191" .. string.dump(function() return 1 end),
  ["full.lua"] = "function none() f(" .. ("1,"):rep(245) .. "cmd:go()) end",
}

local HEAD = [[
local folder, names = ...
local list = {}
for name in names:gmatch "[^\n]+" do
  list[#list + 1] = { path = name:sub(1, 1) == "/" and name or folder .. "/" .. name, shown = name }
end
local compile, compiling, stator = require "stator.compile", require "stator.compiling", require "stator"
local await, registry, task = stator.await, require "stator.registry", require "stator.task"
SAID, ENDED = {}, false
local function say(...)
  local parts = { ... }
  for i = 1, select("#", ...) do parts[i] = tostring(parts[i]) end
  SAID[#SAID + 1] = table.concat(parts, "\t")
end
TASK = task.spawn({ name = "compile", order = registry.order(2, 2, 9000), quiet = true }, function()
  local ok, e = xpcall(function()
]]
local TAIL = [[
  end, require("stator.err").handler)
  if not ok then say("failed", e.code, e.message) end
  ENDED = true
end)]]

--- Starts a task of the host in the cell, with `list` of the files and say().
local function begin(cell, folder, names, body) cell:eval(HEAD .. body .. TAIL, folder, table.concat(names, "\n")) end

local function said(cell)
  local lines = {}
  for line in (cell:eval "return table.concat(SAID, '\\n')" .. "\n"):gmatch "(.-)\n" do lines[#lines + 1] = line end
  return lines
end

local function wait(cell)
  for _ = 1, 6000 do
    if cell:eval "return ENDED" then return said(cell) end
    cell:advance(0.01)
  end
  error("the task did not end: " .. table.concat(said(cell), "\n"))
end

local function run(files, names, body, options)
  local path, folder = support.scene { scripts = { ["main.lua"] = options and options.main or "" }, files = files }
  local cell = support.cell { path = path, virtual = not (options and options.real), patience = options and options.patience }
  begin(cell, folder, names, body)
  return wait(cell), cell, folder
end

local function names_of(files)
  local names = {}
  for name in pairs(files) do names[#names + 1] = name end
  table.sort(names)
  return names
end

--- Compares each result with what compile.text gives here: all but the bytecode value by value. Its bytes are the
--- same up to the order of the constants in tables, which LuaJIT leaves open; so they are compared sorted as well.
local COMPARE = [[
  local function differs(a, b, path)
    if type(a) ~= "table" or type(b) ~= "table" then return a ~= b and path or nil end
    for k in pairs(a) do local d = differs(a[k], b[k], path .. "." .. tostring(k)) if d then return d end end
    for k in pairs(b) do if a[k] == nil then return path .. "." .. tostring(k) end end
  end
  local function sorted(code)
    local count = {}
    for i = 0, 255 do count[i] = 0 end
    for i = 1, #code do count[code:byte(i)] = count[code:byte(i)] + 1 end
    return table.concat(count, ",", 0)
  end
  local exact = 0
  local files = await(compiling.files(list))
  for i = 1, files.n do
    local got = files:take(i)
    local file = io.open(list[i].path, "rb")
    local here = compile.text(file:read "*a", list[i].shown)
    file:close()
    if got.code == here.code then exact = exact + 1 end
    if got.code and sorted(got.code) == sorted(here.code) then got.code = here.code end
    here.path, here.shown, here.fingerprint = list[i].path, list[i].shown, got.fingerprint
    local d = differs(got, here, got.shown)
    if d then say("differs", d) end
    if files:take(i) then say("taken twice", got.shown) end
  end
  say(files.n, exact)]]

describe("compiling on another thread", function()
  after_each(support.finish)

  it("Y20: gives what compiling in place gives", function()
    local lines = run(TEXTS, names_of(TEXTS), COMPARE)
    local count, exact = lines[#lines]:match "^(%d+)\t(%d+)$"
    assert.same({ #names_of(TEXTS) }, { tonumber(count) }, table.concat(lines, "\n"))
    assert.equal(1, #lines, table.concat(lines, "\n"))
    assert.is_true(tonumber(exact) >= #names_of(TEXTS) - 2) -- two have constants in tables
  end)

  it("Y20: gives it for each script and module that is in the repository", function()
    local names = {}
    for name in support.shell("ls " .. support.root .. "/scripts/*.lua " .. support.root .. "/examples/*/*.lua "
      .. support.root .. "/lua/stator/*.lua"):gmatch "[^\n]+" do
      names[#names + 1] = (name:gsub("^%./", ""))
      if names[#names]:sub(1, 1) ~= "/" then names[#names] = support.shell("pwd"):gsub("%s+$", "") .. "/" .. names[#names] end
    end
    assert.is_true(#names > 60)
    local lines = run({}, names, COMPARE)
    assert.matches("^" .. #names .. "\t%d+$", lines[1])
    assert.equal(1, #lines, table.concat(lines, "\n"))
  end)

  it("runs with the lines of the file, whatever its first line and its ends of lines are", function()
    local lines = run(TEXTS, { "shebang.lua", "crlf.lua", "bom.lua", "bom_shebang.lua", "empty.lua", "zero.lua", "plain.lua" }, [[
      local env = setmetatable({ __turn = function() end }, { __index = _G })
      local files = await(compiling.files(list))
      for i = 1, files.n do
        local file = files:take(i)
        say(file.shown, setfenv(load(file.code, "=x", "b"), env)())
      end]])
    assert.same({ "shebang.lua\t1\t2", "crlf.lua\t1\t2\t3", "bom.lua\t3\t1", "bom_shebang.lua\t4\t2", "empty.lua", "zero.lua\t3",
      "plain.lua\t55" }, lines)
  end)

  it("Y20: tells for each file by itself what is wrong, at its line", function()
    local files = { ["good.lua"] = "return 1", ["long.lua"] = ("-- " .. ("x"):rep(1021) .. "\n"):rep(17 * 1024) }
    for name, text in pairs(TEXTS) do files[name] = text end
    local names = { "broken.lua", "open.lua", "unfinished.lua", "code.lua", "shebang_code.lua", "bom_code.lua", "missing.lua",
      "folder", "/dev/null", "long.lua", "/proc/version", "good.lua" }
    local path, folder = support.scene { scripts = { ["main.lua"] = "" }, files = files }
    support.shell("mkdir " .. folder .. "/folder; mkfifo " .. folder .. "/pipe; touch " .. folder .. "/denied")
    local cell = support.cell { path = path }
    table.insert(names, 9, "pipe")
    begin(cell, folder, names, [[
      local files = await(compiling.files(list))
      for i = 1, files.n do
        local file = files:take(i)
        say(file.problem, file.missing, file.busy, file.code and #file.code > 0, file.claims ~= nil, file.hash and #file.hash)
      end]])
    assert.same({
      "broken.lua:2: unexpected symbol near '='\tnil\tnil\tnil\tfalse\t16",
      "open.lua:1: <name> or '...' expected near '<eof>'\tnil\tnil\tnil\tfalse\t16",
      "unfinished.lua:1: unfinished string near ''abc'\tnil\tnil\tnil\tfalse\t16",
      "code.lua: bytecode is not allowed\tnil\tnil\tnil\tfalse\t16",
      "shebang_code.lua:2: unexpected symbol near 'char(27)'\tnil\tnil\tnil\tfalse\t16",
      "bom_code.lua: bytecode is not allowed\tnil\tnil\tnil\tfalse\t16",
      "missing.lua: no such file or directory\ttrue\tnil\tnil\tfalse\tnil",
      "folder: is no file\ttrue\tnil\tnil\tfalse\tnil",
      "pipe: is no file\ttrue\tnil\tnil\tfalse\tnil",
      "/dev/null: is no file\ttrue\tnil\tnil\tfalse\tnil",
      "long.lua: has more than 16 MiB\tnil\tnil\tnil\tfalse\tnil",
      -- claims a size of 0 and has a text all the same, as a file that grows while it is read
      "/proc/version: changed each time while it was read\tnil\ttrue\tnil\tfalse\tnil",
      "nil\tnil\tnil\ttrue\ttrue\t16",
    }, wait(cell))
  end)

  it("Y20: the fingerprint is that of the file that was read", function()
    local lines, _, folder = run({ ["a.lua"] = "return 1" }, { "a.lua", "none.lua" }, [[
      local files = await(compiling.files(list))
      say(files:take(1).fingerprint) say(files:take(2).fingerprint)]])
    local stat = support.shell("stat -c '%d:%i:%s:%.9Y' " .. folder .. "/a.lua"):gsub("%s+$", ""):gsub("%.", "")
    assert.same({ stat, "0:0:0:0" }, lines)
  end)

  it("Y20: a file that grows meanwhile is taken as it was at one moment, or is busy", function()
    local path, folder = support.scene { scripts = { ["main.lua"] = "" }, files = { ["a.lua"] = ("-- x\n"):rep(1e5) } }
    os.execute(("(i=0; while [ $i -lt 3000 ] && [ ! -e %s/stop ]; do echo '-- y' >> %s/a.lua; i=$((i+1)); done) >/dev/null 2>&1 &")
      :format(folder, folder))
    local cell = support.cell { path = path, virtual = false }
    begin(cell, folder, { "a.lua" }, [[
      for _ = 1, 20 do
        local file = await(compiling.files(list)):take(1)
        say(file.busy and "busy" or file.hash, file.fingerprint:match "^%d+:%d+:(%d+):", file.problem)
      end]])
    local lines = wait(cell)
    support.write(folder .. "/stop", "")
    local text = support.read(folder .. "/a.lua")
    assert.equal(20, #lines)
    for _, line in ipairs(lines) do
      local hash, bytes = line:match "^(%w+)\t(%d+)\t"
      local expected = cell:eval("return require('stator.compile').hash(...)", text:sub(1, tonumber(bytes)))
      assert.is_true(hash == "busy" or hash == expected, line)
    end
  end)

  it("Y20: a file that needs too much memory has a problem, and the others are compiled", function()
    local lines = run({ ["a.lua"] = "return 1", ["huge.lua"] = ("x = function() return {" .. ("{},"):rep(600) .. "} end\n"):rep(8000), ["z.lua"] = "return 2" },
      { "a.lua", "huge.lua", "z.lua" }, [[
      local files = await(compiling.files(list))
      for i = 1, files.n do
        local file = files:take(i)
        say(file.shown, file.problem, file.code ~= nil)
      end]])
    assert.same({ "a.lua\tnil\ttrue", "huge.lua\thuge.lua: compiling it needs more than 256 MiB\tfalse", "z.lua\tnil\ttrue" }, lines)
  end)

  it("Y20: more than 64 MiB of results, or 4096 files, are an error", function()
    local lines = run({ ["a.lua"] = "return [[" .. ("x"):rep(6 * 2 ^ 20) .. "]]" }, { "a.lua" }, [[
      local eleven, many = {}, {}
      for i = 1, 11 do eleven[i] = list[1] end
      for i = 1, 4097 do many[i] = list[1] end
      local _, e = stator.try(await, compiling.files(eleven))
      say(e.code, e.message)
      say(pcall(function() await(compiling.files(many)) end))
      local files = await(compiling.files(list))
      say(#files:take(1).code > 6 * 2 ^ 20)
      say(await(compiling.files {}).n)]])
    assert.equal("limit\tcompile: the results have more than 64 MiB together", lines[1])
    assert.matches("^false\t.*at most 4096 files", lines[2])
    assert.same({ "true", "0" }, { lines[3], lines[4] })
  end)

  it("Y20: takes no virtual time", function()
    assert.same({ "true" }, run(TEXTS, names_of(TEXTS), [[
      local before = stator.now()
      await(stator.all { compiling.files(list), compiling.files(list), compiling.files(list) })
      say(stator.now() == before)]]))
  end)

  it("Y20: can be taken back at any moment, and the next one is whole", function()
    local files = { ["large.lua"] = ("local function f(a) local t = { a } for i = 1, a do t[i] = i end return #t end\n"):rep(190)
      .. "return f(1)" }
    local lines = run(files, { "large.lua", "large.lua", "large.lua" }, [[
      local taken_back = 0
      for i = 0, 80 do
        local ok, e = stator.try(stator.within, i * 5e-4, await, compiling.files(list))
        if not ok and e.code == "timeout" then taken_back = taken_back + 1 end
      end
      say(taken_back > 0)
      local files = await(compiling.files(list))
      for i = 1, 3 do say(files:take(i).problem) end]], { real = true })
    assert.same({ "true", "nil", "nil", "nil" }, lines)
  end)

  local MANY = {}
  for i = 1, 40 do MANY[("m%02d.lua"):format(i)] = ("local x%d = { 1 } cmd:set(x, y, { z = 1 })\n"):format(i):rep(190) end

  it("Y20: ends with its cell, in order or at once", function()
    for _, at_once in ipairs { false, true } do
      local path, folder = support.scene { scripts = { ["main.lua"] = "" }, files = MANY }
      local cell = support.cell { path = path, virtual = false }
      begin(cell, folder, names_of(MANY), "for _ = 1, 1000 do await(compiling.files(list)) end")
      cell:advance(0.005)
      assert.is_true(select(4, cell:counts()) > 0)
      if at_once then
        cell:close()
      else
        cell:eval "require('stator.task').cancel(TASK, 'the end')"
        support.finish()
      end
    end
  end)

  it("Y20: the VM that is lost takes it along", function()
    local path, folder = support.scene { files = MANY, scripts = { ["main.lua"] = [[
      local stator = require "stator"
      stator.task("t", { restart = "never" }, function()
        stator.await(stator.sleep(0.02));
        ("x"):rep(60):find(("x*"):rep(40) .. "y")
      end)]] } }
    local cell = support.cell { path = path, virtual = false, patience = 1 }
    begin(cell, folder, names_of(MANY), "KEPT = await(compiling.files(list)) for _ = 1, 1000 do await(compiling.files(list)) end")
    support.wait_for(cell, "VM is given up", 20)
  end)

  it("Y20: leaves no memory, whether its results are taken or not", function()
    local function resident_kib() return tonumber(support.read("/proc/self/status"):match "VmRSS:%s*(%d+)") end
    local files = { ["large.lua"] = "return [[" .. ("x"):rep(2 ^ 20) .. "]]" }
    local path, folder = support.scene { scripts = { ["main.lua"] = "" }, files = files }
    local cell = support.cell { path = path }
    local function compile(times)
      begin(cell, folder, { "large.lua" }, ([[
        for i = 1, %d do
          local files = await(compiling.files(list))
          if i %% 2 == 0 then files:take(1) end
          files = nil
          collectgarbage()
        end]]):format(times))
      assert.same({ "" }, wait(cell))
    end
    compile(20)
    local before = resident_kib()
    compile(200)
    assert.is_true(resident_kib() - before < 50 * 1024) -- of 400 MiB that were read and compiled
  end)

  it("takes part in what the first load tells: the hash, the claims and the places are those of compile.text", function()
    local cell = support.cell { scripts = { ["main.lua"] = "#!x\n" .. COUNT .. [[
      stator.task("t", {}, function(cmd)
        cmd:set(stator.world, N, { v = 1 })
      end)]] } }
    assert.same({ "main.lua:5", "N", "v", 5 }, { cell:eval [[
      local script = require "stator.script"
      local source = script.sources(script.uses[1].files)[1]
      local places = require "stator.places"
      return places.text(1), source.claims.fields[1], source.claims.fields[2], source.claims.fields[3] ]] })
    cell:advance(0.1)
    assert.matches("%(main.lua:5%)", support.faults(cell)[1])
  end)

  it("puts places of any file name into a text", function()
    local cell = support.cell ""
    local name = 'a"\\\n\r\0b.lua'
    assert.same({ name .. ":2", 2 }, { cell:eval([[
      local made = require("stator.compile").chunk("\ncmd:go()\nreturn debug.getinfo(1, 'l').currentline", "@" .. ...)
      local place
      local env = { debug = debug, cmd = { go = function() end }, __at = function(cmd, at) place = at return cmd end }
      local line = setfenv(made.chunk, env)()
      return place, line - 1]], name) })
  end)
end)
