local M = {}
function M.start() end
function M.report() return "" end
return M
