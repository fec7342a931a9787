"""Networks that see: backbones by name, weights from a package, a file, torchvision, or none."""
