"""Whole networks: network namespaces joined by TUN devices, IP packets forwarded in userspace. Linux, and root."""
