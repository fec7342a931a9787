"""Pictures of predictions: boxes, masks and labels on images, maps over them, and a page of them."""

from __future__ import annotations

import base64
import html
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vision.objects import Objects
    from vision.outlines import Mask

_LEAST, _LARGEST = 480, 1600
"""Pixels of the shorter side that small pictures are enlarged to, and of the longer side that none goes beyond."""

_EMBEDDED = 1000
"""Pixels of the longer side in a page."""

_MOST_TAGS = 60
"""Found objects that are told in words; more of them would hide the picture."""

_COLOURS = (
    (230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0), (204, 121, 167),
)  # fmt: skip
"""Okabe and Ito's palette, which people with any colour vision tell apart."""

_WHITE, _DARK = (255, 255, 255), (20, 20, 20)
_VEIL = 0.4

_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title><style>
:root {{ color-scheme: light dark; }}
body {{ font: 15px/1.4 system-ui, sans-serif; margin: 24px; }}
main {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 420px), 1fr)); gap: 16px;
  align-items: start; }}
figure {{ margin: 0; border: 1px solid #8886; border-radius: 6px; overflow: hidden; }}
img {{ display: block; width: 100%; max-height: 90vh; object-fit: contain; }}
figcaption {{ padding: 6px 10px; overflow-wrap: anywhere; }}
</style><h1>{title}</h1><p>{note}</p><main>{figures}</main></html>
"""


def _shown(picture: Any) -> Any:
    """Picture as RGB in a size at which lines and text can be seen."""
    from PIL import Image as Pillow

    scale = min(max(1.0, _LEAST / min(picture.size)), _LARGEST / max(picture.size))
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    return picture.convert("RGB").resize(size, Pillow.Resampling.BICUBIC)


def _font(size: int) -> Any:
    """The font that comes with matplotlib: it has the letters of many scripts."""
    import matplotlib as mpl
    from PIL import ImageFont

    return ImageFont.truetype(str(Path(mpl.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"), size)


def draw_objects(picture: Any, found: Objects | None, truth: Objects | None, classes: Sequence[str]) -> Any:
    """Draw objects on a picture (PIL): found ones in colour with scores, true ones dashed in black and white.

    Masks of found objects are half-transparent, those of true ones are dashed along their outline. Colours are those of
    classes, or of objects where there are masks of one class alone. True objects that were not found bear their label.

    Returns
    -------
    A new picture; small ones are enlarged, very large ones are made smaller.
    """
    from PIL import ImageDraw

    out = _shown(picture)
    if found is not None and found.masks is not None:
        size = found.size if all(found.size) else picture.size
        out = _veiled(out, found.masks, [_colour(found, k, classes) for k in range(len(found))], size)
    draw = ImageDraw.Draw(out)
    font = _font(max(11, min(out.size) // 40))
    wide = max(2, min(out.size) // 240)
    tags: list[tuple[np.ndarray, str, tuple[int, int, int]]] = []
    if truth is not None:
        for k in range(len(truth)):
            for points in _edges(truth, k):
                _dashed(draw, points * out.size, wide)
        if len(classes) > 1:
            tags += [(truth.boxes[k], classes[int(truth.labels[k])], _WHITE) for k in _not_found(truth, found)]
    if found is not None:
        for k in range(len(found)):
            draw.rectangle(_corners(found.boxes[k], out.size), outline=_colour(found, k, classes), width=wide)
        if len(found) <= _MOST_TAGS:
            names = [classes[int(code)] if len(classes) > 1 else "" for code in found.labels]
            tags += [
                (found.boxes[k], f"{names[k]} {found.scores[k]:.2f}".strip(), _colour(found, k, classes))
                for k in np.argsort(-found.scores, kind="stable").tolist()
            ]
    _tag(draw, [(_corners(box, out.size), text, colour) for box, text, colour in tags], font, out.size)
    return out


def _colour(found: Objects, k: int, classes: Sequence[str]) -> tuple[int, int, int]:
    own = found.masks is not None and len(classes) <= 1
    return _COLOURS[(k if own else int(found.labels[k])) % len(_COLOURS)]


def _corners(box: np.ndarray, size: tuple[int, int]) -> tuple[float, float, float, float]:
    left, top, right, bottom = (float(v) for v in box * [*size, *size])
    return left, top, max(right, left + 1), max(bottom, top + 1)


def _edges(objects: Objects, k: int) -> list[np.ndarray]:
    """Closed lines around an object as shares of the sides, each [points, 2]: its mask's, or else its box."""
    from vision.outlines import mask_outlines

    if objects.masks is not None and all(objects.size):
        return [np.reshape(part, (-1, 2)) for part in mask_outlines(objects.masks[k], objects.size)]
    left, top, right, bottom = objects.boxes[k]
    return [np.array([(left, top), (right, top), (right, bottom), (left, bottom)])]


def _not_found(truth: Objects, found: Objects | None) -> list[int]:
    """True objects that none of their class hits."""
    from vision.scores import crowd_of, matches

    missed = ~crowd_of(truth)
    if found is not None:
        masks = truth.masks is not None and found.masks is not None
        hit, _ = matches(truth, found, 0.5, masks=masks)
        missed[hit[hit >= 0]] = False
    return np.flatnonzero(missed).tolist()


def _tag(draw: Any, tags: Sequence[tuple[tuple[float, ...], str, tuple[int, ...]]], font: Any, size: Any) -> None:
    """Write tags beside boxes: above, below, within or to the right, where the ones before leave room."""
    taken = np.zeros((0, 4))
    placed = []
    for (left, top, right, bottom), text, colour in tags:
        wide, high = font.getlength(text) + 4, sum(font.getmetrics()) + 1
        choices = ((left, top - high), (left, bottom), (left, top), (right, top))
        inside = [
            (min(max(x, 0.0), max(size[0] - wide, 0.0)), y) for x, y in choices if 0 <= y <= max(size[1] - high, 0.0)
        ] or [(left, min(max(top, 0.0), max(size[1] - high, 0.0)))]
        x, y = next((p for p in inside if not _meets(taken, (*p, p[0] + wide, p[1] + high))), inside[0])
        taken = np.vstack([taken, (x, y, x + wide, y + high)])
        placed.append(((x, y, x + wide, y + high), text, colour))
    for place, text, colour in reversed(placed):  # the first ones lie on top
        draw.rectangle(place, fill=colour)
        dark = sum(colour) < 330
        draw.text((place[0] + 2, place[1]), text, fill=_WHITE if dark else (0, 0, 0), font=font)


def _meets(taken: np.ndarray, place: tuple[float, ...]) -> bool:
    low, high = np.maximum(taken[:, :2], place[:2]), np.minimum(taken[:, 2:], place[2:])
    return bool((low < high).all(axis=1).any())


def _dashed(draw: Any, points: np.ndarray, wide: int) -> None:
    """A closed line [points, 2] of white dashes on a dark one, which shows on any ground."""
    closed = np.vstack([points, points[:1]])
    draw.line([tuple(p) for p in closed.tolist()], fill=_DARK, width=wide)
    along = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(closed, axis=0).T))])
    step = 4 * wide
    for start in np.arange(0, along[-1], 2 * step):
        end = min(start + step, along[-1])
        corners = along[(along > start) & (along < end)]
        way = np.concatenate([[start], corners, [end]])
        dash = np.column_stack([np.interp(way, along, closed[:, axis]) for axis in (0, 1)])
        draw.line([tuple(p) for p in dash.tolist()], fill=_WHITE, width=wide)


def _veiled(picture: Any, masks: Sequence[Mask], colours: Sequence[tuple[int, int, int]], size: tuple[int, int]) -> Any:
    """Masks, on an image of `size`, as half-transparent veils."""
    from PIL import Image as Pillow

    pixels = np.array(picture, dtype=float)
    scale = np.array(picture.size) / size
    for mask, colour in zip(masks, colours, strict=True):
        height, width = mask.bits.shape
        if not mask.bits.any():
            continue
        left, top = (np.array([mask.left, mask.top]) * scale).round().astype(int).tolist()
        right, bottom = (np.array([mask.left + width, mask.top + height]) * scale).round().astype(int).tolist()
        crop = Pillow.fromarray(mask.bits.astype(np.uint8) * 255)
        bits = np.asarray(crop.resize((max(right - left, 1), max(bottom - top, 1)), Pillow.Resampling.BILINEAR)) > 127
        bits = bits[max(-top, 0) :, max(-left, 0) :]
        part = pixels[max(top, 0) :, max(left, 0) :][: bits.shape[0], : bits.shape[1]]
        bits = bits[: part.shape[0], : part.shape[1]]
        part[bits] = (1 - _VEIL) * part[bits] + _VEIL * np.array(colour)
    return Pillow.fromarray(pixels.round().astype(np.uint8))


def draw_labels(picture: Any, lines: Sequence[str], *, right: bool) -> Any:
    """Draw lines of text below a picture, on green where the answer is right and on red where it is not."""
    from PIL import Image as Pillow
    from PIL import ImageDraw

    shown = _shown(picture)
    wide = max(shown.width, _LEAST)
    font = _font(max(14, wide // 28))
    told = [part for line in lines for part in _wrapped(line, font, wide - 16)]
    high = sum(font.getmetrics())
    out = Pillow.new("RGB", (wide, shown.height + high * len(told) + 8), (0, 95, 70) if right else (140, 40, 30))
    out.paste(shown, ((wide - shown.width) // 2, 0))
    draw = ImageDraw.Draw(out)
    for k, line in enumerate(told):
        draw.text((8, shown.height + 3 + k * high), line, fill=_WHITE, font=font)
    return out


def _wrapped(text: str, font: Any, wide: int) -> list[str]:
    """Text in lines of at most so many pixels, broken between words, within a word where it is longer than a line."""
    out = [""]
    for word in text.split():
        longer = f"{out[-1]} {word}".lstrip()
        if font.getlength(longer) <= wide:
            out[-1] = longer
            continue
        if out[-1]:
            out.append("")
        for letter in word:
            if out[-1] and font.getlength(out[-1] + letter) > wide:
                out.append("")
            out[-1] += letter
    return out


def draw_heat(picture: Any, heat: np.ndarray) -> Any:
    """Lay a map [h, w] of 0..1 over a picture."""
    import matplotlib as mpl
    from PIL import Image as Pillow

    shown = _shown(picture)
    whole = Pillow.fromarray((255 * np.clip(heat, 0, 1)).astype(np.uint8))
    level = np.asarray(whole.resize(shown.size, Pillow.Resampling.BILINEAR)).astype(float) / 255
    colours = mpl.colormaps["inferno"](level)[..., :3] * 255
    veil = 0.15 + 0.55 * level[..., None]
    return Pillow.fromarray(((1 - veil) * np.asarray(shown) + veil * colours).astype(np.uint8))


def gallery(path: Path, entries: Sequence[tuple[Any, str]], *, title: str, note: str = "") -> Path:
    """Write pictures (PIL) with captions as one HTML file that needs nothing else."""
    figures = []
    for picture, caption in entries:
        small = picture.convert("RGB")
        small.thumbnail((_EMBEDDED, _EMBEDDED))
        buffer = io.BytesIO()
        small.save(buffer, "JPEG", quality=85)
        data = base64.b64encode(buffer.getvalue()).decode("ascii")
        told = html.escape(caption)
        figures.append(
            f'<figure><img alt="{told}" src="data:image/jpeg;base64,{data}"><figcaption>{told}</figcaption></figure>'
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    page = _PAGE.format(title=html.escape(title), note=html.escape(note), figures="\n".join(figures))
    path.write_text(page, encoding="utf-8")
    return path
