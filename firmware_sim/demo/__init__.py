"""`oriole demo`: a broker, two edges and three houses full of devices, for a minute."""
