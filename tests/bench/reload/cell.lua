-- In a cell of its own process: reloads a script of 50 modules again and again, and prints of each kind of change the
-- longest turn of the loop's thread. arguments: this folder, that of the scene, rounds of each kind.
local here, folder, rounds = ...
local ffi = require "ffi"
local command = require "stator.command"
local core = require "stator.core.task"
local outside = require "stator.outside"
local registry = require "stator.registry"
local reload = require "stator.reload"
local task = require "stator.task"
local source = assert(loadfile(here .. "source.lua"))()

-- luacheck: globals bench_turns bench_longest_turn
local turns, longest_turn = bench_turns, bench_longest_turn
ffi.cdef "double bench_thread_ns(void);"
local now_ns = ffi.C.bench_thread_ns

local KINDS = {
  { name = "one module", modules = 1 },
  { name = "all modules", modules = source.MODULES },
  { name = "a component of 10k entities", modules = 1, more = true },
}

--- The longest part of each kind of work between steps.
local parts = { stage = 0, swap = 0 }
local serve = outside.serve
function outside.serve(kind)
  local began = now_ns()
  serve(kind)
  parts[kind] = math.max(parts[kind], now_ns() - began)
end

local function ask()
  local request = { verb = "reload", reason = "bench", drop = {} }
  reload.ask(request)
  repeat task.await(core.sleep(0.005)) until request.answer
  assert(request.answer.ok and request.answer.revision, request.answer.message)
end

local version = 0
local function one_round(kind, round)
  version = version + 1
  for k = 1, kind.modules do source.write_module(folder, k, version, kind.more and round % 2 == 1) end
  task.await(core.sleep(0.1)) -- that was not the reload's work
  longest_turn()
  parts.stage, parts.swap = 0, 0
  local began = core.now()
  ask()
  task.await(core.sleep(0.1)) -- and what follows it
  return longest_turn(), parts.stage, parts.swap, core.now() - began
end

local function measure(kind)
  local worst = { 0, 0, 0, 0 }
  for round = 1, tonumber(rounds) do
    for i, x in ipairs { one_round(kind, round) } do worst[i] = math.max(worst[i], x) end
  end
  io.stdout:write(("%s\t%.0f\t%.0f\t%.0f\n"):format(kind.name, worst[1], worst[2], worst[3]))
  io.stdout:flush()
end

task.spawn({ name = "reloads", order = registry.order(registry.PHASES.update, 1, 1) }, function()
  local Axis = registry.live.components.Axis1
  for i = 1, source.ROWS do
    command:spawn { Axis { position_m = i } }
    if i % 500 == 0 then task.await(command:commit()) end
  end
  task.await(core.sleep(0.5))
  for _, kind in ipairs(KINDS) do measure(kind) end
  os.exit(0)
end)
turns()
