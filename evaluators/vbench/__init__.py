"""Code that the metrics of the suite `vbench-long` share; it follows VBench at 45e79ec and vbench 0.1.5."""
