{{- define "isthmus.network" -}}
{{ .Values.network | default .Values.cluster }}
{{- end }}
{{- define "isthmus.trustDomain" -}}
{{ .Values.trustDomain | default (printf "%s.%s" .Values.cluster .Values.mesh) }}
{{- end }}
{{- define "isthmus.settings" -}}
cluster: "{{ .Values.cluster }}"
region: "{{ .Values.region }}"
network: "{{ include "isthmus.network" . }}"
gateways: {{ .Values.gateway.addresses | toJson }}
relay: { address: 0.0.0.0, port: 15012, handOnPort: 15013, statusAddress: 0.0.0.0, statusPort: 15014 }
tokens: { audience: istio-ca }
kubernetes:
  namespace: isthmus-system
  secret: relay
  rootConfigMap: istio-ca-root-cert
{{- if .Values.clusterSetCidr }}
  clusterSetCidr: "{{ .Values.clusterSetCidr }}"
{{- end }}
state: /var/lib/isthmus
{{ end }}
