"""Fault schedules: what a broker has acknowledged is never lost, whatever is done to it.

A `schedule` is made from a seed, a `world` plays it with a real broker and real connections, `clients` write down what
they were promised and what they saw, and the `checker` compares. `broker` starts the broker on a disk that may lose its
power, or one of the `mutants`, which the checker has to find.
"""
