{{/* The pool's name, and that of all that belongs to it alone, its Lease included. */}}
{{- define "spacelift-aws-worker.name" -}}
spacelift-aws-worker-{{ .Values.pool }}
{{- end }}

{{/* The operator's admission policies know workers by the beginning of this name. */}}
{{- define "spacelift-aws-worker.serviceAccount" -}}
{{ .Values.serviceAccount.name | default (include "spacelift-aws-worker.name" .) }}
{{- end }}

{{- define "spacelift-aws-worker.selectorLabels" -}}
app.kubernetes.io/name: spacelift-aws-worker
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: worker
{{- end }}

{{/* Labels of every object. */}}
{{- define "spacelift-aws-worker.labels" -}}
{{ include "spacelift-aws-worker.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: spacelift-aws
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* What every object's metadata has besides its name: labels, and annotations where there are any. */}}
{{- define "spacelift-aws-worker.metadata" -}}
labels:
  {{- include "spacelift-aws-worker.labels" . | nindent 2 }}
{{- with .Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "spacelift-aws-worker.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}
{{- end -}}
{{- end -}}
{{- end }}

{{/* The program's settings, as variables. */}}
{{- define "spacelift-aws-worker.env" -}}
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
  value: {{ .Values.trustRequester | quote }}
- name: SPACELIFT_AWS_AUDIT_LOG
  value: {{ .Values.audit.log }}
- name: SPACELIFT_AWS_LOG_FORMAT
  value: {{ .Values.log.format }}
- name: SPACELIFT_AWS_LOG_LEVEL
  value: {{ .Values.log.level }}
- name: SPACELIFT_AWS_HELPER_IMAGE
  value: {{ .Values.maskHelper.image | default (include "spacelift-aws-worker.image" .) }}
- name: SPACELIFT_AWS_HELPER_DELIVERY
  value: {{ .Values.maskHelper.delivery }}
- name: SPACELIFT_AWS_HELPER_RESOURCES
  value: {{ toJson .Values.maskHelper.resources | quote }}
- name: SPACELIFT_AWS_HELPER_SECURITY_CONTEXT
  value: {{ toJson .Values.maskHelper.securityContext | quote }}
- name: SPACELIFT_AWS_INSTALLATION
  value: {{ required "set `installation` to the same as the operator's: it is the first part of every external ID" .Values.installation | quote }}
- name: SPACELIFT_AWS_POOL
  value: {{ .Values.pool | quote }}
{{- with .Values.region }}
- name: SPACELIFT_AWS_REGION
  value: {{ . }}
{{- end }}
{{- with .Values.runNamespaces }}
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

{{/* The same for what monitoring finds by labels of its own. */}}
{{- define "spacelift-aws-worker.monitoringMetadata" -}}
labels:
  {{- include "spacelift-aws-worker.labels" .root | nindent 2 }}
  {{- with .labels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with .root.Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
