"""What tests of networks need, and the reason they give where it is not there."""

import pytest

REASON = "torch and a torchvision that fits it are not installed"


def torchvision_fits():
    try:
        import torchvision  # noqa: F401
    except (ImportError, RuntimeError):
        return False
    return True


def require_torchvision():
    if not torchvision_fits():
        pytest.skip(REASON, allow_module_level=True)
