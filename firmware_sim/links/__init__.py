"""Pretend networks in userspace: delay, rate, cut and heal for TCP, UDP and serial lines. No root needed."""
