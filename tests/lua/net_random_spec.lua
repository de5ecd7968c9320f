-- stator.net under chance: reads in random chunks against a reference, and connects cancelled at every stage.
local support = require "support"

local BEFORE = [[
local net = stator.net
local function pair(unix)
  local l = unix and net.listen { unix = unix } or net.listen { port = 0 }
  local c, s = await(stator.all { unix and net.connect { unix = unix } or net.connect("127.0.0.1", l:port()), l:accept() })
  l:close()
  return c, s
end
]]

describe("random chunks", function()
  after_each(support.finish)

  -- The reference cuts the text as documented; the reader's calls are the same whatever the chunks.
  local BODY = [[
    local seed = SEED
    local function random(n) -- 1 to n
      seed = (seed * 1103515245 + 12345) %% 2147483648
      return math.floor(seed / 65536) %% n + 1
    end
    local ALPHABET = { "a", "b", "-", "-", "\n", "\r", "\r\n", "--", "longer text without an end" }
    local parts = {}
    for i = 1, 400 do parts[i] = ALPHABET[random(#ALPHABET)] end
    local text = table.concat(parts)

    local rest = text
    local function expect_until(delimiter, limit)
      local at = rest:find(delimiter, 1, true)
      if at and at - 1 <= limit then
        local found = rest:sub(1, at - 1)
        rest = rest:sub(at + #delimiter)
        return found
      end
      return #rest >= limit + #delimiter and "limit" or "closed"
    end
    local function expect_count(n)
      if #rest < n then return "closed" end
      local found = rest:sub(1, n)
      rest = rest:sub(n + 1)
      return found
    end

    local c, s = pair()
    stator.spawn(function()
      local at = 1
      while at <= #text do
        local n = random(3) == 1 and random(300) or random(4)
        await(c:write(text:sub(at, at + n - 1)))
        at = at + n
        if random(2) == 1 then await(stator.sleep(random(4) / 1000)) end
      end
      await(c:shutdown())
    end)

    local calls, cut = 0, 0
    repeat
      local what, got, want = random(5), nil, nil
      calls = calls + 1
      local function try(op)
        local ok, e = stator.try(function()
          if random(3) == 1 then -- cut short: nothing may be lost
            local who, value = await(stator.race { slow = stator.sleep(random(3) / 1000), value = op })
            if who == "value" then return value end
            cut = cut + 1
            return false
          end
          return await(op)
        end)
        if ok then return e end
        return e.code
      end
      local limit, n = random(40), random(30)
      local ops = {
        function() return s:read_line { limit = limit } end, function() return s:read_until("--", { limit = limit }) end,
        function() return s:read_until("a-\n", { limit = limit }) end, function() return s:read(n) end,
        function() return s:read_line() end,
      }
      repeat got = try(ops[what]()) until got ~= false
      if what == 1 or what == 5 then
        want = expect_until("\n", what == 5 and 65536 or limit)
        if want ~= "limit" and want ~= "closed" and want:sub(-1) == "\r" then want = want:sub(1, -2) end
      elseif what == 2 then want = expect_until("--", limit)
      elseif what == 3 then want = expect_until("a-\n", limit)
      else want = expect_count(n) end
      if got ~= want then print(("call %%d (%%d): got %%q, want %%q"):format(calls, what, got, want)) break end
      if got == "limit" then got = await(s:read(7)) want = expect_count(7) end
      if got ~= want then print("after a limit") break end
      if got == "closed" and #rest > 0 then
        local left = ""
        local ok, more
        repeat ok, more = stator.try(await, s:read()) if ok then left = left .. more end until not ok
        if left ~= rest then print("lost at the end") end
        rest = ""
      end
    until #rest == 0
    print(calls > 20, cut)
  ]]

  local cut = 0
  for seed = 1, 20 do
    it("give the same lines and pieces, seed " .. seed, function()
      local said, faults = support.run_task((BODY:gsub("SEED", tostring(seed * 7919)):gsub("%%%%", "%%")), { before = BEFORE, seconds = 60 })
      assert.same({ {}, 1 }, { faults, #said })
      assert.matches("^true\t", said[1])
      cut = cut + tonumber(said[1]:match("%d+"))
    end)
  end

  it("had reads that were cut short", function() assert.is_true(cut > 50, cut) end)
end)

describe("1,000 connects", function()
  after_each(support.finish)

  local function open_files() return tonumber((support.shell("ls /proc/$PPID/fd | wc -l"))) end

  it("cancelled at every stage leave nothing behind", function() -- rivals: cancel that leaks the operation
    local files = open_files()
    local said, faults, cell = support.run_task([[
      local l = net.listen { port = 0 }
      local folder = FOLDER
      local u = net.listen { unix = folder .. "/sock" }
      local function connect(i)
        if i % 3 == 0 then return net.connect { unix = folder .. "/sock" } end
        return net.connect("127.0.0.1", i % 3 == 1 and l:port() or 1)
      end
      local STAGES = {
        function(op) stator.within(0, await, op) end, -- before anything
        function(op) await(stator.race { op, stator.start(stator.sleep(0)) }) end, -- with its end
        function(op) await(stator.race { stator.async(function() return 1 end)(), op }) end, -- in the round of its start
        function(op) stator.scope(function() stator.start(op):values() end) end, -- started, then the block ends
        function(op) stator.scope(function() stator.start(op):values() await(stator.sleep(0)) end) end,
        function(op) stator.scope(function() await(op) end) end, -- when it is there
        function(op) await(op) error "failed" end,
        function(op) -- by a failing sibling, a round later each time
          stator.scope(function()
            stator.spawn(await, op)
            for _ = 1, math.random(4) do await(stator.cmd:commit()) end
            error "failed"
          end)
        end,
        function(op) local c = await(op) stator.within(0.001, await, c:read()) end, -- while it reads
        function(op) local c = await(op) await(stator.all { c:write("x"), function() error "failed" end }) end,
      }
      for i = 1, 1000 do
        stator.try(stator.scope, function()
          stator.defer(function() end)
          STAGES[i % #STAGES + 1](connect(i))
        end)
        if i % 10 == 0 then -- nobody else takes them
          stator.try(stator.within, 0.001, function() while true do await(l:accept()):close() end end)
          stator.try(stator.within, 0.001, function() while true do await(u:accept()):close() end end)
        end
      end
      print "done"
      await(stator.sleep(1000))
    ]], { before = BEFORE .. ("local FOLDER = %q\n"):format(support.folder()), seconds = 30 })
    assert.same({ { "done" }, {} }, { said, faults })
    cell:eval "collectgarbage() collectgarbage()"
    cell:advance(0.1)
    cell:eval "collectgarbage() collectgarbage()"
    cell:advance(0.1)
    local tasks, watches, timers, handles = cell:counts()
    assert.same({ 1, 0, 1, 2 }, { tasks, watches, timers, handles }) -- it sleeps, with its listeners
    support.finish()
    assert.is_true(open_files() <= files) -- an earlier spec's may go meanwhile
  end)
end)
