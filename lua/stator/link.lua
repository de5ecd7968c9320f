--- Links: connections to devices, owned by the host. Each has a driver, an entity "links/NAME" with
--- a Link component, a bounded request queue, a deadline for every request, and reconnects with
--- growing pauses. Scripts hold late-bound handles.
---
---   script ── request ──▶ queue ──▶ window (on its way) ──▶ socket
---                 future ◀── key of the reply ◀── frames ◀──┘
local combine = require "stator.combine"
local command = require "stator.command"
local component = require "stator.component"
local core = require "stator.core.task"
local dial = require "stator.dial"
local err = require "stator.err"
local log = require "stator.log"
local names = require "stator.names"
local net = require "stator.core.net"
local registry = require "stator.registry"
local task = require "stator.task"

local QUEUE_MAX = 64
local BACKOFF_MIN_S, BACKOFF_MAX_S = 0.2, 5.0
local TELL_EVERY_S = 0.5
local TIMEOUTS_MAX = 3 -- in a row, then the connection is made anew

local M = { by_name = {}, list = {} }

--- Settings that every link has besides those of its driver.
M.settings = {
  { name = "driver", type = "string", required = true },
  { name = "timeout_s", type = "number", default = 0.5, min = 0.001, max = 3600, about = "for one request" },
  { name = "connect_s", type = "number", default = 3, min = 0.01, max = 3600, about = "for connecting" },
  { name = "scan_s", type = "number", default = 0.05, min = 0.001, max = 3600, about = "period of input points" },
  { name = "points", type = "points" },
  { name = "simulate", type = "string", about = "script of a simulated device" },
}

M.drivers = { "modbus_tcp" }

--- Declares the component of links; called while the registry records for the host.
function M.declare()
  M.State = component.enum("LinkState", { "down", "connecting", "up", "closed" })
  M.Link = component.component("Link", {
    "LinkState state", "double rtt_s", "double age_s", "uint32_t errors", "uint32_t reconnects",
  })
end

-- ---- handles for scripts ---------------------------------------------------------------------

local Handle = {}
Handle.__index = function(handle, key)
  local l = M.by_name[rawget(handle, "_name")]
  if not l then err.raise(('there is no link "%s" in the scene'):format(rawget(handle, "_name"))) end
  local method = l.driver.methods[key]
  if method then return method end
  if key == "entity" then return l.entity end
  names.missing(('link "%s" (%s)'):format(l.name, l.settings.driver), key, l.driver.methods)
end
Handle.__tostring = function(h) return "link " .. rawget(h, "_name") end

--- A handle of a link of the scene. In a script's body `stator check` verifies the name.
---@param name string
function M.link(name)
  if type(name) ~= "string" then error("link: expected a name, got " .. type(name), 2) end
  if registry.script then
    local info = debug.getinfo(2, "Sl")
    table.insert(registry.recording.links, {
      name = name, script = registry.script, place = info.short_src .. ":" .. info.currentline,
    })
  elseif not M.by_name[name] then
    err.raise(('there is no link "%s" in the scene%s'):format(name, err.nearest(name, M.names())))
  end
  return setmetatable({ _name = name }, Handle)
end

function M.names()
  local list = {}
  for _, l in ipairs(M.list) do list[#list + 1] = l.name end
  return list
end

--- Raises when a method was called with a dot.
function M.check_handle(handle)
  if getmetatable(handle) ~= Handle then err.raise("call it with a colon: plc:read_holding(...)") end
end

--- Checks a request's options.
---@param known string[]
function M.check_options(what, options, known)
  registry.check_options(what, options, known)
end

local function link_of(handle)
  M.check_handle(handle)
  return M.by_name[rawget(handle, "_name")]
end

-- ---- requests -------------------------------------------------------------------------------

---@param sent boolean? it was sent, and no answer has come
local function settle(l, request, ok, value, sent)
  if request.settled then return end
  request.settled = true
  if not ok and err.is(value) then
    l.errors = l.errors + 1
    value.message = ("link %s: %s: %s"):format(l.name, request.what, value.message)
    value.unknown = sent and request.writes or nil -- the device may have done it
  elseif ok and request.convert then
    ok, value = pcall(request.convert, value)
    if not ok then value = err.handler(value) end
  end
  core.settle(request.future, ok, value)
end

local function fail_all(l, code, message)
  local queue, pending = l.queue, l.pending
  l.queue, l.pending = {}, {}
  for _, request in ipairs(pending) do settle(l, request, false, err.new(code, message), true) end
  for _, request in ipairs(queue) do settle(l, request, false, err.new(code, message)) end
end

local function remove(list, item)
  for i, x in ipairs(list) do
    if x == item then return table.remove(list, i) end
  end
end

--- What the next VM has to know, should this one be lost.
local function keep_notes(l) l.conn:note(l.session.transaction, l.writes_sent) end

--- Takes a request that was sent off the list.
local function forget_sent(l, request)
  if not remove(l.pending, request) then return end
  if request.writes then l.writes_sent = l.writes_sent - 1 end
  if l.session then keep_notes(l) end
end

--- Sends what the window has room for. Never waits.
local function pump(l)
  while l.session and #l.queue > 0 and #l.pending < (l.settings.window or 1) do
    local request = table.remove(l.queue, 1)
    local bytes, key = l.session:encode(request)
    request.key, request.sent_s = key, core.now()
    local ok, e = l.conn:send(bytes)
    if not ok and e.code == "busy" then
      table.insert(l.queue, 1, request)
      return
    end
    table.insert(l.pending, request)
    if request.writes then l.writes_sent = l.writes_sent + 1 end
    keep_notes(l)
    if not ok then
      l.conn:close() -- its reader tells the rest
      return
    end
  end
end

local function wake_watch(l)
  if l.watch_wake and l.watch_wake:state() == "pending" then core.settle(l.watch_wake, true) end
end

local function begin(l, request)
  request.future = core.future()
  if l.state ~= "up" then
    settle(l, request, false, err.new("link_down", "the link is " .. l.state))
    return request.future
  end
  if #l.queue >= QUEUE_MAX then
    settle(l, request, false, err.new("busy", ("%d requests wait already"):format(QUEUE_MAX)))
    return request.future
  end
  request.deadline_s = core.now() + (request.timeout_s or l.settings.timeout_s)
  table.insert(l.queue, request)
  pump(l)
  wake_watch(l)
  return request.future, function()
    local sent = not remove(l.queue, request)
    if sent and request.writes and not request.settled then -- the device may have done it
      log.event("warn", "link " .. l.name,
        request.what .. ": cancelled after it was sent; whether the device did it is unknown")
    end
    request.settled = true
  end
end

--- An operation for a driver's method.
---@param request { pdu: string, what: string, writes: boolean?, convert: function? }
---@param options { timeout: number? }?
function M.request(handle, request, options)
  local l = link_of(handle)
  local timeout = options and options.timeout
  if timeout ~= nil and (type(timeout) ~= "number" or not (timeout > 0)) then
    err.raise("timeout: expected seconds above 0, got " .. tostring(timeout))
  end
  request.timeout_s = timeout
  return task.request(begin, l, request)
end

-- ---- the link's own tasks --------------------------------------------------------------------

--- Shows the state on the link's entity.
local function tell(l)
  l.told_s = core.now()
  command:insert(l.entity, M.Link, {
    state = l.state, rtt_s = l.rtt_s, age_s = l.last_reply_s and core.now() - l.last_reply_s or 0,
    errors = l.errors, reconnects = l.reconnects,
  })
end

local function set_state(l, state, text, level)
  if l.state == state and not text then return end
  l.state = state
  if text then log.event(level or "info", "link " .. l.name, text) end
  tell(l)
end

local function on_reply(l, reply)
  local request
  for _, r in ipairs(l.pending) do
    if r.key == reply.key then request = r break end
  end
  if not request then return end -- late: its request has timed out, or was made by a VM that is lost
  forget_sent(l, request)
  l.timeouts, l.last_reply_s = 0, core.now()
  l.rtt_s = core.now() - request.sent_s
  local value, e = l.session:decode(request, reply.body)
  settle(l, request, e == nil, e == nil and value or e)
  pump(l)
  if core.now() - l.told_s >= TELL_EVERY_S then tell(l) end
end

local function first_deadline(l)
  local first
  for _, list in ipairs { l.pending, l.queue } do
    for _, r in ipairs(list) do
      if not first or r.deadline_s < first then first = r.deadline_s end
    end
  end
  return first
end

local function expire(l)
  local now = core.now()
  for _, list in ipairs { l.pending, l.queue } do
    for i = #list, 1, -1 do
      local r = list[i]
      if r.deadline_s <= now then
        if list == l.pending then
          l.timeouts = l.timeouts + 1
          forget_sent(l, r)
        else
          table.remove(list, i)
        end
        settle(l, r, false, err.new("timeout", ("no reply within %g s"):format(r.timeout_s or l.settings.timeout_s)),
          list == l.pending)
      end
    end
  end
  pump(l)
  tell(l)
end

--- Fails requests whose deadline passes; hangs up on a device that does not answer any more.
local function watch_deadlines(l)
  while true do
    local deadline = first_deadline(l)
    if not deadline then
      l.watch_wake = core.future()
      task.await(l.watch_wake)
    elseif deadline <= core.now() then
      expire(l)
      if l.timeouts >= TIMEOUTS_MAX then
        error(err.new("timeout", ("%d requests in a row were not answered"):format(TIMEOUTS_MAX)), 0)
      end
    else
      task.await(core.sleep_until(deadline))
    end
  end
end

local function serve(l)
  combine.defer(function()
    l.session = nil
    l.conn:close()
  end)
  task.child(watch_deadlines, { name = l.task_name }, l)
  if l.points then task.child(l.driver.points.run, { name = l.task_name }, l) end
  local least = 1
  while true do
    local ok, bytes = core.park(l.conn:peek(least))
    if not ok then
      if not err.is_cancelled(bytes) then fail_all(l, "link_down", "the connection was lost: " .. bytes.message) end
      error(bytes, 0)
    end
    local replies, used = l.session:feed(bytes)
    l.conn:skip(used) -- a frame that is not whole stays with the connection, whatever becomes of this VM
    least = #bytes - used + 1
    for _, reply in ipairs(replies) do on_reply(l, reply) end
  end
end

--- Goes on with the connection of a VM that was lost.
local function adopt(l, conn)
  local transaction, writes = conn:note()
  l.conn = conn
  l.session = l.driver.session(l.settings, transaction)
  if writes > 0 then
    log.event("warn", "link " .. l.name, ("%d write%s had no answer when the VM was lost; whether the device did it "
      .. "is unknown"):format(writes, writes == 1 and "" or "s"))
  end
end

local function connect(l)
  local s = l.settings
  local kept = net.kept(l.name)
  l.timeouts, l.queue, l.pending, l.writes_sent = 0, {}, {}, 0
  if kept then
    adopt(l, kept)
    set_state(l, "up", "goes on with its connection")
  else
    set_state(l, "connecting")
    l.conn = combine.within(s.connect_s, dial.tcp, s.host, s.port)
    l.conn:keep(l.name)
    l.session = l.driver.session(s, 0)
    set_state(l, "up", ("up: %s:%d"):format(s.host, s.port))
  end
  keep_notes(l)
end

local function reason_of(e) return tostring(e.message) end

--- Connects, serves, and connects again, until it is cancelled.
local function run(l)
  local pause = BACKOFF_MIN_S
  combine.defer(function()
    fail_all(l, "closed", "the link was closed")
    set_state(l, "closed", "closed")
  end)
  while true do
    local ok, e = combine.try(combine.scope, connect, l)
    if ok then
      pause = BACKOFF_MIN_S
      ok, e = combine.try(combine.scope, serve, l)
    end
    local was_up = l.state == "up"
    if not ok then
      l.errors = l.errors + 1
      fail_all(l, "link_down", "the connection was lost: " .. reason_of(e))
      local what = was_up and "lost" or ("cannot connect to %s:%d"):format(l.settings.host, l.settings.port)
      set_state(l, "down", ("%s: %s; trying again"):format(what, reason_of(e)), "warn")
    end
    task.await(core.sleep(pause))
    pause = math.min(pause * 2, BACKOFF_MAX_S)
    l.reconnects = l.reconnects + 1
  end
end

-- ---- made by the scene ------------------------------------------------------------------------

--- A link as the scene describes it; nothing is connected yet.
---@param name string
---@param settings table checked against the settings of link and driver
---@param points table[]? resolved points, see points in the driver
function M.create(name, settings, points)
  local l = {
    name = name, settings = settings, driver = require("stator.driver." .. settings.driver),
    points = points and #points > 0 and points or nil, state = "down", errors = 0, reconnects = 0,
    rtt_s = 0, told_s = 0, timeouts = 0, writes_sent = 0, queue = {}, pending = {}, task_name = "link " .. name,
  }
  M.by_name[name] = l
  table.insert(M.list, l)
  l.handle = setmetatable({ _name = name }, Handle)
  return l
end

local function spawn(l, position, ...)
  l.task = task.spawn({
    name = l.task_name, order = registry.order(registry.PHASES.update, 0, position), owner = l.entity,
  }, ...)
end

--- Starts a link's tasks. Links come before all scripts in the order of T2.
function M.start(l, position) spawn(l, position, run, l) end

--- In the place of start, for a link that cannot work: tells why.
function M.stay_down(l, position, why) spawn(l, position, set_state, l, "down", why, "warn") end

--- Starts the simulated device behind a link: its server on a free loopback port, and the script
--- that plays the device. The link is pointed at it.
function M.start_simulator(l, run_script, position)
  local server = l.driver.simulator()
  local listener, e = server.listen("127.0.0.1", 0)
  if not listener then error(err.new("simulator", "cannot listen: " .. e.message), 0) end
  l.settings.host, l.settings.port = "127.0.0.1", listener:port()
  l.bank = server.bank()
  l.simulator = task.spawn({
    name = "simulated " .. l.name, order = registry.order(registry.PHASES.update, 0, position), owner = l.entity,
  }, function()
    task.child(server.run, { name = "simulated " .. l.name }, listener, l.bank)
    run_script(l.bank)
  end)
end

--- Waits until what the points still have to write has gone out; at most the time of one request.
function M.drain(l)
  local stop_s = core.now() + l.settings.timeout_s
  repeat
    task.await(core.ticks(1)) -- what changed in this step becomes requests first
  until l.state ~= "up" or (#l.queue == 0 and #l.pending == 0) or core.now() >= stop_s
end

--- "plc up" for the status line.
function M.status()
  local parts = {}
  for _, l in ipairs(M.list) do
    parts[#parts + 1] = ("%s %s%s"):format(l.name, l.state, l.errors > 0 and (" (%d errors)"):format(l.errors) or "")
  end
  return #parts > 0 and "links: " .. table.concat(parts, ", ") or ""
end

--- Notes for each future that somebody waits for here what that is, in words; for whoever looks on.
---@param map table<userdata, string>
function M.index(map)
  for _, l in ipairs(M.list) do
    for _, request in ipairs(l.queue) do
      map[request.future] = ("%s of link %s, queued"):format(request.what, l.name)
    end
    for _, request in ipairs(l.pending) do
      map[request.future] = ("%s of link %s, sent %.3g s ago"):format(request.what, l.name, core.now() - request.sent_s)
    end
  end
end

return M
