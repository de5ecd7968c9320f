--- What the react phase runs: observers, and inboxes after them; and what is told of batches that were rejected
--- or went without effect.
local command = require "stator.command"
local component = require "stator.component"
local core = require "stator.core.task"
local entity = require "stator.entity"
local err = require "stator.err"
local event = require "stator.event"
local fault = require "stator.fault"
local inbox = require "stator.inbox"
local log = require "stator.log"
local places = require "stator.places"
local registry = require "stator.registry"
local schedule = require "stator.schedule"
local task = require "stator.task"
local world = require "stator.core.world"

local OWNER_OBSERVER = 3
local OBSERVER_CHAIN_MAX = 8
local EVENT = schedule.EVENT
local OP = require("stator.abi").OP

local M = {}

-- ---- observers ------------------------------------------------------------------------------

--- Runs one observer on one event. Answers whether it recorded anything.
---@param subject any entity or values
---@param to number? of an event that was sent
local function run_observer(d, subject, to)
  world.begin(OWNER_OBSERVER, d.number)
  task.observer_name = d.name
  local ok, raised = xpcall(d.fn, err.handler, command, subject, to)
  task.observer_name = nil
  if ok then return world.seal() end
  world.drop()
  fault.raise(d.name, raised, d.script.entity)
  return false
end

--- One observer that has recorded something: noted when an observer had set it off.
local function recorded(d, by_observer, names)
  core.want_react() -- so that the chain ends when this round's commands set nobody off
  if by_observer and names[#names] ~= d.name then names[#names + 1] = d.name end
end

local function observe_sent(d, sent, names)
  for _, s in ipairs(sent) do
    local wanted = not d.faulted and s.event == d.component and not (s.by_observer and M.muted)
    if wanted and run_observer(d, event.value(s), s.to) then recorded(d, s.by_observer, names) end
  end
end

local function observe_changes(d, events, names)
  local kind, id = EVENT[d.event], d.component ~= true and d.component.id or -1
  for i = 1, #events, 4 do
    local by_observer = events[i + 3]
    local wanted = not d.faulted and events[i] == kind and events[i + 2] == id and not (by_observer and M.muted)
    if wanted and run_observer(d, events[i + 1]) then recorded(d, by_observer, names) end
  end
end

--- Runs the observers. Answers the names of those that recorded something because of an observer.
local function run_observers(events, sent)
  local names = {}
  for _, d in ipairs(schedule.quarantined and {} or registry.live.observers) do
    if d.event == "event" then observe_sent(d, sent, names) else observe_changes(d, events, names) end
  end
  return names
end

--- Observers that set each other off without end are an error that names them.
local function check_chain(names)
  M.chain = #names > 0 and (M.chain or 0) + 1 or 0
  if M.chain < OBSERVER_CHAIN_MAX then return false end
  M.chain = 0
  local e = err.new("observer_cycle",
    ("observers set each other off %d times in a row: %s"):format(OBSERVER_CHAIN_MAX, table.concat(names, ", ")))
  fault.raise(names[1], e)
  return true
end

local function react(has_events, has_sent)
  if has_events or has_sent then
    local events, sent = has_events and world.events() or {}, has_sent and event.sent() or {}
    schedule.update_per_entity(events)
    local names = run_observers(events, sent)
    inbox.deliver(sent)
    inbox.bury(events)
    M.muted = check_chain(names) -- what they recorded last is applied, but sets no observer off
  else
    M.chain, M.muted = 0, false
  end
  fault.flush()
end

-- ---- what is told of batches ----------------------------------------------------------------

--- Who recorded: its name, and the entity that shows its faults.
local function owner_name(kind, owner)
  if kind == 1 then
    local t = task.find(owner)
    return t and t.name or "a task that has ended", t and t.owner
  elseif kind == 2 then
    return core.owner_name(owner), nil
  elseif kind == 3 then
    local name = core.owner_name(owner)
    for _, d in ipairs(registry.live.observers) do
      if d.name == name then return name, d.script.entity end
    end
    return name, nil
  end
  return "host", nil
end

--- Who wrote the component of the entity last, or of one that lies in the same chunk: the name of the
--- task or system, "file:line" or nil, and the change tick.
---@return string who, string? place, integer tick
function entity.Entity.provenance(id, c)
  entity.need_component(c)
  local kind, owner, place, tick = world.provenance(id, c.id)
  if not kind then err.raise("provenance: " .. owner) end
  return owner_name(kind, owner), places.text(place), tick
end

local function shown(id) return entity.path(id) or ("entity %.0f"):format(id) end

--- What a command was to do. The target of a spawn is new: its parent can be gone, its name be taken.
local function describe(op, id, component_id, parent, name)
  if OP[op] == "send" then
    local e = event.by_id[component_id]
    return ("send of %s%s"):format(e and e.name or "an event", id ~= 0 and " to " .. shown(id) or "")
  end
  if OP[op] == "spawn" then
    local what = name and name ~= "" and ('"%s"'):format(name) or ("entity %.0f"):format(id)
    return ("spawn of %s%s"):format(what, parent ~= 0 and " below " .. shown(parent) or "")
  end
  local c = component.by_id[component_id]
  local text = OP[op] .. " on " .. shown(id)
  return (op >= 2 and op <= 6 or OP[op] == "confirm") and c and text .. " of " .. c.name or text
end

--- Who changed the component last: another task or system, its line.
local function by_whom(kind, owner, place)
  if not kind then return "" end
  local at = places.text(place)
  return (" by %s%s"):format((owner_name(kind, owner)), at and " at " .. at or "")
end

local GONE = "entity does not exist" -- the core's texts
local FULL = { ["limit reached"] = true, ["the world's memory is full"] = true }

local function rejected(kind, owner, reason, op, id, component_id, place, parent, name_wanted, ...)
  local name, entity_id = owner_name(kind, owner)
  local at = places.text(place)
  if OP[op] == "spawn" and reason == GONE then reason = "its parent does not exist" end
  local e = err.new(FULL[reason] and "limit" or "batch_rejected", ("%sthe batch was rejected whole: %s: %s%s"):format(
    at and at .. ": " or "", describe(op, id, component_id, parent, name_wanted), reason,
    by_whom(...)))
  local t = kind == 1 and task.by_handle[owner]
  if not t then fault.raise(name, e, entity_id) end
  return e
end

local function skipped(kind, owner, count, op, id, component_id, place, parent)
  local name = owner_name(kind, owner)
  local at = places.text(place)
  log.event("warn", name, ("%d command%s without effect: %s, which does not exist any more%s"):format(count,
    count == 1 and "" or "s", describe(op, id, component_id, parent),
    at and (" (%s)"):format(at) or ""))
end

--- Gives the runtime its hooks.
function M.install()
  task.on_fault = fault.raise
  core.hook("fault", function(name, e) fault.raise(name, e, nil, true) end)
  core.hook("react", react)
  core.hook("rejected", rejected)
  core.hook("skipped", skipped)
  core.hook("gone", function() return err.new("gone", "the entity it waited for is gone") end)
  core.message_handler(err.handler)
end

return M
