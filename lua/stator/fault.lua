--- Faults: errors that nobody handled. Told in the log and shown as a component on the entity that
--- owns what failed; the rest of the cell goes on. The component stays until somebody removes it
--- (`cmd:remove(e, Fault)`): that is how a fault is acknowledged, and counting begins anew.
local command = require "stator.command"
local component = require "stator.component"
local core = require "stator.core.task"
local entity = require "stator.entity"
local err = require "stator.err"
local log = require "stator.log"
local world = require "stator.core.world"

local OWNER_HOST = 0
local PENDING_MAX = 256

local M = {
  pending = {}, owner_of = {},
  watcher = nil, ---@type fun(name: string, e: stator.Error, for_good: boolean?)? hears of each
  script_of = function() return nil end, ---@type fun(name: string): stator.Script? whose task, system or service it is
  on_flush = nil, ---@type fun()? records what else shows faults, with them
}

--- Declares the component; called while the registry records for the host.
function M.declare()
  M.Fault = component.component("Fault", {
    "char task[64]", "char code[32]", "char message[160]", "char place[64]", "uint32_t count", "double first_s [s]",
    "double at_s [s]", "uint32_t revision",
  })
end

local function cut(text, bytes)
  text = tostring(text or "")
  return #text <= bytes and text or text:sub(1, bytes)
end

local function write(item)
  local id = item.owner
  if not entity.Entity.alive(id) then return end
  local before = entity.Entity.find(id, M.Fault)
  command:insert(id, M.Fault, {
    task = item.name, code = item.code, message = item.message, place = item.place,
    count = (before and before.count or 0) + item.count, first_s = before and before.first_s or item.first_s,
    at_s = item.at_s, revision = item.revision,
  })
end

--- Writes what waits. Called in the react phase, when no batch is open.
function M.flush()
  if #M.pending == 0 then return end
  local list = M.pending
  M.pending = {}
  world.begin(OWNER_HOST, 0)
  for _, item in ipairs(list) do write(item) end
  if M.on_flush then M.on_flush() end
  world.seal()
end

--- Says which text a trace is of.
local function of_revision(script, revision)
  if revision <= 1 or not script then return "" end
  local hash = revision == script.revision and script.hash
  return ("\n\tin revision %d of %s%s"):format(revision, script.name, hash and (", files %s"):format(hash) or "")
end

--- Tells a fault. Any phase.
---@param name string task or system
---@param e any
---@param owner number? entity; nil: the one registered for the name
---@param for_good boolean? what failed does not run any more
function M.raise(name, e, owner, for_good)
  if not err.is(e) then e = err.handler(e) end
  core.count_fault()
  if M.watcher then M.watcher(name, e, for_good) end
  local place = err.place(e)
  local message = tostring(e.message)
  if place and message:sub(1, #place + 2) == place .. ": " then message = message:sub(#place + 3) end
  owner = owner or M.owner_of[name]
  local script = M.script_of(name)
  local revision = e.revision or (script and script.revision) or 0
  log.event("error", name, ("fault: %s%s"):format(message, revision > 1 and (" (revision %d)"):format(revision) or ""),
    place, owner and entity.path(owner) or nil)
  if e.trace then log.event("debug", name, e.trace .. of_revision(script, revision)) end
  if not owner then return end
  for _, item in ipairs(M.pending) do
    if item.owner == owner and item.name == cut(name, 64) then
      item.count, item.message, item.place = item.count + 1, cut(message, 160), cut(place, 64)
      item.code, item.at_s, item.revision = cut(e.code, 32), core.now(), revision
      return
    end
  end
  if #M.pending < PENDING_MAX then
    table.insert(M.pending, {
      owner = owner, name = cut(name, 64), code = cut(e.code, 32), message = cut(message, 160), place = cut(place, 64),
      count = 1, first_s = core.now(), at_s = core.now(), revision = revision,
    })
  end
  core.want_react()
end

return M
