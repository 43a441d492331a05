"""What a running Envoy made of its configuration: ``extproc doctor``.

``envoy_admin`` fetches or reads what Envoy says, ``envoy_dump`` finds in it what matters, ``checks`` judges that by
``rule_catalog``; ``rendering_drift`` compares it with policies, ``accounts`` asks whether requests are counted.
"""
