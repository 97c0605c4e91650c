{{/*
What executing Runs needs in a namespace, of the controller and of worker pools alike. Each verb has its reason beside it.
*/}}
{{- define "spacelift-aws-operator.runRules" -}}
- apiGroups: [aws.spacelift.io]
  resources: [runs]
  # get: after a conflict; list and watch: what there is to do; delete: ttlSecondsAfterFinished; patch: the mark of an end.
  verbs: [get, list, watch, delete, patch]
- apiGroups: [aws.spacelift.io]
  resources: [awsintegrations]
  # What there is to verify.
  verbs: [list, watch]
- apiGroups: [aws.spacelift.io]
  resources: [runs/status, awsintegrations/status]
  verbs: [patch]
- apiGroups: [""]
  resources: [pods]
  # get: to prove that a pod is gone, or whose it is where its name is taken; list and watch: how runs go.
  verbs: [get, list, watch, create, delete]
- apiGroups: [""]
  resources: [secrets]
  # Neither get, list, watch, patch nor update: all of them answer a Secret's content.
  verbs: [create, delete]
- apiGroups: [""]
  resources: [events]
  # patch: a repeated message is counted, not written again.
  verbs: [create, patch]
{{- end }}

{{/*
What executing Jobs as Runs needs besides, of the controller and of worker pools alike.
*/}}
{{- define "spacelift-aws-operator.jobRules" -}}
- apiGroups: [batch]
  resources: [jobs]
  # get: after a conflict; list and watch: what there is to do. The API server cannot select by `managedBy`.
  verbs: [get, list, watch]
- apiGroups: [batch]
  resources: [jobs/status]
  verbs: [patch]
- apiGroups: [aws.spacelift.io]
  resources: [runs]
  # create: a Job's Run; patch: to stop it.
  verbs: [create, patch]
{{- end }}
