"""The contract between workstation and device: one bundle, described by a manifest, checked before use."""
