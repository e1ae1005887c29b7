"""One file adds one suite: a class with its metrics and its protocol."""
