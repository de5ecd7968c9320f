--- `require "stator"`: the one table that scripts see. See docs/api.md.
local combine = require "stator.combine"
local command = require "stator.command"
local component = require "stator.component"
local entity = require "stator.entity"
local err = require "stator.err"
local file = require "stator.file"
local http = require "stator.http"
local json = require "stator.json"
local link = require "stator.link"
local persist = require "stator.persist"
local log = require "stator.log"
local process = require "stator.process"
local query = require "stator.query"
local script = require "stator.script"
local system = require "stator.system"
local task = require "stator.task"
local time = require "stator.time"
local work = require "stator.work"
require "stator.condition"

local stator = {
  -- declaring
  component = component.component, enum = component.enum, struct = component.struct, system = system.system,
  async_system = system.async_system, per_entity = system.per_entity, task = system.task,
  observer = system.observer, query = query.query, params = script.params, entity = entity.entity,
  link = link.link,
  -- waiting
  await = task.await, sleep = time.sleep, every = time.every, next_tick = time.next_tick,
  ticks = time.ticks, now = time.now,
  -- composing
  all = combine.all, race = combine.race, any = combine.any, within = combine.within,
  scope = combine.scope, shield = combine.shield, try = combine.try, fail = combine.fail,
  defer = combine.defer, on_failure = combine.on_failure, cancel_when = combine.cancel_when,
  spawn = combine.spawn, start = combine.start, async = combine.async,
  -- the machine it runs on
  file = file.api, http = http.api, json = json.api, process = process.api, signal = process.signal,
  work = work.work,
  -- the rest
  cmd = command, persist = persist.persist,
  log = { debug = log.debug, info = log.info, warn = log.warn, error = log.error },
  world = entity.entity("world"),
}

return setmetatable({}, {
  __index = function(_, key)
    local value = stator[key]
    if value ~= nil then return value end
    local names = {}
    for name in pairs(stator) do names[#names + 1] = name end
    table.sort(names)
    err.raise(('stator has no "%s"%s'):format(tostring(key), err.nearest(tostring(key), names)))
  end,
  __newindex = function() err.raise("stator cannot be changed") end,
  __metatable = "stator",
})
