"""Scores videos: suites of metrics under one protocol, tables and ranks. Knows no engine and no store paths."""
