{{- define "fittengate.labels" -}}
app.kubernetes.io/name: fittengate
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}
