"""Virtual time: the very engines of broker and edge, and the same device behaviour, in one process and one order.

Nothing here waits: time jumps to whatever is due next. One file and one seed give the same run, byte for byte.
"""
