"""Pictures and labels: where calibration and evaluation get their samples from."""
