--- A scripted run of operations on the system, disturbed at every one of its awaits in every way: it
--- fails there, is cancelled, times out, or its entity is despawned. Each run ends clean.
local support = require "support"

local M = {}

local SCRIPT = [[
local stator = require "stator"
local await = stator.await
local N = stator.component("N", { "bool stop" })
local P = stator.params { at = 0, mode = "none", port = 0, folder = "" }
local BASE = "http://127.0.0.1:" .. P.port
%s
stator.per_entity("t", { with = { N } }, function(cmd, me)
  local n = 0
  local function step(op)
    n = n + 1
    if n == P.at and P.mode == "fail" then stator.start(op) error("injected", 0) end
    if n == P.at and P.mode == "cancel" then cmd:set(me, N, { stop = true }) end
    if n == P.at and P.mode == "despawn" then cmd:despawn(me) end
    if n == P.at and P.mode == "timeout" then return stator.within(0, await, op) end
    return await(op)
  end
  stator.defer(function() print("cleaned up", n) end)
  local ok, e = stator.try(function()
    stator.scope(function()
      stator.cancel_when(me:when(N, "stop"), "stopped from outside")
      %s
    end)
  end)
  print("came to", n, ok, e and e.code, e and e.message)
end)]]

local SCENE = [=[{ "scripts": [ { "file": "main.lua",
  "params": { "at": %d, "mode": "%s", "port": %d, "folder": "%s" } } ],
  "entities": [ { "name": "e", "components": { "N": {} } } ] }]=]

local function run(options, at, mode)
  local path, folder = support.scene {
    scene = SCENE:format(at, mode, options.port or 0, options.folder or ""), files = options.files,
    scripts = { ["main.lua"] = SCRIPT:format(options.before or "", options.run) } }
  local cell = support.cell { path = path, virtual = options.virtual or false }
  local said
  for _ = 1, 1000 do
    cell:advance(0.005)
    said = support.said(cell)
    if #said > 0 and said[#said]:find "^cleaned up" then break end
  end
  local n = tonumber(said[#said]:match "^cleaned up\t(%d+)$")
  local outcome = said[#said - 1]
  if options.check then options.check(cell, folder, mode, at) end
  support.finish()
  return n, outcome
end

--- `options`: run (Lua text that calls step(operation)), before, port, files, virtual,
--- check(cell, folder, mode, at).
---@return integer awaits of the undisturbed run
function M.check(options)
  local awaits, outcome = run(options, 0, "none")
  assert(outcome:find "^came to\t%d+\ttrue", outcome)
  for at = 1, awaits do
    local n, text = run(options, at, "fail")
    assert(n == at and text:find "\tinjected$", ("failure at %d: %s"):format(at, text))
    n, text = run(options, at, "cancel")
    assert(n == at and text:find "\tstopped from outside$", ("cancel at %d: %s"):format(at, text))
    n, text = run(options, at, "timeout") -- what ends in the same step may be first
    assert(text:find "\ttimeout\t" and n == at or text:find "\ttrue", ("time-out at %d: %s"):format(at, text))
    n, text = run(options, at, "despawn")
    assert(n == at and text == nil, ("despawn at %d: %s"):format(at, tostring(text)))
  end
  return awaits
end

return M
