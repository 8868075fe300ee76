"""The outside world: pretend devices and networks, and the load generator that measures brokers."""
