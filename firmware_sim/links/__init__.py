"""Pretend networks: what a link does to packets and streams, and a relay for TCP, UDP and serial lines without root."""
