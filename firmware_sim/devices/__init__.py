"""Pretend devices: small behaviours on real protocol clients."""
