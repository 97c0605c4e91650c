{{/* What the program's pods and the test's have in common. */}}
{{- define "spacelift-aws-worker.pod" -}}
serviceAccountName: {{ include "spacelift-aws-worker.serviceAccount" . }}
automountServiceAccountToken: true
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- if .Values.hostNetwork }}
hostNetwork: true
dnsPolicy: ClusterFirstWithHostNet
{{- end }}
securityContext:
  runAsNonRoot: true
  seccompProfile:
    type: RuntimeDefault
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- $certificate := and .Values.metrics.enabled .Values.metrics.tlsSecret }}
{{- if or .Values.extraVolumes $certificate }}
volumes:
  {{- with .Values.extraVolumes }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
  {{- with $certificate }}
  - name: metrics-certificate
    secret:
      secretName: {{ . }}
  {{- end }}
{{- end }}
{{- end }}

{{/* What their containers have in common. */}}
{{- define "spacelift-aws-worker.container" -}}
image: {{ include "spacelift-aws-worker.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
env:
  {{- include "spacelift-aws-worker.env" . | nindent 2 }}
{{- with .Values.resources }}
resources:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
{{- $certificate := and .Values.metrics.enabled .Values.metrics.tlsSecret }}
{{- if or .Values.extraVolumeMounts $certificate }}
volumeMounts:
  {{- with .Values.extraVolumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
  {{- if $certificate }}
  - name: metrics-certificate
    mountPath: /var/run/metrics-certificate
    readOnly: true
  {{- end }}
{{- end }}
{{- end }}
