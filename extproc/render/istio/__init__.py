"""Istio's objects from policies: EnvoyFilters, VirtualServices, DestinationRules, ServiceEntries, Telemetry."""
