local actions = {}
actions["verify"] = { ["iconClass"] = "fa fa-fw fa-check", ["displayName"] = "Verify the trust" }
return actions
