--- Revisions of the cell: which one is in force, which one was accepted last, and what people see of them.
---
--- A revision is on probation from its swap until it is accepted. Until then the one that was accepted last can
--- come back, also in a VM that takes the place of a lost one.
local buffer = require "string.buffer"
local command = require "stator.command"
local component = require "stator.component"
local core = require "stator.core.task"
local entity = require "stator.entity"
local keep = require "stator.core.keep"
local script = require "stator.script"

local KEPT = "reload:state"

---@class stator.Fallback the revision to go back to
---@field revision integer
---@field until_s number end of the probation, seconds of the host's time
---@field faults integer of the new one so far
---@field scripts table<string, boolean> names of the scripts that have run again since
---@field scene any see stator.reload_scene

local M = {
  current = 1, newest = 1,
  fallback = nil, ---@type stator.Fallback?
}

--- Declares what people see; called while the registry records for the host.
function M.declare()
  M.Reload = component.component("Reload", {
    "char state[16]", "uint32_t revision", "uint32_t newest", "uint32_t faults", "char holds[128]",
  })
  M.Script = component.component("Script", {
    "uint32_t revision", "char hash[16]", "double loaded_s [s]", "char reason[96]",
  })
end

local function put()
  local of_scripts = {}
  for _, s in ipairs(script.uses) do of_scripts[s.name] = s.revision end
  keep.put(KEPT, buffer.encode {
    current = M.current, newest = M.newest, fallback = M.fallback or false, scripts = of_scripts,
  })
end

--- Gives the scripts of a cell that starts their revision.
function M.start()
  for _, s in ipairs(script.uses) do s.revision, s.hash = M.current, M.hash_of(s) end
end

--- Goes on where the VM before stood. Answers whether it was lost on probation.
function M.resume()
  local bytes = keep.get(KEPT)
  if not bytes then return false end
  local state = buffer.decode(bytes)
  M.current, M.newest, M.fallback = state.current, state.newest, state.fallback or nil
  for _, s in ipairs(script.uses) do s.revision = state.scripts[s.name] or M.current end
  return M.fallback ~= nil
end

-- ---- probation ------------------------------------------------------------------------------

--- Begins, or goes on with another revision on probation: the one to go back to stays.
---@param scripts table<stator.Script, any> that run again
---@param scene any
function M.begin_probation(scripts, scene, seconds)
  if not M.fallback then M.fallback = { revision = M.current, scripts = {}, scene = scene } end
  M.fallback.faults, M.fallback.over, M.fallback.until_s = 0, false, core.now() + seconds
  for s in pairs(scripts) do M.fallback.scripts[s.name] = true end
  put()
end

function M.accept()
  M.fallback = nil
  put()
end

--- The script whose task, system or service has the name, or nil.
function M.script_of(name)
  for _, s in ipairs(script.uses) do
    if name == s.name or name:sub(1, #s.name + 1) == s.name .. "/" then return s end
  end
end

--- Whether it is of a script on probation.
---@param name string of a task, system or service
function M.is_new(name)
  local s = M.script_of(name)
  return s ~= nil and M.fallback.scripts[s.name] == true
end

--- Counts a fault. Answers whether there are too many now: more than `most`, or one of what a fault stops for good.
---@param name string task or system
---@param for_good boolean?
function M.count_fault(name, for_good, most)
  local fallback = M.fallback
  if not fallback or fallback.over or not M.is_new(name) then return false end
  fallback.faults = fallback.faults + 1
  fallback.over = for_good or fallback.faults > most
  return fallback.over
end

-- ---- what people see ------------------------------------------------------------------------

--- One hash of all files of a script.
function M.hash_of(s)
  local parts = {}
  for i, file in ipairs(s.files) do parts[i] = file.compiled.hash end
  return require("stator.compile").hash(table.concat(parts))
end

local function cut(text, bytes) return #text <= bytes and text or text:sub(1, bytes) end

--- Shows what the reload does, on the entity "scripts". In a task.
---@param holds string? who holds it
function M.show(state, holds)
  local id = entity.at "scripts"
  if not id then return end
  command:insert(id, M.Reload, {
    state = state, revision = M.current, newest = M.newest, faults = M.fallback and M.fallback.faults or 0,
    holds = cut(holds or "", 128),
  })
end

--- Shows scripts that run anew, on their entities. In a task.
---@param list stator.Script[]
function M.show_scripts(list, reason)
  for _, s in ipairs(list) do
    s.hash = M.hash_of(s)
    if s.entity and entity.Entity.alive(s.entity) then
      command:insert(s.entity, M.Script, {
        revision = s.revision, hash = s.hash, loaded_s = core.now(), reason = cut(reason, 96),
      })
    end
  end
end

--- Another revision is in force.
---@param list stator.Script[] that run again
function M.swapped(revision, reason, list)
  M.current, M.newest = revision, math.max(M.newest, revision)
  put()
  M.show_scripts(list, reason)
end

return M
