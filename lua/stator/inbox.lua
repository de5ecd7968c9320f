--- Inboxes: bounded queues of events for tasks.
---
---   sent ──▶ inbox ──▶ who waits first, else the queue ──▶ next(), each(), try_next()
---
--- An inbox belongs to its script, by name: a task that fails and starts again goes on with what came
--- meanwhile, and a declaration that is run again finds it. One of a single entity ends with that. An
--- event in the hand of a task that does not get it (its batch was refused, it lost a race, it was
--- cancelled) goes back to its place in the queue.
local abi = require "stator.abi"
local core = require "stator.core.task"
local entity = require "stator.entity"
local err = require "stator.err"
local event = require "stator.event"
local log = require "stator.log"
local names = require "stator.names"
local registry = require "stator.registry"
local ring = require "stator.ring"
local task = require "stator.task"
local waiters = require "stator.waiters"
local world_core = require "stator.core.world"

local C, world = abi.C, abi.world
local park = core.park
local CAP, CAP_MAX, INBOXES_MAX, FIRST_SLOTS = 64, 65536, 65536, 16
local POLICIES = { "drop_old", "drop_new", "reject" }
local OPTIONS = { "cap", "full", "to", "name" }
local DESPAWNED = 3

---@class stator.Inbox
---@field name string script and name
---@field event_name string
---@field to any entity, a number or a handle; false: all events of the kind
---@field cap integer
---@field full string
---@field ring stator.Ring an item: its value, the entity that it was sent to; numbered by `received`
---@field waiters stator.Waiters while the ring is empty
---@field gone boolean its entity is gone
---@field room integer|false of the core, for full = "reject"
---@field script stator.Script
---@field loose boolean made by a task of a revision before, and by none since: it is kept, its bounds may change
local Inbox = {}
local M = {
  by_key = {}, ---@type table<string, stator.Inbox>
  of_event = {}, ---@type table<string, { list: stator.Inbox[], by_to: table<number, stator.Inbox[]> }>
  by_entity = {}, ---@type table<number, stator.Inbox[]>
  count = 0,
}

-- ---- the queue ------------------------------------------------------------------------------

--- Tells the core how many more the next apply may bring.
local function tell_room(inbox)
  if inbox.room then C.ecs_room_set(world, inbox.room, math.max(0, inbox.cap - inbox.ring.count)) end
end

--- Gives the oldest event to a waiter. Answers false when there is none.
local function take(inbox, w)
  if inbox.ring.count == 0 then return false end
  w.value, w.to, w.at = ring.pop(inbox.ring)
  w.state = "got"
  inbox.taken = inbox.taken + 1
  return true
end

--- Gives what there is to who waits, in their order.
local function serve(inbox)
  local w = inbox.waiters.first
  while w and take(inbox, w) do
    waiters.remove(inbox.waiters, w)
    core.settle(w.future, true, w.value, w.to)
    w = inbox.waiters.first
  end
  tell_room(inbox)
end

local function dropped(inbox)
  inbox.dropped = inbox.dropped + 1
  local n = inbox.dropped
  if n == inbox.tell_at then
    inbox.tell_at = n * 2
    log.event("warn", inbox.name, ("inbox is full (%d): %s dropped so far, %s"):format(inbox.cap,
      n == 1 and "1 event" or n .. " events", inbox.full == "drop_old" and "the oldest go" or "new ones go"))
  end
end

--- A new event.
local function put(inbox, value, to)
  inbox.received = inbox.received + 1
  while inbox.ring.count >= inbox.cap do -- more than one where events came back
    dropped(inbox)
    if inbox.full ~= "drop_old" then return end -- "reject": its entity got another id meanwhile
    ring.pop(inbox.ring)
  end
  ring.push(inbox.ring, value, to, inbox.received)
  serve(inbox)
end

local function gone_error(inbox)
  return err.new("gone", inbox.to and ("the entity that %s is for is gone"):format(inbox.name)
    or ("%s is not declared any more"):format(inbox.name))
end

-- ---- waiting --------------------------------------------------------------------------------

--- Stands in line, or has its event at once.
local function begin(inbox)
  local w = { future = core.future(), state = "waiting" }
  if take(inbox, w) then
    tell_room(inbox)
    core.settle(w.future, true, w.value, w.to)
  elseif inbox.gone then
    w.state = "ended"
    core.settle(w.future, false, gone_error(inbox))
  elseif not waiters.append(inbox.waiters, w) then
    w.state = "limit"
  end
  return w
end

--- Leaves the line, or gives back what it got.
local function undo(inbox, w)
  if w.state == "waiting" then
    waiters.remove(inbox.waiters, w)
  elseif w.state == "got" then
    inbox.taken = inbox.taken - 1
    ring.put_back(inbox.ring, w.value, w.to, w.at)
    serve(inbox)
  end
  w.state = "ended"
end

--- Its values, once the await has ended well; else it has done nothing.
local function finish(inbox, w, t, called, ok, ...)
  if called and ok and not t.told then return ... end
  undo(inbox, w)
  if not called then error(ok, 0) end
  error(ok and t.told or (...), 0)
end

local NEXT = {}

--- park may raise, where nothing can wait.
function NEXT.await(inbox)
  local t, w = task.current("inbox:next"), begin(inbox)
  if w.state == "limit" then err.raise(waiters.too_many("inbox"), "limit") end
  return finish(inbox, w, t, pcall(park, w.future))
end

function NEXT.start(inbox)
  local w = begin(inbox)
  if w.state == "limit" then core.settle(w.future, false, err.new("limit", waiters.too_many("inbox"))) end
  local function take_back() undo(inbox, w) end
  return w.future, take_back, take_back
end

--- Waits for the next event: `local ev, to = await(inbox:next())`. An operation. Those who wait get events
--- in the order in which they came. Raises `gone` when the inbox's entity is gone and nothing waits.
---@return stator.Operation of a table of values, and the entity that it was sent to or nil
function Inbox:next() return task.paired(NEXT, self) end

--- Turns, one an event, for ever: `for ev, to in inbox:each() do ... end`.
---@async
function Inbox:each()
  task.current("inbox:each")
  return NEXT.await, self
end

--- The next event if one waits, else nil. Whoever waits in line goes first.
---@return table? values, number? to
function Inbox:try_next()
  local w = {}
  if not take(self, w) then return nil end
  tell_room(self)
  return w.value, w.to
end

--- How many events wait.
---@return integer
function Inbox:count() return self.ring.count end

--- Counts since it was made: `received`, `taken`, `dropped`; `waiting`, `cap`.
function Inbox:stats()
  return {
    received = self.received, taken = self.taken, dropped = self.dropped, waiting = self.ring.count,
    cap = self.cap,
  }
end

local INBOX = names.class("inbox", Inbox)
INBOX.__tostring = function(inbox) return "inbox " .. inbox.name end

-- ---- declaring ------------------------------------------------------------------------------

--- Whose it is: the script whose body runs, or whose task.
local function owner_of()
  if registry.script then return registry.script end
  local script = core.current() and task.current("inbox").script
  return script or err.raise("inbox: only in a script's body or inside a task")
end

local function check(options)
  registry.check_options("inbox", options, OPTIONS)
  local cap, full, name = options.cap or CAP, options.full or "drop_old", options.name
  if type(cap) ~= "number" or not (cap >= 1 and cap <= CAP_MAX and cap % 1 == 0) then
    err.raise(("inbox: cap is a whole number from 1 to %d, not %s"):format(CAP_MAX, err.shown(cap)))
  end
  if full ~= "drop_old" and full ~= "drop_new" and full ~= "reject" then
    err.raise(('inbox: full is "drop_old", "drop_new" or "reject", not %s%s'):format(err.shown(full),
      err.nearest(tostring(full), POLICIES)))
  end
  if name ~= nil and (type(name) ~= "string" or name == "") then
    err.raise("inbox: name is a text, not " .. err.shown(name))
  end
  return cap, full
end

--- Those of an event, whichever declaration of it.
local function lists_of(name)
  local lists = M.of_event[name]
  if not lists then
    lists = { list = {}, by_to = {} }
    M.of_event[name] = lists
  end
  return lists
end

local function add_to(map, id, inbox)
  map[id] = map[id] or {}
  table.insert(map[id], inbox)
end

local function remove_from(map, id, inbox)
  local list = map[id] or {}
  for i, other in ipairs(list) do
    if other == inbox then table.remove(list, i) break end
  end
  if #list == 0 then map[id] = nil end
end

--- The core refuses what does not fit: from when entities are there.
local function open_room(inbox)
  if inbox.full ~= "reject" or inbox.room then return end
  local to = inbox.to and entity.id_of(inbox.to) or 0
  local room = C.ecs_room_open(world, event.by_name[inbox.event_name].id, to)
  if room == 0 then err.raise("inbox: " .. abi.last_error(), "limit") end
  inbox.room = room
  tell_room(inbox)
end

local function close_room(inbox)
  if inbox.room then C.ecs_room_close(world, inbox.room) end
  inbox.room = false
end

local function connect(inbox)
  local lists = lists_of(inbox.event_name)
  if type(inbox.to) ~= "number" then return table.insert(lists.list, inbox) end
  if not C.ecs_alive(world, inbox.to) then err.raise(("inbox: entity %.0f does not exist"):format(inbox.to)) end
  if not next(M.by_entity) then world_core.observe(DESPAWNED) end
  add_to(lists.by_to, inbox.to, inbox)
  add_to(M.by_entity, inbox.to, inbox)
end

local function place_of()
  local e = {}
  local ok, raised = pcall(err.raise, "")
  e.message = not ok and raised or ""
  return tostring(e.message):match "^(.-:%d+):" or "?"
end

--- What a body has declared under a key.
local function declared(key)
  for _, d in ipairs(registry.recording.inboxes) do
    if d.inbox.key == key then return d end
  end
end

--- Gives it the bounds that it is declared with now.
local function set_bounds(inbox, cap, full, place)
  inbox.cap, inbox.full, inbox.place, inbox.loose = cap, full, place, false
  if inbox.room and full ~= "reject" then close_room(inbox) end
  open_room(inbox)
  tell_room(inbox)
end

local function check_same(known, inbox, cap, full)
  if known.cap == cap and known.full == full then return end
  err.raise(("inbox %s: made with other options at %s"):format(inbox.name, known.place))
end

local function new(script, key, name, e, to, cap, full)
  return setmetatable({
    script = script, name = name, key = key, event_name = e.name, to = to or false, cap = cap, full = full,
    place = place_of(), room = false,
    ring = ring.new(math.min(cap, FIRST_SLOTS)), waiters = waiters.new(),
    received = 0, taken = 0, dropped = 0, tell_at = 1, gone = false, loose = false,
  }, INBOX)
end

--- From now on it gets events.
local function open(inbox)
  if M.count >= INBOXES_MAX then err.raise(("inbox: more than %d inboxes"):format(INBOXES_MAX), "limit") end
  connect(inbox)
  open_room(inbox)
  M.by_key[inbox.key] = inbox
  M.count = M.count + 1
end

--- In a body: it gets events from when the body's revision is in force.
local function declare(script, inbox, cap, full)
  local d = declared(inbox.key)
  if d then check_same(d, inbox, cap, full) return end
  table.insert(registry.recording.inboxes, {
    script = script, inbox = inbox, cap = cap, full = full, place = place_of(),
  })
end

--- An inbox for events of a kind. The same script, name and entity: the same inbox, with what waits in it.
---@param e stator.Event
---@param options { cap: integer?, full: string?, to: any, name: string? }? cap: 64; full: "drop_old" (default),
--- "drop_new", or "reject": the batch that sends one too many is refused; to: only what is sent to this entity
---@return stator.Inbox
function M.inbox(e, options)
  event.need("inbox", e)
  options = options or {}
  local cap, full = check(options)
  local script = owner_of()
  local name = ("%s/%s"):format(script.name, options.name or e.name)
  local to = options.to
  local shown = ""
  if to ~= nil then shown = type(to) == "number" and ("[%.0f]"):format(to) or ("[%s]"):format(entity.path_of(to)) end
  local key = ("%s\0%s\0%s"):format(name, e.name, shown)
  local known = M.by_key[key]
  if registry.script then
    local d = declared(key)
    local inbox = d and d.inbox or known or new(script, key, name .. shown, e, to, cap, full)
    declare(script, inbox, cap, full)
    return inbox
  end
  if known and known.loose then
    set_bounds(known, cap, full, place_of())
    return known
  elseif known then
    check_same(known, known, cap, full)
    return known
  end
  local inbox = new(script, key, name .. shown, e, to, cap, full)
  open(inbox)
  return inbox
end

local close

--- Opens what the bodies of the live set have declared. Once entities exist.
function M.freeze()
  for _, d in ipairs(registry.live.inboxes) do
    local inbox = d.inbox
    if M.by_key[inbox.key] == inbox then
      set_bounds(inbox, d.cap, d.full, d.place)
    else
      inbox.cap, inbox.full, inbox.place, inbox.gone = d.cap, d.full, d.place, false
      open(inbox)
    end
  end
end

--- Ends those that a set has declared and the live one has not. Those that tasks of the scripts have made are for
--- whoever makes them again; nobody is refused for them meanwhile, and after one more revision they end.
---@param set stator.Set
---@param scripts table<stator.Script, any> that run again
function M.retire(set, scripts)
  local kept, of_bodies, ends = {}, {}, {}
  for _, d in ipairs(registry.live.inboxes) do kept[d.inbox] = true end
  for _, d in ipairs(set.inboxes) do
    of_bodies[d.inbox] = true
    if not kept[d.inbox] and M.by_key[d.inbox.key] == d.inbox then close(d.inbox) end
  end
  for _, inbox in pairs(M.by_key) do -- each for itself: the order does not show
    if scripts[inbox.script] and not kept[inbox] and not of_bodies[inbox] then
      if inbox.loose then ends[#ends + 1] = inbox end
      inbox.loose = true
      close_room(inbox)
    end
  end
  for _, inbox in ipairs(ends) do close(inbox) end
end

-- ---- delivering -----------------------------------------------------------------------------

local function deliver(inboxes, sent)
  for _, inbox in ipairs(inboxes or {}) do
    local to = inbox.to
    if not to or to == sent.to or (type(to) ~= "number" and sent.to and entity.lookup(to) == sent.to) then
      put(inbox, event.value(sent), sent.to)
    end
  end
end

--- Gives the events of an apply to the inboxes, in the order of recording.
---@param list stator.Sent[]
function M.deliver(list)
  for _, sent in ipairs(list) do
    local lists = M.of_event[sent.event.name]
    if lists then
      deliver(lists.list, sent)
      if sent.to then deliver(lists.by_to[sent.to], sent) end
    end
  end
end

function close(inbox)
  inbox.gone = true
  M.by_key[inbox.key] = nil
  M.count = M.count - 1
  local lists = lists_of(inbox.event_name)
  if type(inbox.to) == "number" then
    remove_from(lists.by_to, inbox.to, inbox)
    remove_from(M.by_entity, inbox.to, inbox)
  end
  for i, other in ipairs(lists.list) do
    if other == inbox then table.remove(lists.list, i) break end
  end
  close_room(inbox)
  local w = inbox.waiters.first
  while w do
    waiters.remove(inbox.waiters, w)
    w.state = "ended"
    core.settle(w.future, false, gone_error(inbox))
    w = inbox.waiters.first
  end
end

--- Ends the inboxes of entities that are gone.
---@param events table see core.world.events
function M.bury(events)
  if not next(M.by_entity) then return end
  for i = 1, #events, 4 do
    local inboxes = events[i] == DESPAWNED and M.by_entity[events[i + 1]]
    if inboxes then
      M.by_entity[events[i + 1]] = nil
      for _, inbox in ipairs(inboxes) do close(inbox) end
    end
  end
end

--- Notes for each future that somebody waits for here what that is, in words; for whoever looks on.
---@param map table<userdata, string>
function M.index(map)
  for _, inbox in pairs(M.by_key) do -- each has its own: the order does not show
    waiters.index(inbox.waiters, map, "inbox " .. inbox.name)
  end
end

return M
