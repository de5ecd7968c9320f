--- What can be known of a machine before it runs: its options, its states, the names that its states return.
local component = require "stator.component"
local condition = require "stator.condition"
local entity = require "stator.entity"
local err = require "stator.err"
local registry = require "stator.registry"

local Entity = entity.Entity
local STATE_MAX = 31
local INTERRUPT_KEYS = { "name", "when", "go" }

local M = {}

-- ---- options --------------------------------------------------------------------------------

local function is_component(x) return getmetatable(x) == component.Component end
local function path_of(x) return type(x) == "table" and not is_component(x) and rawget(x, "_path") or nil end

local function state_names(what, states)
  if type(states) ~= "table" or next(states) == nil then
    err.raise(what .. ": expected a table of states, { name = function(cmd, me, ...) end }")
  end
  local names = {}
  for name, fn in pairs(states) do
    if type(name) ~= "string" or name == "" or #name > STATE_MAX or name:find "%z" then
      err.raise(("%s: the name of a state is a text of 1 to %d bytes, not %s"):format(what, STATE_MAX,
        err.shown(name)))
    end
    if type(fn) ~= "function" then
      err.raise(('%s: state "%s": expected a function, got %s'):format(what, name, err.shown(fn)))
    end
    names[#names + 1] = name
  end
  table.sort(names)
  return names
end

local function need_state(m, option, name)
  if m.states[name] then return name end
  err.raise(('%s: %s: there is no state %s%s'):format(m.what, option, err.shown(name),
    err.nearest(tostring(name), m.names)))
end

--- A function(me) that makes the operation which an interrupt waits for.
local function maker_of(what, when)
  if type(when) == "function" then return when end
  if type(when) ~= "table" then
    err.raise(what .. ": when is { Component, cond }, { entity, Component, cond } or a function, not "
      .. err.shown(when))
  end
  local own = is_component(when[1])
  local c, cond = when[own and 1 or 2], when[own and 2 or 3]
  if not is_component(c) then err.raise(what .. ": when names a component, not " .. err.shown(c)) end
  if not own and not path_of(when[1]) then
    err.raise(what .. ": when begins with a component, or with stator.entity(name), not with " .. err.shown(when[1]))
  end
  local options
  for key, value in pairs(when) do
    if key == "hold_s" then
      options = { hold_s = value }
    elseif type(key) ~= "number" then
      err.raise(('%s: when: unknown option "%s"%s'):format(what, tostring(key),
        err.nearest(tostring(key), { "hold_s" })))
    end
  end
  return function(me) return Entity.when(own and me or entity.id_of(when[1]), c, cond, options) end, c, cond
end

local function interrupt_of(m, name, spec)
  local what = ("%s: interrupt %s"):format(m.what, tostring(name))
  registry.check_options(what, spec, INTERRUPT_KEYS)
  if type(name) ~= "string" then err.raise(what .. ": each has a name") end
  local make, c, cond = maker_of(what, spec.when)
  return { name = name, what = what, go = need_state(m, "interrupt " .. name, spec.go), make = make, component = c,
    cond = cond }
end

--- Interrupts in their order. Who of several goes first is for the author to say: they are a list.
local function interrupts_of(m, given)
  local list = {}
  if given == nil then return list end
  if type(given) ~= "table" then err.raise(m.what .. ": interrupt: expected a table, got " .. err.shown(given)) end
  for i, spec in ipairs(given) do
    if type(spec) ~= "table" then
      err.raise(("%s: interrupt %d: expected a table, got %s"):format(m.what, i, err.shown(spec)))
    end
    list[i] = interrupt_of(m, spec.name or spec.go, spec)
  end
  local names = {}
  for name in pairs(given) do
    if type(name) == "string" then names[#names + 1] = name end
  end
  table.sort(names)
  if #names > 1 or (#names == 1 and #list > 0) then
    err.raise(("%s: interrupt: which of %s goes first? Write a list, { { name = \"%s\", when = ..., go = ... }, ... }")
      :format(m.what, table.concat(names, " and "), names[1]))
  end
  for _, name in ipairs(names) do list[1] = interrupt_of(m, name, given[name]) end
  return list
end

--- Which entities it is for: sets m.component, or m.subject, a function that answers the id or nil.
local function place_on(m, d, on)
  if is_component(on) then
    m.component = on
    return
  end
  local path = type(on) == "string" and on or path_of(on)
  if on ~= nil and not path then
    err.raise(m.what .. ": on is the path or handle of an entity, or a component, not " .. err.shown(on))
  end
  if type(on) == "string" then
    table.insert(registry.recording.entities, { path = on, script = d.script, place = d.place })
  end
  for _, other in ipairs(registry.recording.machines) do
    local taken = other.machine.path == path and (path or other.script == d.script) and not other.machine.component
    if taken then
      err.raise(("%s: %s has a machine already, at %s"):format(m.what, path or "the script's entity", other.place))
    end
  end
  m.path = path
  m.subject = function()
    if path then return entity.at(path) end
    return d.script.entity
  end
end

--- What a declaration says, checked. Raises at the script's line.
function M.machine(d, options, states)
  local m = { what = d.what, name = d.name, states = states, names = state_names(d.what, states) }
  m.start = need_state(m, "start", options.start)
  m.on_error = options.on_error ~= nil and need_state(m, "on_error", options.on_error) or nil
  local restart_in = options.restart_in
  if states.kept then err.raise(m.what .. ': "kept" is a word of restart_in, no name of a state') end
  if restart_in ~= nil and restart_in ~= "kept" and (restart_in ~= "start" or states.start) then
    need_state(m, "restart_in", restart_in)
  end
  m.restart_in = (restart_in == "kept" or states[restart_in]) and restart_in or nil
  m.interrupts = interrupts_of(m, options.interrupt)
  place_on(m, d, options.on)
  return m
end

-- ---- returned names -------------------------------------------------------------------------

--- The error of a state that returned what is no state's name.
function M.no_state(m, state, returned)
  local info = debug.getinfo(m.states[state], "S")
  local what = returned == nil and "nothing: each state returns the name of the next one"
    or err.shown(returned) .. ", which is no state" .. err.nearest(tostring(returned), m.names)
  return err.new("machine", ("%s:%d: %s: state %s returned %s"):format(info.short_src, info.linedefined, m.what, state,
    what))
end

--- Functions of the text that a state was compiled from, by line; false when that is not certain.
local function functions_of(sources, shown)
  local claims
  for _, source in ipairs(sources) do
    if source.shown == shown then
      if claims then return false end
      claims = source.claims
    end
  end
  local by_line = {}
  for _, fn in ipairs(claims and claims.functions or {}) do
    by_line[fn.line] = by_line[fn.line] or {}
    table.insert(by_line[fn.line], fn)
  end
  return by_line
end

---@param functions table[] of the claims, those that begin in the line of the state
---@param told table<string, boolean> what was said already: one line may hold several states
local function check_returns(d, state, info, functions, told, problems)
  local last = 0 -- token of the function that was looked at: those inside of it have returns of their own
  for _, fn in ipairs(functions) do
    local of_other = fn.key and fn.key ~= state and d.machine.states[fn.key] -- on the same line
    if fn.first > last and not of_other then
      last = fn.last
      for i = 1, #fn.names, 2 do
        local name, line = fn.names[i], fn.names[i + 1]
        local key = ("%s:%d:%s"):format(info.source, line, name)
        if not d.machine.states[name] and not told[key] then
          told[key] = true
          problems[#problems + 1] = ('%s:%d: %s: state %s returns "%s", which is no state%s'):format(info.short_src,
            line, d.what, state, name, err.nearest(name, d.machine.names))
        end
      end
    end
  end
end

--- What is wrong with the condition of an interrupt, or nil.
local function condition_problem(interrupt)
  local c, cond = interrupt.component, interrupt.cond
  if not c or type(cond) == "function" then return nil end
  local ok, e = pcall(condition.compile, c, cond)
  if not ok then return tostring(err.handler(e).message) end
end

--- Problems of machines: names that states return, conditions of interrupts.
---@param machines table[] declared
---@param sources { shown: string, claims: stator.Claims }[] as of fieldcheck
---@param is_laid_out fun(component: table): boolean whether its fields are known: only then conditions are checked
---@return string[]
function M.check(machines, sources, is_laid_out)
  local problems, cache, told = {}, {}, {}
  for _, d in ipairs(machines) do
    for _, state in ipairs(d.machine.names) do
      local info = debug.getinfo(d.machine.states[state], "S")
      local shown = info.source:gsub("^@", "")
      if cache[shown] == nil then cache[shown] = functions_of(sources, shown) end
      local functions = cache[shown] and cache[shown][info.linedefined]
      if functions then check_returns(d, state, info, functions, told, problems) end
    end
    for _, interrupt in ipairs(d.machine.interrupts) do
      local c = interrupt.component
      local problem = c and is_laid_out(c) and condition_problem(interrupt)
      if problem then problems[#problems + 1] = ("%s: %s: %s"):format(d.place, interrupt.what, problem) end
    end
  end
  return problems
end

return M
