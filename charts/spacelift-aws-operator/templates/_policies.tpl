{{/* CEL that the admission policies share: whether the user is the controller. */}}
{{- define "spacelift-aws-operator.isController" -}}
{{- $users := prepend .Values.admissionPolicies.otherControllers (include "spacelift-aws-operator.controllerUser" .) -}}
request.userInfo.username in ['{{ join "', '" $users }}']
{{- end }}

{{/*
Whether the user is an executor, who executes Runs: the controller, or a worker pool, whose service accounts are named
`spacelift-aws-worker…` in whatever namespace the tenant chose.
*/}}
{{- define "spacelift-aws-operator.isExecutor" -}}
({{ include "spacelift-aws-operator.isController" . }} || request.userInfo.username.matches('^system:serviceaccount:[^:]+:spacelift-aws-worker'))
{{- end }}

{{/*
Whether policy worker-only has the word: it refuses all that the controller creates in a namespace for workers only. Where
two policies refuse one request, the API server reports either. Match conditions do not see the namespace, so the others
ask for this in their validations.
*/}}
{{- define "spacelift-aws-operator.isLeftToWorkerOnly" -}}
request.operation == 'CREATE' && {{ include "spacelift-aws-operator.isController" . }}
  && namespaceObject.metadata.?labels[?'aws.spacelift.io/worker-only'].orValue('') == 'true'
{{- end }}

{{/* What a run's Secret and pod are named: `aws-run-` and the run ID, a ULID, in lower case. */}}
{{- define "spacelift-aws-operator.childName" -}}
^aws-run-[0-9a-hjkmnp-tv-z]{26}$
{{- end }}

{{/* A policy acts by its binding. Without the binding it does nothing: that is how an administrator breaks the glass. */}}
{{- define "spacelift-aws-operator.policyBinding" -}}
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata:
  name: {{ .name }}
  {{- include "spacelift-aws-operator.metadata" .root | nindent 2 }}
spec:
  policyName: {{ .name }}
  validationActions: [Deny]
{{- end }}
