{{/* The controller's name, and that of what belongs to it alone. There is one operator in a cluster. */}}
{{- define "spacelift-aws-operator.name" -}}
spacelift-aws-controller
{{- end }}

{{- define "spacelift-aws-operator.selectorLabels" -}}
app.kubernetes.io/name: spacelift-aws-operator
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: controller
{{- end }}

{{/* Labels of every object. */}}
{{- define "spacelift-aws-operator.labels" -}}
{{ include "spacelift-aws-operator.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: spacelift-aws
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* What every object's metadata has besides its name: labels, and annotations where there are any. */}}
{{- define "spacelift-aws-operator.metadata" -}}
labels:
  {{- include "spacelift-aws-operator.labels" . | nindent 2 }}
{{- with .Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* The user that the controller is to the API server, by which admission policies know it. */}}
{{- define "spacelift-aws-operator.controllerUser" -}}
system:serviceaccount:{{ .Release.Namespace }}:{{ .Values.serviceAccount.name }}
{{- end }}

{{- define "spacelift-aws-operator.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}
{{- end -}}
{{- end -}}
{{- end }}

{{/* The program's settings, as variables. */}}
{{- define "spacelift-aws-operator.env" -}}
- name: SPACELIFT_AWS_HEALTH_PORT
  value: {{ .Values.healthPort | quote }}
{{- if .Values.metrics.enabled }}
- name: SPACELIFT_AWS_METRICS_PORT
  value: {{ .Values.metrics.port | quote }}
{{- if .Values.metrics.tlsSecret }}
- name: SPACELIFT_AWS_METRICS_CERTIFICATE
  value: /var/run/metrics-certificate
{{- end }}
{{- end }}
- name: SPACELIFT_AWS_TRUST_REQUESTER
  value: {{ or .Values.admissionPolicies.create .Values.admissionPolicies.trustRequester | quote }}
- name: SPACELIFT_AWS_AUDIT_LOG
  value: {{ .Values.audit.log }}
- name: SPACELIFT_AWS_LOG_FORMAT
  value: {{ .Values.log.format }}
- name: SPACELIFT_AWS_LOG_LEVEL
  value: {{ .Values.log.level }}
- name: SPACELIFT_AWS_HELPER_IMAGE
  value: {{ .Values.maskHelper.image | default (include "spacelift-aws-operator.image" .) }}
- name: SPACELIFT_AWS_HELPER_DELIVERY
  value: {{ .Values.maskHelper.delivery }}
- name: SPACELIFT_AWS_HELPER_RESOURCES
  value: {{ toJson .Values.maskHelper.resources | quote }}
- name: SPACELIFT_AWS_HELPER_SECURITY_CONTEXT
  value: {{ toJson .Values.maskHelper.securityContext | quote }}
{{- with include "spacelift-aws-operator.installation" . }}
- name: SPACELIFT_AWS_INSTALLATION
  value: {{ . | quote }}
{{- end }}
{{- with .Values.principal }}
- name: SPACELIFT_AWS_PRINCIPAL
  value: {{ . }}
{{- end }}
{{- with .Values.region }}
- name: SPACELIFT_AWS_REGION
  value: {{ . }}
{{- end }}
{{- with .Values.suggestedPolicies }}
- name: SPACELIFT_AWS_SUGGESTED_POLICIES
  value: {{ toJson . | quote }}
{{- end }}
{{- with .Values.watchNamespaces }}
- name: SPACELIFT_AWS_NAMESPACES
  value: {{ toJson . | quote }}
{{- end }}
{{- if .Values.jobs.enabled }}
- name: SPACELIFT_AWS_JOBS
  value: "true"
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* The first part of every external ID; empty where the controller may find it out itself. */}}
{{- define "spacelift-aws-operator.installation" -}}
{{- if and .Values.watchNamespaces (not .Values.installation) -}}
{{- fail "set `installation`: a controller that sees only watchNamespaces cannot read the UID of kube-system" -}}
{{- end -}}
{{- .Values.installation -}}
{{- end }}

{{/* The same for what monitoring finds by labels of its own. */}}
{{- define "spacelift-aws-operator.monitoringMetadata" -}}
labels:
  {{- include "spacelift-aws-operator.labels" .root | nindent 2 }}
  {{- with .labels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with .root.Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
