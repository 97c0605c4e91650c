local os = require("os")

-- A new Run with the same spec. It has no annotations: they belong to the first one.
-- Empty tables are left out, because they would become lists.
local function copy(value)
  if type(value) ~= "table" then
    return value
  end
  local result = {}
  for key, entry in pairs(value) do
    if type(entry) ~= "table" or next(entry) ~= nil then
      result[key] = copy(entry)
    end
  end
  return result
end

local run = {}
run.apiVersion = obj.apiVersion
run.kind = obj.kind
run.metadata = {
  name = string.sub(obj.metadata.name, 1, 200) .. "-" .. os.date("!%y%m%d%H%M%S"),
  namespace = obj.metadata.namespace
}
run.spec = copy(obj.spec)
run.spec.stop = nil

return { { operation = "create", resource = run } }
