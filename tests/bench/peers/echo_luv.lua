-- The echo work on plain luv: prints its port and echoes until it is killed.
local uv = require "luv"

local server = uv.new_tcp()
server:bind("127.0.0.1", 0)
server:listen(64, function()
  local conn = uv.new_tcp()
  server:accept(conn)
  conn:nodelay(true)
  conn:read_start(function(_, data)
    if not data then
      conn:close()
      return
    end
    local written = conn:try_write(data) or 0 -- quicker than write; what does not fit waits there
    if written < #data then conn:write(data:sub(written + 1)) end
  end)
end)
io.stdout:write(server:getsockname().port, "\n")
io.stdout:flush()
uv.run()
