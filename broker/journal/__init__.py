"""What survives a restart. `memory` survives nothing and says so."""
