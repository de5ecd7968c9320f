--- Channels: queues between tasks, with a bound and a policy for when they are full.
---
---     send ──▶ [ senders that wait ] ──▶ ring of `cap` items ──▶ [ receivers that wait ] ──▶ receive
---
--- Receivers wait only while there is no item and no sender, senders only while the ring is full. Who
--- comes first is served first, and an item is handed over at once; its receiver runs a round later. An
--- await that raises has done nothing: a receiver that was handed an item gives it back, to its place
--- in the order of sending. So a receiver's item is "flying" until that one has run, and the sender of a
--- rendezvous (`cap = 0`) returns only after it.
local core = require "stator.core.task"
local err = require "stator.err"
local names = require "stator.names"
local registry = require "stator.registry"
local ring = require "stator.ring"
local sync = require "stator.sync"
local task = require "stator.task"
local waiters = require "stator.waiters"
local world = require "stator.core.world"

local park, unwrap = core.park, core.unwrap
local is_yieldable = coroutine.isyieldable
local NEXT_ROUND = sync.NEXT_ROUND

local CAP_MAX = 1e6
local FIRST_SLOTS = 16
local OPTIONS = { "cap", "full", "name" }
local POLICIES = { "drop_new", "drop_old", "reject", "wait" }
local IS_POLICY = { drop_new = true, drop_old = true, reject = true, wait = true }

local M = {}

---@class stator.ChannelState
---@field cap integer
---@field full "wait"|"drop_old"|"drop_new"|"reject"
---@field name string
---@field closed boolean
---@field ring stator.Ring an item: how many values, then the value, or a table of them when there is not one;
--- more than `cap` lie in it when items were given back
---@field seq integer
---@field flying integer items in the hands of receivers that have not run yet
---@field senders stator.Waiters
---@field receivers stator.Waiters

-- A waiter: n, v, at the item; seq its number in the list; state "waiting", then "got" (a receiver),
-- "offered" (a sender whose item flies), "taken", "ended" or "closed"; future; direct: it is awaited by
-- its own task, so its item can be revoked and its end is known; partner: of an item that flies.

-- ---- handing over ---------------------------------------------------------------------------

local function values_of(n, v)
  if n == 1 then return v end
  return unpack(v or {}, 1, n)
end

local CLOSED = "the channel %s is closed"

--- Ends a sender's wait well.
local function accept(s, w)
  w.state = "taken"
  s.sent = s.sent + 1
  core.settle(w.future, true, true)
end

--- Lets senders in while there is room.
local function admit(s)
  while s.ring.count < s.cap do
    local w = s.senders.first
    if not w then return end
    waiters.remove(s.senders, w)
    ring.push(s.ring, w.n, w.v, w.at)
    accept(s, w)
  end
end

--- Takes the oldest item for a receiver. Answers false when there is none.
local function take(s, w)
  local sender = s.ring.count == 0 and s.senders.first or nil
  if sender then
    waiters.remove(s.senders, sender)
    w.n, w.v, w.at = sender.n, sender.v, sender.at
    if w.direct then
      sender.state, sender.partner, w.partner = "offered", w, sender
    else
      accept(s, sender)
    end
  elseif s.ring.count > 0 then
    w.n, w.v, w.at = ring.pop(s.ring)
    admit(s)
  else
    return false
  end
  w.state = "got"
  s.received = s.received + 1
  if w.direct then s.flying = s.flying + 1 end
  return true
end

--- Hands what there is to receivers, in their order.
local function serve(s)
  local w = s.receivers.first
  while w and take(s, w) do
    waiters.remove(s.receivers, w)
    if w.direct then core.settle(w.future, true) else core.settle(w.future, true, values_of(w.n, w.v)) end
    w = s.receivers.first
  end
end

local function has_ended(s) return s.closed and s.ring.count == 0 and s.flying == 0 end

--- Who awaits it directly raises the error itself, at the script's line.
local function tell_closed(s, w, state, what)
  w.state = state
  if w.direct then
    core.settle(w.future, true)
  else
    core.settle(w.future, false, err.new("closed", what .. CLOSED:format(s.name)))
  end
end

--- Tells receivers that nothing comes any more, once that is certain.
local function tell_end(s)
  if not has_ended(s) then return end
  local w = s.receivers.first
  while w do
    waiters.remove(s.receivers, w)
    tell_closed(s, w, "ended", "receive: ")
    w = s.receivers.first
  end
end

--- The item of a direct receiver has arrived.
local function confirm(s, w)
  local sender = w.partner
  s.flying = s.flying - 1
  if sender then
    w.partner, sender.partner = nil, nil
    accept(s, sender)
  end
  if s.closed then tell_end(s) end
end

--- A receiver does not take what it was handed: it goes back, or to the next one.
local function give_back(s, w)
  local sender = w.partner
  s.received = s.received - 1
  if w.direct then s.flying = s.flying - 1 end
  if not sender then
    ring.put_back(s.ring, w.n, w.v, w.at)
  else
    w.partner, sender.partner = nil, nil
    if s.closed then
      tell_closed(s, sender, "closed", "send: ")
    else
      sender.state = "waiting"
      waiters.put_back(s.senders, sender)
    end
  end
  w.state, w.v = "withdrawn", nil
  serve(s)
  if s.closed then tell_end(s) end
end

--- A sender goes whose item flies: its receiver waits on, at its place.
local function revoke(s, sender)
  local w = sender.partner
  w.partner, sender.partner = nil, nil
  w.state, w.v, w.future = "waiting", nil, core.future()
  s.received, s.flying = s.received - 1, s.flying - 1
  waiters.put_back(s.receivers, w)
  serve(s)
  if s.closed then tell_end(s) end
end

-- ---- receiving ------------------------------------------------------------------------------

local function withdraw_receiver(s, w)
  if w.state == "waiting" then
    waiters.remove(s.receivers, w)
    w.state = "withdrawn"
  elseif w.state == "got" then
    give_back(s, w)
  end
end

local function new_receiver(s, direct)
  s.seq = s.seq + 1
  return { seq = s.seq, direct = direct, state = "waiting", future = NEXT_ROUND }
end

--- Waits for the next item in the running task. Answers a waiter with it, or nil after the end.
local function receive(s)
  local t = task.current("receive")
  if t.told or not is_yieldable() then return unwrap(park(NEXT_ROUND)) end -- raises
  local w = new_receiver(s, true)
  if has_ended(s) then
    w.state = "ended"
  elseif not take(s, w) then
    w.future = core.future()
    if not waiters.append(s.receivers, w) then err.raise(waiters.too_many("channel"), "limit") end
  end
  local ok, e
  repeat ok, e = park(w.future) until not ok or w.state ~= "waiting" -- its item may have been revoked
  if not ok or t.told then
    withdraw_receiver(s, w)
    error(ok and t.told or e, 0)
  end
  if w.state == "ended" then return nil end
  confirm(s, w)
  return w
end

local RECEIVE = {}

function RECEIVE.await(s)
  local w = receive(s)
  if not w then err.raise("receive: " .. CLOSED:format(s.name), "closed") end
  return values_of(w.n, w.v)
end

function RECEIVE.start(s)
  local w = new_receiver(s, false)
  w.future = core.future()
  if has_ended(s) then
    w.state = "ended"
    core.settle(w.future, false, err.new("closed", "receive: " .. CLOSED:format(s.name)))
  elseif take(s, w) then
    core.settle(w.future, true, values_of(w.n, w.v))
  elseif not waiters.append(s.receivers, w) then
    w.state = "withdrawn"
    core.settle(w.future, false, err.new("limit", waiters.too_many("channel")))
  end
  local function back() withdraw_receiver(s, w) end
  return w.future, back, back
end

-- ---- sending --------------------------------------------------------------------------------

local function withdraw_sender(s, w)
  if w.state == "waiting" then
    waiters.remove(s.senders, w)
  elseif w.state == "offered" then
    revoke(s, w)
  end
  w.state = "withdrawn"
end

--- Sends without waiting: "taken", "dropped", "closed" or "full".
local function offer(s, n, v)
  if s.closed then return "closed" end
  if s.ring.count >= s.cap and not s.receivers.first then
    if s.full == "wait" then return "full" end
    if s.full == "reject" then
      s.rejected = s.rejected + 1
      return "full"
    end
    if s.full == "drop_new" then
      s.dropped = s.dropped + 1
      return "dropped"
    end
    repeat -- more than one where items came back
      ring.pop(s.ring)
      s.dropped = s.dropped + 1
    until s.ring.count < s.cap
  end
  s.seq = s.seq + 1
  ring.push(s.ring, n, v, s.seq)
  s.sent = s.sent + 1
  serve(s)
  return "taken"
end

local PROBLEM = { closed = CLOSED, full = "the channel %s is full" }

--- The same for an operation; "waiting" with the waiter when it has to wait.
local function begin_send(s, n, v, direct)
  local must_meet = s.cap == 0 and not s.closed
  local result = must_meet and "full" or offer(s, n, v)
  if result ~= "full" or s.full ~= "wait" then return result end
  s.seq = s.seq + 1
  local w = { n = n, v = v, at = s.seq, seq = s.seq, state = "waiting", direct = direct, future = core.future() }
  if not waiters.append(s.senders, w) then return "limit" end
  if must_meet then serve(s) end
  return "waiting", w
end

local function send_problem(s, code)
  if code == "limit" then return waiters.too_many("channel") end
  return "send: " .. PROBLEM[code]:format(s.name)
end

local SEND = {}

--- What the task has recorded goes first: an apply that refuses it raises here, before anything is
--- sent, and nobody sees the item before what was written ahead of it.
function SEND.await(s, n, v)
  local t, waited = task.current("send"), world.recorded()
  if waited then unwrap(park(NEXT_ROUND)) end
  if t.told or not is_yieldable() then return unwrap(park(NEXT_ROUND)) end -- raises
  local result, w = begin_send(s, n, v, true)
  if w then
    local ok, e = park(w.future)
    if not ok and w.state ~= "taken" then
      withdraw_sender(s, w)
      error(e, 0)
    end
    result = w.state
  elseif not waited then
    unwrap(park(NEXT_ROUND))
  end
  if result == "taken" then return true end
  if result == "dropped" then return false end
  err.raise(send_problem(s, result), result)
end

function SEND.start(s, n, v)
  if world.recorded() then return end -- in a task of its own, which runs after the apply
  local result, w = begin_send(s, n, v, false)
  if w then return w.future, function() withdraw_sender(s, w) end end
  local future = core.future()
  if result == "taken" or result == "dropped" then
    core.settle(future, true, result == "taken")
  else
    core.settle(future, false, err.new(result, send_problem(s, result)))
  end
  return future, function() end
end

-- ---- the object -----------------------------------------------------------------------------

---@class stator.Channel
local Channel = {}
local channels = setmetatable({}, { __mode = "k" })

---@return stator.ChannelState
local function state_of(self, what)
  return channels[self] or err.raise(("%s: write channel:%s(...)"):format(what, what))
end

local function item_of(...)
  local n = select("#", ...)
  if n == 1 then return 1, (...) end
  return n, n > 1 and { ... } or nil
end

--- Sends an item, of any number of values, nil among them. Answers true; false when `drop_new` dropped
--- it. Raises code "closed", and "full" with the policy "reject". An operation.
function Channel:send(...) return task.paired(SEND, state_of(self, "send"), item_of(...)) end

--- Waits for the next item and returns its values. Raises code "closed" once the channel is closed and
--- empty. An operation.
function Channel:receive() return task.paired(RECEIVE, state_of(self, "receive")) end

--- Sends without waiting, also in systems and observers. Answers true, or false and "full", "dropped"
--- or "closed".
function Channel:try_send(...)
  local s = state_of(self, "try_send")
  local result = offer(s, item_of(...))
  if result == "taken" then return true end
  return false, result
end

--- Receives without waiting. Answers true and the values, or false and "empty" or "closed".
function Channel:try_receive()
  local s = state_of(self, "try_receive")
  local w = { direct = false }
  if take(s, w) then return true, values_of(w.n, w.v) end
  return false, has_ended(s) and "closed" or "empty"
end

--- Items until the channel is closed and empty: `for v in ch:each() do`. An item whose first value is
--- nil would end the loop, so it is an error, and stays in the channel.
---@async
function Channel:each()
  local s = state_of(self, "each")
  task.current("each")
  return function()
    local w = receive(s)
    if not w then return nil end
    local first = values_of(w.n, w.v)
    if first == nil then
      s.flying = s.flying + 1
      give_back(s, w)
      err.raise("each: the first value of the item is nil, which would end the loop: use receive")
    end
    return values_of(w.n, w.v)
  end
end

--- Closes it: senders that wait, and later ones, get the error "closed"; receivers get what is there,
--- then the end. A second time does nothing.
function Channel:close()
  local s = state_of(self, "close")
  if s.closed then return end
  s.closed = true
  local w = s.senders.first
  while w do
    waiters.remove(s.senders, w)
    tell_closed(s, w, "closed", "send: ")
    w = s.senders.first
  end
  tell_end(s)
end

---@return boolean
function Channel:closed() return state_of(self, "closed").closed end

--- Items that lie in it.
---@return integer
function Channel:count() return state_of(self, "count").ring.count end

--- Counts since it was made, and who waits now.
---@return { sent: integer, received: integer, dropped: integer, rejected: integer, count: integer,
---   senders: integer, receivers: integer }
function Channel:stats()
  local s = state_of(self, "stats")
  return {
    sent = s.sent, received = s.received, dropped = s.dropped, rejected = s.rejected, count = s.ring.count,
    senders = s.senders.count, receivers = s.receivers.count,
  }
end

local CHANNEL = names.fixed_class("channel", Channel)

--- A channel. Anywhere; it lives as long as the variable that holds it. `cap` items lie in it, at 0 a
--- sender and a receiver meet; `full` says what a send does then: "wait", "drop_old", "drop_new", "reject".
---@param options { cap: integer, full: string?, name: string? } full is "wait" by default
---@return stator.Channel
function M.channel(options)
  registry.check_options("channel", options, OPTIONS, 2)
  local cap, full = names.whole("channel: cap", options.cap, 0, CAP_MAX), options.full or "wait"
  if not IS_POLICY[full] then
    err.raise(("channel: full is one of %s, not %s%s"):format(table.concat(POLICIES, ", "), err.shown(full),
      type(full) == "string" and err.nearest(full, POLICIES) or ""))
  end
  if cap == 0 and full ~= "wait" then
    err.raise(('channel: one of cap 0 holds nothing, so full is "wait", not "%s"; try_send does not wait')
      :format(full))
  end
  local self = setmetatable({}, CHANNEL)
  channels[self] = {
    cap = cap, full = full, name = sync.name_of("channel", options.name), closed = false,
    ring = ring.new(math.max(1, math.min(cap, FIRST_SLOTS))), seq = 0, flying = 0,
    senders = waiters.new(), receivers = waiters.new(),
    sent = 0, received = 0, dropped = 0, rejected = 0,
  }
  return self
end

--- Notes for each future that somebody waits for here what that is, in words; for whoever looks on.
---@param map table<userdata, string>
function M.index(map)
  for _, s in pairs(channels) do -- each has its own: the order does not show
    waiters.index(s.receivers, map, "receive from channel " .. s.name)
    waiters.index(s.senders, map, "send to channel " .. s.name)
  end
end

return M
