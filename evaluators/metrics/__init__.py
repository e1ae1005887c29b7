"""One file adds one metric (or one family): see ../README.md."""
