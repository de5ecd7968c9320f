--- Files of the scene's folder, as operations. A path is relative to that folder and stays inside: no
--- absolute path, no "..". A symbolic link that lies there leads out on purpose, and is followed.
--- Operations on one path are done one after another, in the order in which they were started.
---
---   local text = await(stator.file.read("recipes/a.json", { limit = 65536 }))
---   await(stator.file.write("state.json", text))          -- all of it or nothing
local core = require "stator.core.file"
local err = require "stator.err"
local names = require "stator.names"
local registry = require "stator.registry"

local MIB = 2 ^ 20
local LIMIT, LIMIT_MAX, PATH_MAX = MIB, 64 * MIB, 1024

local M = { folder = "." }

--- The folder of the scene, from the path of its file.
function M.set_folder(scene) M.folder = scene:match("^(.*)/[^/]*$") or "." end

--- The path without "." and doubled slashes. Raises when it leads out of the scene's folder.
---@return string
local function inside(what, path)
  names.text(what, path, PATH_MAX)
  local parts = {}
  if path:sub(1, 1) == "/" then
    err.raise(('%s: "%s" is absolute: paths are relative to the scene\'s folder'):format(what, path))
  end
  for part in path:gmatch "[^/]+" do
    if part == ".." then err.raise(('%s: "%s" leads out of the scene\'s folder'):format(what, path)) end
    if part ~= "." then parts[#parts + 1] = part end
  end
  return #parts == 0 and "." or table.concat(parts, "/")
end
M.inside = inside

local function run(kind, path, argument)
  path = inside("file." .. kind, path)
  return core.run(kind, path, M.folder .. "/" .. path, argument)
end

local function need_text(what, text)
  if type(text) ~= "string" then err.raise(("%s: expected text, got %s"):format(what, err.shown(text))) end
  if #text > LIMIT_MAX then err.raise(("%s: at most 64 MiB, got %d bytes"):format(what, #text), "limit") end
  return text
end

local api = {}

--- Reads a whole file. Fails with code "limit" when it is larger than `limit`, "not_found", "denied", "io".
---@param path string
---@param options { limit: integer }? bytes; 1 MiB by default, at most 64 MiB
---@return userdata operation that answers the text
function api.read(path, options)
  if options ~= nil then registry.check_options("file.read", options, { "limit" }) end
  return run("read", path, names.number("file.read: limit", options and options.limit, LIMIT, 0, LIMIT_MAX))
end

--- Replaces a file as a whole, or makes it: a reader, and the disk after a loss of power, has the old
--- text or the new one. At most 64 MiB.
---@return userdata operation that answers true
function api.write(path, text) return run("write", path, need_text("file.write", text)) end

--- Adds text to the end of a file, or makes it. What does not fit on the disk is taken back.
---@return userdata operation that answers true
function api.append(path, text) return run("append", path, need_text("file.append", text)) end

--- What is there: { type = "file" | "folder" | "other", size, modified_s }, the time since 1970.
---@return userdata operation
function api.stat(path) return run("stat", path) end

---@return userdata operation that answers whether something is there
function api.exists(path) return run("exists", path) end

--- The names in a folder, sorted by their bytes. More than 10,000 are an error with code "limit".
---@param path string? the scene's folder when left out
---@return userdata operation that answers a list
function api.list(path) return run("list", path or ".") end

--- Removes a file or an empty folder.
---@return userdata operation that answers true
function api.remove(path) return run("remove", path) end

--- Makes a folder and those above it. One that is there is fine.
---@return userdata operation that answers true
function api.make_dir(path) return run("make_dir", path) end

M.api = names.fixed("stator.file", api)

return M
