"""Boards as data: one TOML file each, every field tagged measured, vendor or assumed."""
