"""Learners: arrays in, predictions out."""
