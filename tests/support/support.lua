--- Help for specs: cells from script texts, files in a folder of their own, processes.
local harness = require "harness"

local M = { cells = {}, folders = {} }

M.root = os.getenv("STATOR_ROOT") or "."
M.binary = os.getenv("STATOR_BINARY") or M.root .. "/build/dev/stator"

function M.shell(command)
  local pipe = assert(io.popen(command .. "; printf '\\n%d' $?"))
  local text = pipe:read("*a")
  pipe:close()
  local out, code = text:match("^(.*)\n(%d+)$")
  return out, tonumber(code)
end

--- A new empty folder; removed by M.cleanup.
function M.folder()
  local path = M.shell("mktemp -d /tmp/stator-spec-XXXXXX"):gsub("%s+$", "")
  M.folders[#M.folders + 1] = path
  return path
end

function M.write(path, text)
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
end

function M.read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read("*a")
  file:close()
  return text
end

--- Writes a scene and its scripts. `options`: scene (JSON text without scripts), scripts (name to
--- text), settings (JSON members).
function M.scene(options)
  local folder = M.folder()
  local names = {}
  for name, text in pairs(options.scripts) do
    M.write(folder .. "/" .. name, text)
    names[#names + 1] = name
  end
  for name, text in pairs(options.files or {}) do M.write(folder .. "/" .. name, text) end
  table.sort(names)
  local quoted = {}
  for _, name in ipairs(names) do quoted[#quoted + 1] = ('"%s"'):format(name) end
  local text = options.scene or ('{ "scripts": [%s]%s%s%s }'):format(table.concat(quoted, ", "),
    options.settings and ", " .. options.settings or "",
    options.links and ', "links": ' .. options.links or "",
    options.entities and ', "entities": ' .. options.entities or "")
  M.write(folder .. "/scene.json", text)
  return folder .. "/scene.json", folder
end

--- A cell in this process. A text is the only script's body.
function M.cell(options)
  if type(options) == "string" then options = { scripts = { ["main.lua"] = options } } end
  if options.main then options.scripts = { ["main.lua"] = options.main } end
  local path = options.path or M.scene(options)
  local cell, code = harness.open {
    scene = path, reload = options.reload, virtual = options.virtual ~= false, debug = options.debug, sets = options.sets,
    patience = options.patience, walls = options.walls, explain_jit = options.explain_jit,
    world_bytes = options.world_bytes, world_entities = options.world_entities, no_watch = options.no_watch,
    signals = options.signals,
  }
  if not cell then error("the scene was refused with exit code " .. code, 2) end
  M.cells[#M.cells + 1] = cell
  return cell
end

--- What a cell's scripts printed or logged, without time and level: "main/task: text".
function M.said(cell, pattern)
  local out = {}
  for _, line in ipairs(cell:logs()) do
    local text = line:match("^%S+ %S+%s+main[^:]*: (.*)$")
    if text and (not pattern or text:find(pattern)) then out[#out + 1] = text end
  end
  return out
end

--- The fault lines of a cell.
function M.faults(cell)
  local out = {}
  for _, line in ipairs(cell:logs()) do
    local text = line:match("fault: (.*)$")
    if text then out[#out + 1] = text end
  end
  return out
end

--- Runs a task body on virtual time and answers what it printed.
---@param body string Lua code of the task
---@param options { before: string?, seconds: number?, entities: string? }?
function M.run_task(body, options)
  options = options or {}
  local cell = M.cell {
    main = ([[
local stator = require "stator"
local await, cmd = stator.await, stator.cmd
%s
stator.task("t", {}, function(cmd)
%s
end)]]):format(options.before or "", body),
    entities = options.entities, settings = options.settings, patience = options.patience, walls = options.walls,
    world_bytes = options.world_bytes, world_entities = options.world_entities,
  }
  cell:advance(options.seconds or 10)
  return M.said(cell), M.faults(cell), cell
end

--- Turns a cell on real time until a log line matches.
function M.wait_for(cell, pattern, seconds)
  local deadline = os.time() + (seconds or 10) + 1
  while os.time() <= deadline do
    for _, line in ipairs(cell:logs()) do
      if line:find(pattern) then return line end
    end
    cell:advance(0.01)
  end
  error(("no line matches %q in:\n%s"):format(pattern, table.concat(cell:logs(), "\n")), 2)
end

--- Ends a cell in order and checks that nothing is left: no task, watch, timer, handle, operation or
--- Lua reference, and that the core's invariants hold.
function M.assert_clean(cell)
  local assert = require "luassert"
  assert.is_nil(cell:check())
  cell:stop("test")
  for _ = 1, 400 do
    cell:advance(0.01)
    if (cell:counts()) == 0 then break end
  end
  local tasks, watches, timers = cell:counts()
  assert.same({ 0, 0, 0 }, { tasks, watches, timers })
  assert.is_nil(cell:check())
  cell:eval "require('jit').flush()" -- compiled code holds what it was compiled with
  cell:eval "collectgarbage() collectgarbage()"
  cell:advance(0.05)
  local until_s = os.time() + 10
  while select(4, cell:counts()) > 0 and os.time() < until_s do -- a process that was told to end takes its time
    cell:advance(0.01)
    os.execute("sleep 0.01")
  end
  cell:eval "collectgarbage() collectgarbage()"
  local _, _, _, handles, _, _, _, _, references, operations = cell:counts()
  assert.same({ 0, 0, 0 }, { handles, references, operations })
  cell:close()
end

local peers = {}

--- Starts a peer that prints its port; peers end by themselves after some minutes.
---@return { port: integer, pid: integer }
function M.start_peer(command)
  local folder = M.folder()
  os.execute(("%s > %s/out 2> %s/err < /dev/null & echo $! > %s/pid"):format(command, folder, folder, folder))
  for _ = 1, 100 do
    local file = io.open(folder .. "/out")
    local port = file and file:read("*n")
    if file then file:close() end
    if port then
      local peer = { port = port, pid = tonumber(M.read(folder .. "/pid")) }
      peers[#peers + 1] = peer
      return peer
    end
    os.execute("sleep 0.05")
  end
  error("the peer did not start: " .. command .. "\n" .. M.read(folder .. "/err"))
end

function M.stop_peers()
  for _, peer in ipairs(peers) do os.execute(("kill -9 %d 2>/dev/null"):format(peer.pid)) end
  peers = {}
end

--- For after_each: every cell of the test ends clean.
function M.finish()
  local cells = M.cells
  M.cells = {}
  for _, cell in ipairs(cells) do
    if pcall(cell.counts, cell) then M.assert_clean(cell) end
  end
  for _, folder in ipairs(M.folders) do os.execute("rm -rf " .. folder) end
  M.folders = {}
end

return M
