//go:build programs

// Package controlplane imports nothing at run time: it makes `go build` find the modules of these programs.
package controlplane

import (
	_ "go.etcd.io/etcd/server/v3"
	_ "istio.io/istio/pilot/cmd/pilot-agent"
	_ "istio.io/istio/pilot/cmd/pilot-discovery"
	_ "k8s.io/kubernetes/cmd/kube-apiserver"
)
