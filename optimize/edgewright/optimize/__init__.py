"""The workstation half: export, quantize, judge, report, and write one bundle."""
