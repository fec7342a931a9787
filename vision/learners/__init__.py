"""Learners of images: a head on frozen features, fine-tuning, detectors."""
