"""The published networks behind VBench's scores: one file per network, from maintained libraries."""
