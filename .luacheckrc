std = "luajit"
max_line_length = 120
ignore = { "581" } -- `not (x > y)` is meant: it is true for NaN
self = false
files["tests"] = { max_line_length = 160 } -- expected messages stand whole
files["tests/lua"] = { std = "+busted" }
files["tests/e2e"] = { std = "+busted" }
files["tests/support"] = { std = "+busted" }
-- scripts shadow `cmd` on purpose: the argument is the same value
files["examples"] = { ignore = { "212", "431", "432" } }
files["scripts"] = { ignore = { "212", "431", "432" } }
