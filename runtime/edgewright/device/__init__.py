"""Wires runtime and sync on a device and reads its configuration."""

from edgewright.device.app import RunReport, run_camera
from edgewright.device.config import DeviceConfig, load_config
from edgewright.device.errors import DeviceConfigError

__all__ = ["DeviceConfig", "DeviceConfigError", "RunReport", "load_config", "run_camera"]
