"""What the metrics of the suite `vbench-long` share. Its rules are those of VBench at 45e79ec and of vbench 0.1.5."""
