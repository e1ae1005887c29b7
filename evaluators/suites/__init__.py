"""One file adds one suite: a class that names its metrics and its protocol."""
