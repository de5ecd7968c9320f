--- `stator.net`: connections, listeners, servers, datagrams and names as operations.
---
--- What is opened belongs to the innermost block of the task that asked for it, and is closed when that
--- block ends, unless the block returns it (own.lua). An operation has no deadline of its own: those of the blocks
--- around it hold.
local combine = require "stator.combine"
local core = require "stator.core.task"
local dial = require "stator.dial"
local err = require "stator.err"
local file = require "stator.file"
local log = require "stator.log"
local names = require "stator.names"
local net = require "stator.core.net"
local own = require "stator.own"
local registry = require "stator.registry"
local task = require "stator.task"

local park, whole = core.park, names.whole

local READ_MAX_BYTES = 65536 -- of host/net_stream.h
local WRITE_MAX_BYTES = 1048576
local DELIMITER_MAX_BYTES = 64
local NAME_MAX_BYTES = 253
local PATH_MAX_BYTES = 107
local BACKLOG = 128
local MAX_CLIENTS = 64
local UDP_QUEUE, UDP_QUEUE_MAX = 64, 4096

local M = {}

-- ---- checks ----------------------------------------------------------------------------------

local function check_text(what, value, most)
  if type(value) ~= "string" then err.raise(("%s: expected text, got %s"):format(what, err.shown(value))) end
  if #value > most then err.raise(("%s: at most %d bytes, got %d"):format(what, most, #value)) end
  return value
end

local function check_name(what, value, most)
  check_text(what, value, most)
  if value == "" or value:find("%z") then
    err.raise(("%s: expected a name without zero bytes, got %s"):format(what, err.shown(value)))
  end
  return value
end

local function check_flag(what, value)
  if value ~= nil and type(value) ~= "boolean" then
    err.raise(("%s: expected true or false, got %s"):format(what, err.shown(value)))
  end
  return value
end

local function check_address(what, value)
  check_name(what, value, NAME_MAX_BYTES)
  if not net.is_numeric(value) then
    err.raise(('%s: expected an address such as "127.0.0.1", got %s'):format(what, err.shown(value)))
  end
  return value
end

--- A relative path of a unix socket is one of the scene's folder.
local function path_of(path) return path:sub(1, 1) == "/" and path or file.folder .. "/" .. path end

--- A table of options out of (host, port), or as it is.
local function options_of(what, host, port, known)
  if type(host) == "string" then return { host = host, port = port } end
  registry.check_options(what, host, known)
  return host
end

--- Detaches, attaches and closes: the same for all items.
local function owned_methods(methods)
  --- Takes it off its block: it stays open until it is closed, collected, or its VM is lost.
  function methods:detach()
    own.detach(self)
    return self
  end

  --- Gives it to the innermost block here.
  function methods:attach()
    own.attach(self, task.current("attach").scope)
    return self
  end

  --- Closes it; what waits on it fails with code "closed". Twice is fine.
  function methods:close()
    own.detach(self)
    self._raw:close()
  end

  return methods
end

--- Gives a fresh item to the block that asked for it, or to the one here when that has ended.
local function give(item, scope)
  if scope:has_ended() then scope = task.current("net").scope end
  own.attach(item, scope)
  return item
end

--- Raises the cancellation of the running task, if there is one: its operation had ended already, but
--- then nobody would take what it ended with.
local function heed_cancel(give_back, ...)
  local cancelled = task.current("net").cancelled
  if not cancelled then return end
  give_back(...)
  error(cancelled, 0)
end

-- ---- connections -----------------------------------------------------------------------------

---@class stator.Connection
local Connection = owned_methods {}
local connection_class

local function put_back(listener, raw) listener:put_back(raw) end
local function close_raw(raw) raw:close() end

--- Nobody has used it: a listener's next accept gets it.
local function drop_connection(conn)
  own.detach(conn)
  if conn._from then conn._from:put_back(conn._raw) else conn._raw:close() end
end

local function connection(raw, scope, from)
  local conn = own.item({ _raw = raw, _from = from or false }, drop_connection)
  return give(setmetatable(conn, connection_class), scope)
end

local function limit_of(what, options)
  if options == nil then return READ_MAX_BYTES end
  registry.check_options(what, options, { "limit" })
  if options.limit == nil then return READ_MAX_BYTES end
  return whole(what .. ": limit", options.limit, 1, READ_MAX_BYTES)
end

--- Operation: exactly n bytes, or without n what there is, at least one. Fails with code "closed" at the
--- end of the stream; what is there and too short stays, for read().
---@param n integer? 1 to 65536
function Connection:read(n)
  if n ~= nil then whole("read", n, 1, READ_MAX_BYTES) end
  return self._raw:read(n)
end

--- Operation: the next line, without "\n" or "\r\n". Fails with code "limit" when no line ends within
--- `limit` bytes (65536), and with "closed" at the end; what is there stays.
---@param options { limit: integer }?
function Connection:read_line(options) return self._raw:line(limit_of("read_line", options)) end

--- Operation: what comes before the delimiter, which is taken away. Otherwise as read_line.
---@param delimiter string 1 to 64 bytes
---@param options { limit: integer }?
function Connection:read_until(delimiter, options)
  check_text("read_until", delimiter, DELIMITER_MAX_BYTES)
  if delimiter == "" then err.raise("read_until: expected a delimiter, got an empty text") end
  return self._raw:upto(limit_of("read_until", options), delimiter)
end

local function next_line(lines)
  local ok, line = park(lines.raw:line(lines.limit))
  if ok then return line end
  if line.code == "closed" and not err.must_pass(line) then return nil end
  error(line, 0)
end

--- `for line in conn:lines() do`: until the connection ends. What comes after the last line's end is no
--- line; it stays, for read().
---@param options { limit: integer }?
---@async
function Connection:lines(options) return next_line, { raw = self._raw, limit = limit_of("lines", options) } end

--- Operation that ends when the kernel has taken all bytes. Writes go one after the other; more than 64 at a
--- time fail with code "busy". Cancelled before the first byte it did not happen; later it closes the
--- connection, because what follows would be torn.
---@param text string at most 1 MiB
function Connection:write(text) return self._raw:write(check_text("write", text, WRITE_MAX_BYTES)) end

--- Operation: ends the sending side after what was written before. Reading goes on.
function Connection:shutdown() return self._raw:shutdown() end

--- Host and port of the other side; of a unix socket its path, "" without, and nil. nil when it is gone.
---@return string? host
---@return integer? port
function Connection:peer() return self._raw:address(true) end

--- The same of this side.
function Connection:local_address() return self._raw:address(false) end

--- Options of a TCP connection: `nodelay` (true: small writes go at once, the default), `keepalive` (false, or
--- seconds of silence before the other side is probed).
function Connection:set(options)
  registry.check_options("set", options, { "nodelay", "keepalive" })
  check_flag("set: nodelay", options.nodelay)
  local keepalive = options.keepalive
  if keepalive ~= nil and keepalive ~= false then whole("set: keepalive", keepalive, 1, 32767) end
  self._raw:set(options.nodelay, keepalive == false and 0 or keepalive)
  return self
end

connection_class = names.class("connection", Connection)

local function open(s, scope)
  local ok, raw
  if s.unix then
    ok, raw = park(net.connect_unix(path_of(s.unix)))
  else
    ok, raw = xpcall(dial.tcp, err.handler, s.host, s.port)
  end
  if not ok then
    if not err.must_pass(raw) and err.is(raw) then
      raw.message = ("connect to %s: %s"):format(s.unix or s.host .. ":" .. s.port, raw.message)
    end
    error(raw, 0)
  end
  heed_cancel(close_raw, raw)
  local conn = connection(raw, scope)
  if s.nodelay ~= nil or s.keepalive ~= nil then conn:set { nodelay = s.nodelay, keepalive = s.keepalive } end
  return conn
end

--- Operation: a connection. A name is resolved, and its addresses are tried in turn.
---@param host string | { host: string, port: integer, unix: string, nodelay: boolean, keepalive: number | false }
---@param port integer?
function M.connect(host, port)
  local o = options_of("connect", host, port, { "host", "port", "unix", "nodelay", "keepalive" })
  if o.unix ~= nil then
    check_name("connect: unix", o.unix, PATH_MAX_BYTES)
    if o.host ~= nil or o.port ~= nil then err.raise("connect: expected either unix, or host and port") end
  else
    check_name("connect: host", o.host, NAME_MAX_BYTES)
    whole("connect: port", o.port, 1, 65535)
  end
  check_flag("connect: nodelay", o.nodelay)
  if o.keepalive then whole("connect: keepalive", o.keepalive, 1, 32767) end
  return task.operation(open, o, task.current("connect").scope)
end

-- ---- listeners -------------------------------------------------------------------------------

---@class stator.Listener
local Listener = owned_methods {}
local listener_class

local function accept(listener, scope)
  local raw = task.await(listener._raw:accept())
  heed_cancel(put_back, listener._raw, raw)
  return connection(raw, scope, listener._raw)
end

--- Operation: the next client's connection. First come, first served.
function Listener:accept() return task.operation(accept, self, task.current("accept").scope) end

--- The port it listens on; 0 for a unix socket.
function Listener:port() return self._raw:port() end

listener_class = names.class("listener", Listener)

local function mode_of(text)
  if text == nil then return tonumber("600", 8) end
  if type(text) == "string" and text:find("^0?[0-7][0-7][0-7]$") then return tonumber(text, 8) end
  err.raise('listen: mode: expected octal text such as "0660", got ' .. err.shown(text))
end

local LISTEN_OPTIONS = { "host", "port", "unix", "mode", "backlog" }

local function listen(o)
  local backlog = o.backlog == nil and BACKLOG or whole("listen: backlog", o.backlog, 1, 4096)
  local raw, e
  if o.unix ~= nil then
    check_name("listen: unix", o.unix, PATH_MAX_BYTES)
    if o.host ~= nil or o.port ~= nil then err.raise("listen: expected either unix, or host and port") end
    raw, e = net.listen_unix(path_of(o.unix), mode_of(o.mode), backlog)
  else
    if o.mode ~= nil then err.raise("listen: mode is for unix sockets") end
    local host = o.host == nil and "127.0.0.1" or check_address("listen: host", o.host)
    raw, e = net.listen(host, whole("listen: port", o.port, 0, 65535), backlog)
  end
  if not raw then err.raise(("listen on %s: %s"):format(o.unix or "port " .. o.port, e.message), e.code) end
  local listener = setmetatable(own.item({ _raw = raw }, Listener.close), listener_class)
  return give(listener, task.current("listen").scope)
end

--- A listener: on `host` (127.0.0.1) and `port` (0: a free one), or on a unix socket whose file has `mode`
--- ("0600"). Raises code "in_use" when somebody listens there already; the file of a server that is gone is
--- replaced.
---@param options { host: string, port: integer, unix: string, mode: string, backlog: integer }
---@return stator.Listener
function M.listen(options)
  registry.check_options("listen", options, LISTEN_OPTIONS)
  task.current("listen")
  return listen(options)
end

-- ---- serving ---------------------------------------------------------------------------------

local EXPECTED = { closed = true, io = true, timeout = true, limit = true } -- a client's doing, no fault

local function tell_client(name, e)
  e.message = ("client %s: %s"):format(name, tostring(e.message))
  local t = task.current("serve")
  if EXPECTED[e.code] then
    log.event("info", t.name, e.message)
  else
    task.on_fault(t.name, e, t.owner)
  end
end

local function handle(conn, fn)
  conn:attach()
  return fn(conn)
end

local function run_client(clients, conn, fn)
  local host, port = conn:peer()
  local ok, e = xpcall(combine.scope, err.handler, handle, conn, fn)
  clients.count = clients.count - 1
  if clients.room then
    core.settle(clients.room, true)
    clients.room = nil
  end
  if ok then return end
  if err.must_pass(e) then error(e, 0) end
  tell_client(port and host .. ":" .. port or host or "unknown", err.of(e))
end

local function serve(listener, max_clients, fn)
  local clients = { count = 0 }
  while true do
    if clients.count >= max_clients then
      clients.room = core.future()
      task.await(clients.room)
    end
    local ok, conn = combine.try(task.await, listener:accept())
    if not ok then
      if conn.code == "closed" then return end
      error(conn, 0)
    end
    clients.count = clients.count + 1
    task.child(run_client, { quiet = true }, clients, conn, fn)
  end
end

local SERVE_OPTIONS = { "host", "port", "unix", "mode", "backlog", "listener", "max_clients" }

--- Serves clients, each in a task of its own that ends with its connection closed. At most `max_clients` (64)
--- at a time: until one ends, the next is not accepted. A client's failure is told and stops nobody else. Ends
--- when it is cancelled, or, after the last client, when its listener is closed.
---@param where stator.Listener | table a listener, { listener, max_clients }, or the options of listen
---@param fn fun(conn: stator.Connection)
---@async
function M.serve(where, fn)
  local o = getmetatable(where) == "listener" and { listener = where } or where
  registry.check_options("serve", o, SERVE_OPTIONS)
  if type(fn) ~= "function" then err.raise("serve: expected a function, got " .. type(fn)) end
  local max = o.max_clients == nil and MAX_CLIENTS or whole("serve: max_clients", o.max_clients, 1, 4096)
  if o.listener ~= nil and getmetatable(o.listener) ~= "listener" then
    err.raise("serve: listener: expected a listener, got " .. err.shown(o.listener))
  end
  return combine.scope(function() return serve(o.listener or listen(o), max, fn) end)
end

-- ---- datagrams -------------------------------------------------------------------------------

---@class stator.Datagrams
local Datagrams = owned_methods {}

local function send_by_name(raw, text, host, port)
  return task.await(raw:send(text, task.await(net.resolve(host))[1], port))
end

--- Operation that ends when the kernel has taken the datagram. One that is too long fails with code
--- "too_long". Nobody tells whether it arrived.
---@param text string
---@param host string a name or an address
---@param port integer
function Datagrams:send(text, host, port)
  check_text("send", text, WRITE_MAX_BYTES)
  check_name("send: host", host, NAME_MAX_BYTES)
  whole("send: port", port, 1, 65535)
  if net.is_numeric(host) then return self._raw:send(text, host, port) end
  return task.operation(send_by_name, self._raw, text, host, port)
end

--- Operation: the next datagram as text, host, port.
function Datagrams:receive() return self._raw:receive() end

--- The port it is bound to.
function Datagrams:port() return (select(2, self._raw:address())) end

--- Host and port that it is bound to.
function Datagrams:local_address() return self._raw:address() end

--- How many datagrams came, were dropped because the queue was full, went out, could not be received, and
--- wait now.
---@return { received: integer, dropped: integer, sent: integer, errors: integer, waiting: integer }
function Datagrams:counts()
  local received, dropped, sent, errors, waiting = self._raw:counts()
  return { received = received, dropped = dropped, sent = sent, errors = errors, waiting = waiting }
end

local datagrams_class = names.class("datagram socket", Datagrams)

local UDP_OPTIONS = { "host", "port", "broadcast", "group", "interface", "queue", "full" }

--- A socket for datagrams, bound to `host` (127.0.0.1) and `port` (0: a free one). `broadcast`: it may send to
--- broadcast addresses. `group`: it joins a multicast group, on the interface with the address `interface`, and
--- shares its port. `queue` (64): so many may wait; `full`: "drop_old" (default) or "drop_new".
---@return stator.Datagrams
function M.udp(options)
  registry.check_options("udp", options, UDP_OPTIONS)
  local o = options
  local host = o.host == nil and "127.0.0.1" or check_address("udp: host", o.host)
  local port = o.port == nil and 0 or whole("udp: port", o.port, 0, 65535)
  local queue = o.queue == nil and UDP_QUEUE or whole("udp: queue", o.queue, 1, UDP_QUEUE_MAX)
  if o.full ~= nil and o.full ~= "drop_old" and o.full ~= "drop_new" then
    err.raise('udp: full: expected "drop_old" or "drop_new", got ' .. err.shown(o.full))
  end
  if o.group ~= nil then check_address("udp: group", o.group) end
  if o.interface ~= nil then check_address("udp: interface", o.interface) end
  local scope = task.current("udp").scope
  local raw, e = net.udp(host, port, check_flag("udp: broadcast", o.broadcast) == true, o.group ~= nil,
    o.full == "drop_new", queue)
  if not raw then err.raise(("udp on %s:%d: %s"):format(host, port, e.message), e.code) end
  local socket = give(setmetatable(own.item({ _raw = raw }, Datagrams.close), datagrams_class), scope)
  if o.group then
    local joined, problem = raw:join(o.group, o.interface)
    if not joined then
      socket:close()
      err.raise(("udp: group %s: %s"):format(o.group, problem.message), problem.code)
    end
  end
  return socket
end

-- ---- names -----------------------------------------------------------------------------------

--- Operation: the addresses of a name, IPv4 first, then by number, each once. Fails with code "not_found". The
--- system's resolver may go on for a while after a cancel, for nobody.
---@param name string
function M.resolve(name) return net.resolve(check_name("resolve", name, NAME_MAX_BYTES)) end

return M
