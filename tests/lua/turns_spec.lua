-- What is put into the loops of scripts: every text still means the same, and every loop counts.
local support = require "support"

local SOURCES = {
  [[local n = 0 while n < 3 do n = n + 1 end return n]],
  [[local n = 0 while n < 3 do (print or error)() n = n + 1 end return n]],
  [[local n = 0 repeat local m = n n = n + 1 until m == 2 return n]],
  [[local n = 0 repeat (print or error)() n = n + 1 until n == 3 return n]],
  [[local n = 0 for i = 1, 3 do n = n + i end return n]],
  [[local n = 0 for i = 3, 1, -1 do n = n + i end return n]],
  [[local n = 0 for _, v in ipairs { 1, 2 } do n = n + v end return n]],
  [[local n, first, last = 0, 1, 3 for i = first, last do n = n + i end return n]],
  [[local n = 0 while (function() for i = 1, 2 do n = n + 1 end if n > 4 then return false end return true end)() do n = n + 1 end return n]],
  [[local n = 0 for i = (function() while true do do return 1 end end end)(), 2 do n = n + i end return n]],
  [[local n = 0 for _, f in pairs { function() repeat return 1 until true end } do n = n + f() end return n]],
  [[local s = "while true do" --[=[ while true do ]=] return s .. #[==[ for do repeat ]==] -- repeat]],
  [[local t = { ["while"] = 1, until_ = 2, dodo = 3, whiles = 4 } return t["while"] + t.until_ + t.dodo + t.whiles]],
  [[local n = 0 for i = 1, 3 do for j = 1, 3 do if i == j then goto continue end n = n + 1 ::continue:: end end return n]],
  [[local n = 0 for i = 1, 3 do local x = i if x == 2 then goto continue end n = n + x ::continue:: end return n]],
  [[while false do end for i = 1, 0 do end repeat until true for _ in pairs {} do end return 1]],
  [[local n = 0
    while n < 5
    do
      n = n + 1
      if n == 3 then break end
    end return n]],
  [[local n = .5 + 1e3 + 0x10 + 5 .. '' for i = 1, 2 do n = n .. i end return n]],
  [[local f = function(...) local n = 0 for i = 1, select("#", ...) do n = n + select(i, ...) end return n end return f(1, 2, 3)]],
}

describe("loops of scripts", function()
  after_each(support.finish)

  it("mean the same with what is put into them", function()
    local cell = support.cell ""
    for _, source in ipairs(SOURCES) do
      local same, plain, counted, turns = cell:eval([[
        local T = require "stator.turns"
        local source = ...
        local calls = 0
        local env = setmetatable({ print = function() end, [T.NAME] = function() calls = calls + 1 end }, { __index = _G })
        local plain = setfenv(assert(loadstring(source)), setmetatable({ print = function() end }, { __index = _G }))()
        local counted = setfenv(assert(loadstring((require("stator.instrument").text(source)))), env)()
        return plain == counted, tostring(plain), tostring(counted), calls]], source)
      assert.is_true(same, ("%s\n%s, then %s"):format(source, plain, counted))
      if not source:find("--", 1, true) and source:find("n = n %+") then
        assert.is_true(turns > 0, source)
      end
    end
  end)

  it("count a chunk as several turns, and leave the loop over its rows alone", function()
    local cell = support.cell ""
    local function inserted(text) return (cell:eval("return (require('stator.instrument').text(...))", text):gsub(" __turn", "@")) end
    assert.equal("for first, last, b in q:chunks() do@(8); for i = first, last do s = s + b[i] end end",
      inserted "for first, last, b in q:chunks() do for i = first, last do s = s + b[i] end end")
    assert.equal("for first, last in f(function() while x do@(1); end end) do@(8); end for i = first, last do@(1); end",
      inserted "for first, last in f(function() while x do end end) do end for i = first, last do end")
    assert.equal("for first, last in q do@(8); if x then for i = first, last do end end repeat@(1); until y for i = first, last do end end",
      inserted "for first, last in q do if x then for i = first, last do end end repeat until y for i = first, last do end end")
    assert.equal("local first, last = 1, 1e9 for i = first, last do@(1); end", inserted "local first, last = 1, 1e9 for i = first, last do end")
  end)

  it("keep their lines", function()
    local said = support.run_task [[
      for i = 1,
        2 do
        print(select(2, pcall(error, "x", 2)))
        local ok, e = pcall(function() while true do error("here") end end)
        print(e)
      end]]
    assert.matches("main.lua:8: here", said[2])
  end)

  it("change no text", function()
    local cell = support.cell ""
    for _, text in ipairs { 'return "a\\z\n  for x in y do z"', 'return "one \\\r\n repeat two"', "return 'a\\\n while 1 do b'" } do
      assert.equal(text, cell:eval("return (require('stator.instrument').text(...))", text))
    end
  end)

  it("survive text that is no Lua, and any text", function()
    local cell = support.cell ""
    local seed = 7
    for _ = 1, 300 do
      local words = { "while", "do", "end", "repeat", "until", "for", "=", "first", "last", ",", "(", ")", "function", "if", "then",
        "'", '"', "[[", "]]", "--", "\n", "x", "1", ":", "{" }
      local parts = {}
      for i = 1, 30 do
        seed = (seed * 1103515245 + 12345) % 2147483648
        parts[i] = words[seed % #words + 1]
      end
      cell:eval("require('stator.instrument').text(...)", table.concat(parts, " "))
    end
  end)
end)
