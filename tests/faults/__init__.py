"""Faults, caused on purpose."""
