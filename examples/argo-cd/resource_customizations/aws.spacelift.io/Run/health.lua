local hs = { status = "Progressing", message = "Waiting for the operator" }
if obj.status == nil then
  return hs
end
if obj.status.message ~= nil then
  hs.message = obj.status.message
end
if obj.status.phase == "Finished" then
  hs.status = "Healthy"
elseif obj.status.phase == "Failed" or obj.status.phase == "Stopped" then
  hs.status = "Degraded"
end
return hs
