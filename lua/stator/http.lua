--- HTTP/1.1 requests, as operations.
---
---   local r = await(stator.http.get("https://mes.local/orders/7", { timeout = 2, ca = "mes.pem" }))
---   if r.status == 200 then local order = r:json() end
---   await(stator.http.post(url, { hot = true }))          -- a table goes out as JSON
local core = require "stator.core.http"
local err = require "stator.err"
local file = require "stator.file"
local json = require "stator.json"
local names = require "stator.names"
local registry = require "stator.registry"

local MIB = 2 ^ 20
local LIMIT, LIMIT_MAX, URL_MAX, HEADERS_MAX = MIB, 64 * MIB, 8192, 100
local TIMEOUT_S, SECONDS_MAX, REDIRECTS_MAX = 30, 6e7, 20
local METHODS = { "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS" }
local OPTIONS = { "headers", "body", "json", "timeout", "max_bytes", "redirects", "ca", "proxy" }
local REQUEST = { "method", "url", unpack(OPTIONS) }
local GET = { "headers", "timeout", "max_bytes", "redirects", "ca", "proxy" }
-- what the request itself says
local RESERVED = { ["content-length"] = true, ["transfer-encoding"] = true, connection = true, expect = true }

---@class (exact) stator.Response
---@field status integer
---@field headers table<string, string> names in lower case; repeated ones joined by ", "
---@field body string
local Response = {}
Response.__index = Response
core.response(Response)

--- The body as JSON. Raises an error with code "json" and the place.
function Response:json() return json.decode(self.body) end

local function check_url(what, url)
  names.text(what .. ": url", url, URL_MAX)
  if not url:match "^[Hh][Tt][Tt][Pp][Ss]?://[^/?#]" then
    err.raise(("%s: expected a URL that begins with http:// or https://, got %s"):format(what, err.shown(url)))
  end
  if url:find "[%c%s\127-\255]" then
    err.raise(("%s: a URL has no spaces, controls or bytes above 126: write %%20 and so on, got %s"):format(what,
      err.shown(url)))
  end
  return url
end

--- Header lines sorted by name.
local function header_lines(what, headers, has_json)
  local lines, list, seen = { "Expect:" }, {}, {}
  if headers ~= nil and type(headers) ~= "table" then
    err.raise(("%s: headers: expected a table of texts, got %s"):format(what, err.shown(headers)))
  end
  for name in pairs(headers or {}) do
    if type(name) ~= "string" or not name:match "^[%w!#$%%&'*+%-.^_`|~]+$" or RESERVED[name:lower()] then
      err.raise(("%s: headers: %s is no name of a header that can be set"):format(what, err.shown(name)))
    end
    list[#list + 1] = name
  end
  table.sort(list)
  if #list > HEADERS_MAX then err.raise(("%s: at most %d headers"):format(what, HEADERS_MAX)) end
  for _, name in ipairs(list) do
    local value = headers[name]
    if type(value) == "number" then value = tostring(value) end
    if type(value) ~= "string" or #value > URL_MAX or value:find "[%z\1-\8\10-\31\127]" then
      err.raise(("%s: headers: %s: expected a text of one line, got %s"):format(what, name, err.shown(value)))
    end
    seen[name:lower()] = true
    lines[#lines + 1] = value == "" and name .. ";" or name .. ": " .. value
  end
  if has_json and not seen["content-type"] then lines[#lines + 1] = "Content-Type: application/json" end
  if not seen["user-agent"] then lines[#lines + 1] = "User-Agent: stator" end
  return lines
end

local function body_of(what, options)
  local body = options.body
  if options.json ~= nil then
    if body ~= nil then err.raise(what .. ": body or json, not both") end
    return json.encode(options.json), true
  end
  if body ~= nil and type(body) ~= "string" then
    err.raise(("%s: body: expected a text, got %s"):format(what, err.shown(body)))
  end
  if body and #body > LIMIT_MAX then err.raise(what .. ": body: at most 64 MiB", "limit") end
  return body, false
end

local function ca_of(what, ca)
  if ca == nil then return nil end
  names.text(what .. ": ca", ca, 1024)
  return ca:sub(1, 1) == "/" and ca or file.folder .. "/" .. ca
end

local function method_of(what, method)
  for _, known in ipairs(METHODS) do
    if method == known then return method end
  end
  err.raise(("%s: method: expected %s, got %s"):format(what, table.concat(METHODS, ", "), err.shown(method)))
end

local function request(what, method, url, options)
  local body, is_json = body_of(what, options)
  if body == nil and (method == "POST" or method == "PUT" or method == "PATCH") then body = "" end
  if body and method == "HEAD" then err.raise(what .. ": a HEAD request has no body") end
  local proxy = options.proxy
  if proxy ~= nil and proxy ~= "environment" then check_url(what .. ": proxy", proxy) end
  return core.request {
    method = method, url = check_url(what, url), body = body, lines = header_lines(what, options.headers, is_json),
    limit = names.number(what .. ": max_bytes", options.max_bytes, LIMIT, 0, LIMIT_MAX),
    timeout = names.number(what .. ": timeout", options.timeout, TIMEOUT_S, 1e-3, SECONDS_MAX),
    redirects = names.number(what .. ": redirects", options.redirects, 0, 0, REDIRECTS_MAX),
    ca = ca_of(what, options.ca), proxy = proxy,
  }
end

local api = {}

---@class stator.RequestOptions
---@field headers table<string, string>?
---@field body string?
---@field json any? in place of body: goes out as JSON
---@field timeout number? seconds, 30 by default; the deadline of the scope holds as well
---@field max_bytes integer? of the response's body: 1 MiB by default, at most 64 MiB; more is code "limit"
---@field redirects integer? how many are followed: 0 by default, at most 20
---@field ca string? file of the certificates to trust, in place of the system's
---@field proxy string? its URL, or "environment"

--- Any request: { method = "PUT", url = ..., ... }. A response of any status is a result; no response
--- is an error with code dns, refused, timeout, tls, closed, protocol, limit or io.
---@param options stator.RequestOptions with method and url
---@return userdata operation that answers a stator.Response
function api.request(options)
  registry.check_options("http.request", options, REQUEST)
  return request("http.request", method_of("http.request", options.method or "GET"), options.url, options)
end

---@param url string
---@param options stator.RequestOptions? without body
---@return userdata operation that answers a stator.Response
function api.get(url, options)
  if options ~= nil then registry.check_options("http.get", options, GET) end
  return request("http.get", "GET", url, options or {})
end

---@param url string
---@param body string|table a text, or what goes out as JSON
---@param options stator.RequestOptions? without body
---@return userdata operation that answers a stator.Response
function api.post(url, body, options)
  local given = {}
  if options ~= nil then
    registry.check_options("http.post", options, GET)
    for _, name in ipairs(GET) do given[name] = options[name] end
  end
  if type(body) == "table" then given.json = body else given.body = body end
  return request("http.post", "POST", url, given)
end

local M = { api = names.fixed("stator.http", api) }

return M
