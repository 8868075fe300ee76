"""The way up: one MQTT 5 connection to the centre, what waits for it, and what both sides agree on.

`interests` is what to fetch, `enquiries` what was asked and not answered, `convergence` which retained value is the
newer one, `outbox` what waits, `arrival` what is promised; `uplink` decides, `connection` is the shell that owns the
socket. The profile is docs/uplink.md.
"""
