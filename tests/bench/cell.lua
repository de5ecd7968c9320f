-- What the rows of bench.lua measure on: components and queries, as a script declares them.
local stator = require "stator"

local Pos = stator.component("Pos", { "double x", "double y", "double z" })
local Vel = stator.component("Vel", { "double x", "double y", "double z" })
stator.component("Frag", { "double v", "double w" })
stator.component("Load", { "double a", "double b", "uint32_t c" })
stator.component("Blob", { "char text[24]" })
for i = 1, 26 do stator.component("Tag" .. i, {}) end
stator.system("move", { write = { Pos }, read = { Vel }, every = 1e6 }, function() end)
stator.query { read = { stator.component "Frag" } }
