"""The scenario file: profiles, populations, nodes, links, schedule, faults, expectations; and what follows from it."""
