-- The world of a cell that stands beside the peers.
local stator = require "stator"

stator.component("Sample", { "double stamp_ns", "double number", "double x", "double y" })
