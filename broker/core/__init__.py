"""Routing without a protocol: messages, sinks, routes, retained state, promises, deadlines and settlement.

Nothing here reads a clock, a socket or a disk. Time comes in as integer milliseconds that never go back.
"""
