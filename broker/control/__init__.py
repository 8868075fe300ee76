"""What a running node answers to people on its own machine, over a socket in its data folder (docs/control.md)."""
