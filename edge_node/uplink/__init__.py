"""The way up: one MQTT 5 connection to the centre, what waits for it, and what both sides agree on.

`interests` is what to fetch, `convergence` which retained value is the newer one, `outbox` what waits, `uplink`
decides, `connection` is the shell that owns the socket.
"""
