local os = require("os")

if obj.metadata.annotations == nil then
  obj.metadata.annotations = {}
end
obj.metadata.annotations["aws.spacelift.io/verify"] = os.date("!%Y-%m-%dT%XZ")
return obj
