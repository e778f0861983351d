"""Frames in, results and events out; knows no network and no training framework."""
