"""The way up: one MQTT 5 connection to the centre, what waits for it, and what both sides agree on.

Up: `spool` is what waits, by `classes`; `batches` takes it to an Oriole centre, `singles` to a broker of another make.
Down: `interests` is what to fetch, `enquiries` what was asked and not answered, `convergence` which retained value is
the newer one, `arrival` what is promised; `down` has them together. `uplink` decides, `connection` is the shell that
owns the socket, `dialler`, `resolver` and `link_watch` are its hands and ears. The profile is docs/uplink.md.
"""
