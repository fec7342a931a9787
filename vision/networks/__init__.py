"""Modules of torch; imported inside functions alone, since torch is an extra."""
