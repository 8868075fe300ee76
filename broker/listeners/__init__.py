"""Ways in, one file each: they own sockets, move bytes, and know nothing else."""
