"""MQTT 3.1.1 and 5 on top of core: connections, sessions, forms, wills."""
