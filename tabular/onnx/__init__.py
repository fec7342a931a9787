"""Models as ONNX graphs: features and learner in one file that needs no Python."""
