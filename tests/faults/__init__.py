"""Fault schedules: what a node has acknowledged is never lost, whatever is done to it.

A `schedule` is made from a seed; a `world` plays it with real nodes (`process`, `disk`) and `clients` on real sockets
(`roads`), to which the `adversary` does what stands in it. `publisher`, `subscriber` and `testator` write down what
they were promised and what they saw, and the `checker` compares. `node` starts a broker or an edge on a disk that may
lose its power, or one of the `mutants`, which the checker has to find.
"""
