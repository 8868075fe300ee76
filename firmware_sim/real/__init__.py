"""Real time: nodes as programs, links as processes, clients on sockets and pseudo-terminals."""
