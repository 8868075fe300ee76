"""An edge node: a gateway beside its devices, with the broker's engine, serial ports and an uplink."""
