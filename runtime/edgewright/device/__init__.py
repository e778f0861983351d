"""The one place where runtime and sync are wired together on a device."""
