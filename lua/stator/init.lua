--- `require "stator"`: the one table that scripts see. See docs/api.md.
local channel = require "stator.channel"
local combine = require "stator.combine"
local command = require "stator.command"
local component = require "stator.component"
local entity = require "stator.entity"
local event = require "stator.event"
local file = require "stator.file"
local http = require "stator.http"
local iec = require "stator.iec"
local inbox = require "stator.inbox"
local json = require "stator.json"
local link = require "stator.link"
local log = require "stator.log"
local machine = require "stator.machine"
local names = require "stator.names"
local net = require "stator.net"
local persist = require "stator.persist"
local process = require "stator.process"
local query = require "stator.query"
local reload = require "stator.reload"
local retry = require "stator.retry"
local script = require "stator.script"
local service = require "stator.service"
local supervise = require "stator.supervise"
local sync = require "stator.sync"
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
  link = link.link, event = event.event, inbox = inbox.inbox,
  service = service.service, call = service.call,
  -- waiting
  await = task.await, sleep = time.sleep, every = time.every, next_tick = time.next_tick,
  ticks = time.ticks, now = time.now,
  -- composing
  all = combine.all, race = combine.race, any = combine.any, within = combine.within,
  scope = combine.scope, shield = combine.shield, try = combine.try, fail = combine.fail,
  defer = combine.defer, on_failure = combine.on_failure, cancel_when = combine.cancel_when,
  spawn = combine.spawn, start = combine.start, async = combine.async,
  -- between tasks
  channel = channel.channel, semaphore = sync.semaphore, mutex = sync.mutex,
  -- retry, supervision, machines
  retry = retry.retry, supervise = supervise.supervise, ready = supervise.ready, detach = supervise.detach,
  machine = machine.machine,
  no_reload = reload.no_reload,
  -- scan logic of IEC 61131-3
  ton = iec.ton, tof = iec.tof, tp = iec.tp, r_trig = iec.r_trig, f_trig = iec.f_trig, ctu = iec.ctu, ctd = iec.ctd,
  ctud = iec.ctud, sr = iec.sr, rs = iec.rs,
  -- the outside, and the machine it runs on
  net = names.fixed("stator.net", net),
  file = file.api, http = http.api, json = json.api, process = process.api, signal = process.signal,
  work = work.work,
  -- the rest
  cmd = command, persist = persist.persist,
  log = { debug = log.debug, info = log.info, warn = log.warn, error = log.error },
  world = entity.entity("world"),
}

return names.fixed("stator", stator)
