"""Pictures of predictions: boxes, masks and labels on images, maps over them, and a page of them."""

from __future__ import annotations

import base64
import html
import io
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from vision.objects import Objects

_LEAST = 480
"""Pixels of the shorter side that pictures are drawn at; smaller ones are enlarged."""

_COLOURS = (
    (230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0), (204, 121, 167),
)  # fmt: skip
"""Okabe and Ito's palette, which people with any colour vision tell apart."""

_TRUE = (255, 255, 255)
_VEIL = 0.4

_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title><style>
:root {{ color-scheme: light dark; }}
body {{ font: 15px/1.4 system-ui, sans-serif; margin: 24px; }}
main {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(280px, 1fr)); gap: 16px; }}
figure {{ margin: 0; border: 1px solid #8886; border-radius: 6px; overflow: hidden; }}
img {{ display: block; width: 100%; }}
figcaption {{ padding: 6px 10px; overflow-wrap: anywhere; }}
</style><h1>{title}</h1><p>{note}</p><main>{figures}</main></html>
"""


def _enlarged(picture: Any) -> tuple[Any, float]:
    from PIL import Image as Pillow

    scale = max(1.0, _LEAST / min(picture.size))
    if scale == 1.0:
        return picture.convert("RGB"), 1.0
    size = round(picture.width * scale), round(picture.height * scale)
    return picture.convert("RGB").resize(size, Pillow.Resampling.BICUBIC), scale


def draw_objects(picture: Any, found: Objects | None, truth: Objects | None, classes: Sequence[str]) -> Any:
    """Draw objects on a picture (PIL): found ones in the colour of their class with scores, true ones dashed in white.

    Returns
    -------
    A new picture, enlarged where it is small.
    """
    from PIL import ImageDraw, ImageFont

    out, _ = _enlarged(picture)
    if found is not None and found.masks is not None:
        out = _veiled(out, found, picture.size)
    draw = ImageDraw.Draw(out)
    font = ImageFont.load_default(max(11, min(out.size) // 40))
    wide = max(2, min(out.size) // 240)
    if truth is not None:
        for box in truth.boxes:
            _dashed(draw, _corners(box, out.size), _TRUE, wide)
    if found is not None:
        for k in range(len(found)):
            colour = _COLOURS[int(found.labels[k]) % len(_COLOURS)]
            corners = _corners(found.boxes[k], out.size)
            draw.rectangle(corners, outline=colour, width=wide)
            if len(found) <= 60:
                name = classes[int(found.labels[k])] if len(classes) > 1 else ""
                _tag(draw, corners, f"{name} {found.scores[k]:.2f}".strip(), colour, font)
    return out


def _corners(box: np.ndarray, size: tuple[int, int]) -> tuple[float, float, float, float]:
    left, top, right, bottom = (float(v) for v in box * [*size, *size])
    return left, top, max(right, left + 1), max(bottom, top + 1)


def _tag(draw: Any, corners: tuple[float, ...], text: str, colour: tuple[int, ...], font: Any) -> None:
    place = draw.textbbox((corners[0] + 2, corners[1] + 1), text, font=font)
    draw.rectangle((place[0] - 2, place[1] - 1, place[2] + 2, place[3] + 1), fill=colour)
    draw.text((corners[0] + 2, corners[1] + 1), text, fill=(0, 0, 0), font=font)


def _dashed(draw: Any, corners: tuple[float, ...], colour: tuple[int, ...], wide: int) -> None:
    left, top, right, bottom = corners
    step = 4 * wide
    for x in np.arange(left, right, 2 * step):
        for y in (top, bottom):
            draw.line((x, y, min(x + step, right), y), fill=colour, width=wide)
    for y in np.arange(top, bottom, 2 * step):
        for x in (left, right):
            draw.line((x, y, x, min(y + step, bottom)), fill=colour, width=wide)


def _veiled(picture: Any, found: Objects, size: tuple[int, int]) -> Any:
    """Masks as half-transparent veils, each in a colour of its own where there is one class alone."""
    from PIL import Image as Pillow

    pixels = np.asarray(picture).astype(float)
    alone = len(np.unique(found.labels)) <= 1
    for k, mask in enumerate(found.masks or ()):
        whole = np.zeros((size[1], size[0]), dtype=np.uint8)
        height, width = mask.bits.shape
        whole[mask.top : mask.top + height, mask.left : mask.left + width] = mask.bits
        wanted = np.asarray(Pillow.fromarray(whole * 255).resize(picture.size)) > 127
        colour = _COLOURS[(k if alone else int(found.labels[k])) % len(_COLOURS)]
        pixels[wanted] = (1 - _VEIL) * pixels[wanted] + _VEIL * np.array(colour)
    return Pillow.fromarray(pixels.round().astype(np.uint8))


def draw_labels(picture: Any, lines: Sequence[str], *, right: bool) -> Any:
    """Draw lines of text below a picture, on green where the answer is right and on red where it is not."""
    from PIL import Image as Pillow
    from PIL import ImageDraw, ImageFont

    shown, _ = _enlarged(picture)
    font = ImageFont.load_default(max(14, shown.width // 26))
    high = round(1.4 * (font.size if hasattr(font, "size") else 14))
    out = Pillow.new(
        "RGB", (shown.width, shown.height + high * len(lines) + 8), (0, 95, 70) if right else (140, 40, 30)
    )
    out.paste(shown, (0, 0))
    draw = ImageDraw.Draw(out)
    for k, line in enumerate(lines):
        draw.text((8, shown.height + 3 + k * high), line, fill=(255, 255, 255), font=font)
    return out


def draw_heat(picture: Any, heat: np.ndarray) -> Any:
    """Lay a map [h, w] of 0..1 over a picture."""
    import matplotlib as mpl
    from PIL import Image as Pillow

    shown, _ = _enlarged(picture)
    wide = Pillow.fromarray((255 * np.clip(heat, 0, 1)).astype(np.uint8)).resize(shown.size, Pillow.Resampling.BILINEAR)
    level = np.asarray(wide).astype(float) / 255
    colours = mpl.colormaps["inferno"](level)[..., :3] * 255
    veil = 0.15 + 0.55 * level[..., None]
    return Pillow.fromarray(((1 - veil) * np.asarray(shown) + veil * colours).astype(np.uint8))


def gallery(path: Path, entries: Sequence[tuple[Any, str]], *, title: str, note: str = "") -> Path:
    """Write pictures with captions as one HTML file that needs nothing else."""
    figures = []
    for picture, caption in entries:
        buffer = io.BytesIO()
        picture.convert("RGB").save(buffer, "JPEG", quality=85)
        data = base64.b64encode(buffer.getvalue()).decode("ascii")
        told = html.escape(caption)
        figures.append(
            f'<figure><img alt="{told}" src="data:image/jpeg;base64,{data}"><figcaption>{told}</figcaption></figure>'
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    page = _PAGE.format(title=html.escape(title), note=html.escape(note), figures="\n".join(figures))
    path.write_text(page, encoding="utf-8")
    return path
