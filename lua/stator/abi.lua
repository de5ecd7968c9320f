--- The core as FFI sees it: one text with the C sources, see ecs/ecs_abi.h.
local ffi = require "ffi"
-- Epochs are compared only, and in compiled code LuaJIT compares no uint32_t but as doubles.
ffi.cdef((require("stator.abi_text"):gsub("uint32_t epoch", "int32_t epoch")))

local M = {}
M.C = ffi.C
M.world = ffi.cast("ecs_world_t *", require("stator.core.world").pointer())
M.shared = ffi.C.ecs_shared(M.world)
M.TYPE = {
  [0] = "bool", "int8_t", "uint8_t", "int16_t", "uint16_t", "int32_t", "uint32_t",
  "float", "double", "char", "entity", "enum", "struct",
}
M.OP = { [0] = "spawn", "despawn", "insert", "set", "add", "remove", "expect", "spawn_many", "send", "confirm" }

--- The newest message of the core.
function M.last_error() return ffi.string(ffi.C.ecs_last_error(M.world)) end

return M
