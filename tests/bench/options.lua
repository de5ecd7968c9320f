-- The options of ./dev bench. Loaded by bench.lua.
local M = {}

-- what takes a value; "number": a positive one; "named": NAME=TEXT, more than once
local VALUES = {
  json = "text", row = "text", bevy = "text", nobevy = "text", replies = "number", seconds = "number", peer = "named",
  nopeer = "named",
}
local FLAGS = { core = true, peers = true }

local USAGE = [[
usage: ./dev bench [--core | --peers] [--row NAME] [--json FILE]

--core            only the table of the core alone
--row NAME        only that row of it, such as spawn_commands; names: tests/bench/core.lua
--peers           only the tables of peers: echo, a device's reply to the value in the world, what goes wrong
--replies N       replies of the device to each system, 3 to 300000; 600 if not said
--seconds S       length of a sample of the echo work; 1 if not said
--json FILE       writes what was measured as a list
--bevy PROGRAM    the peer bevy_ecs; from ./dev, which builds it
--nobevy REASON   why there is no such peer; from ./dev
--peer NAME=RUN   the command of another peer: luv, node, tokio, bevy_async, behaviour; from ./dev
--nopeer NAME=WHY  why there is no such peer; from ./dev
--help, -h        this text
]]

local function refuse(...)
  io.stderr:write(...)
  io.stderr:write("\n", USAGE)
  os.exit(2)
end

--- Puts an option's value into `found`; ends the program when it is none.
local function take_value(found, name, text, peer_names)
  if VALUES[name] == "number" then
    found[name] = tonumber(text)
    if not found[name] or not (found[name] > 0 and found[name] <= 300000) then refuse("no number for --", name, ": ", text) end
  elseif VALUES[name] == "named" then
    local key, value = text:match "^([%l_]+)=(.+)$"
    local known = false
    for _, peer in ipairs(peer_names) do known = known or peer == key end
    if not known then refuse("no peer for --", name, ": ", text) end
    found[name][key] = value
  else
    found[name] = text
  end
end

--- By name; nil after the usage was asked for. What is no option ends the program. `peer` and `nopeer` are tables
--- by the names of peers, of which `peer_names` is the list.
function M.parse(words, peer_names)
  local found, i = { peer = {}, nopeer = {} }, 1
  while i <= #words do
    local name = words[i]:match "^%-%-(%l+)$"
    if name == "help" or words[i] == "-h" then
      io.stdout:write(USAGE)
      return nil
    end
    if FLAGS[name] then
      found[name] = true
    elseif VALUES[name] and words[i + 1] then
      i = i + 1
      take_value(found, name, words[i], peer_names)
    else
      refuse(VALUES[name] and "no value after " or "unknown option ", words[i])
    end
    i = i + 1
  end
  if found.peers and (found.core or found.row) then refuse("--peers is of other tables than --core and --row") end
  return found
end

return M
