local actions = {}
local phase = obj.status ~= nil and obj.status.phase or "Queued"
local ended = phase == "Finished" or phase == "Failed" or phase == "Stopped"
actions["stop"] = { ["iconClass"] = "fa fa-fw fa-stop", ["displayName"] = "Stop", ["disabled"] = ended or obj.spec.stop == true }
actions["rerun"] = { ["iconClass"] = "fa fa-fw fa-redo", ["displayName"] = "Run again", ["disabled"] = not ended }
return actions
