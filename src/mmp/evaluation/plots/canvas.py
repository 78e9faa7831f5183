"""What all pictures share: size, colours, text that has glyphs, and the way to a file.

Figures are made as objects and drawn by Agg: no pyplot, no global state, no display.
"""

from __future__ import annotations

import struct
import unicodedata
import zlib
from collections import Counter
from functools import cache
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from matplotlib import font_manager
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font
from matplotlib.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import numpy.typing as npt
    from matplotlib.axes import Axes

    Grid = Literal["both", "x", "y", "none"]

# Okabe and Ito's, which people with any kind of colour vision tell apart
BLUE, RED, GREEN, ORANGE, PURPLE, SKY = "#0072B2", "#D55E00", "#009E73", "#E69F00", "#CC79A7", "#56B4E9"
COLORS: Final = (BLUE, RED, GREEN, ORANGE, PURPLE, SKY)
INK, GREY, PALE = "#222222", "#767676", "#D9D9D9"
LIGHT_BLUE, DARK_BLUE = "#BFD9EC", "#08306B"

TITLE, LABEL, SMALL = 13, 11, 9.5
_BELOW, _BESIDE = 0.29, 0.43  # inches from the axes to their labels, where margins are known
LONGEST: Final = 26
_DPI: Final = 100
_NO_GLYPH: Final = "\N{WHITE SQUARE}"
# of scripts that matplotlib's own font lacks, where one is installed
_FALLBACKS: Final = (
    "Noto Sans CJK KR", "Noto Sans CJK JP", "Noto Sans CJK SC", "Noto Sans KR", "NanumGothic",
    "Apple SD Gothic Neo", "Malgun Gothic", "Hiragino Sans", "PingFang SC", "Yu Gothic", "Microsoft YaHei",
    "WenQuanYi Zen Hei", "Noto Sans", "Noto Sans Arabic", "Noto Sans Hebrew", "Noto Sans Thai",
    "Noto Sans Devanagari", "Noto Emoji", "Segoe UI Symbol",
)  # fmt: skip


def figure(width: float, height: float) -> Figure:
    """Return an empty figure, in inches, that measures its texts to lay itself out."""
    return Figure(figsize=(width, height), dpi=_DPI, layout="constrained", facecolor="white")


def framed(
    width: float, height: float, *, labels: Iterable[str] = (), right: float = 0.12, top: float = 0.42
) -> Figure:
    """Return an empty figure whose margins are known, which draws in half the time.

    Parameters
    ----------
    width, height : float
        Inches.
    labels : iterable of str
        What stands on the left; numbers where there are none.
    right, top : float
        Inches on the right and above.
    """
    left = max((_width(label) for label in labels), default=0.5) + 0.15
    made = Figure(figsize=(width, height), dpi=_DPI, facecolor="white")
    made.subplots_adjust(left / width, 0.6 / height, 1 - right / width, 1 - top / height, 0.22, 0.22)
    return made


def _width(label: str) -> float:
    """Return about how wide a small label is, in inches."""
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in label)
    return 0.6 * SMALL / 72 * (len(label) + 0.8 * wide)


def dress(axes: Axes, *, title: str = "", x: str = "", y: str = "", grid: Grid = "both") -> None:
    """Give axes their words and take away what says nothing."""
    # a height of its own: matplotlib would measure all that it might cross
    axes.set_title(title, fontsize=TITLE, color=INK, loc="left", y=1, pad=10)
    axes.set_xlabel(x, fontsize=LABEL, color=INK)
    axes.set_ylabel(y, fontsize=LABEL, color=INK)
    figure = axes.get_figure(root=True)
    if figure is not None and figure.get_layout_engine() is None:
        _place_labels(axes)
    axes.tick_params(labelsize=SMALL, colors=INK, length=3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_axisbelow(True)
    if grid != "none":
        axes.grid(visible=True, axis=grid, color=PALE, linewidth=0.6)


def _place_labels(axes: Axes) -> None:
    """Put the labels where there is room for them, unmeasured."""
    axes.xaxis.set_label_coords(0.5, -_BELOW * _DPI / axes.bbox.height)
    axes.yaxis.set_label_coords(-_BESIDE * _DPI / axes.bbox.width, 0.5)


def name_rows(axes: Axes, names: list[str]) -> None:
    """Write a name on the left of each row: rows are 0, 1, …, from top to bottom."""
    axes.set_yticks([])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.spines["left"].set_visible(False)
    # not as ticks, which bring lines and measuring along
    gap = 0.05 * _DPI / axes.bbox.width
    for row, name in enumerate(names):
        axes.text(
            -gap, row, name, transform=axes.get_yaxis_transform(),
            ha="right", va="center_baseline", fontsize=SMALL, color=INK,
        )  # fmt: skip


def legend(axes: Axes, handles: list[Any], labels: list[str], **where: Any) -> None:
    """Explain lines by labels that may begin with anything."""
    made = axes.legend(handles, ["-"] * len(labels), fontsize=SMALL, frameon=True, framealpha=0.9, **where)
    made.get_frame().set_linewidth(0)
    for text, label in zip(made.get_texts(), labels, strict=True):
        text.set_text(label)


def save(made: Figure, path: Path) -> None:
    """Draw a figure into a PNG file; equal figures give equal bytes."""
    for text in made.findobj(Text):
        text.set_fontfamily(_fonts())
    # `savefig` would draw everything twice to lay it out
    canvas = FigureCanvasAgg(made)
    canvas.draw()
    path.write_bytes(_png(np.asarray(canvas.buffer_rgba())[..., :3]))


def _png(pixels: npt.NDArray[np.uint8]) -> bytes:
    """Return a PNG file whose rows are told by what changes from the row above, which in plots is little.

    Pillow tries every way for every row, which takes twice the time.
    """
    height, width, _ = pixels.shape
    flat = pixels.reshape(height, -1)
    told = np.full((height, 1 + flat.shape[1]), 2, np.uint8)  # 2: "up"
    told[0, 1:] = flat[0]
    np.subtract(flat[1:], flat[:-1], out=told[1:, 1:])
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)  # 8 bits each of red, green and blue
    chunks = (b"IHDR", header), (b"IDAT", zlib.compress(told.tobytes(), 1)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def readable(labels: Iterable[object], longest: int = LONGEST) -> list[str]:
    r"""Make labels fit to be drawn: short, without markup, with glyphs, and no two of them the same.

    Examples
    --------
    >>> readable(["yes", "$5", "a" * 40], longest=10)
    ['yes', '\\$5', 'aaaa…aaaaa']
    """
    short = [_shortened(_drawable(str(label)), longest) for label in labels]
    counts, seen = Counter(short), Counter[str]()
    distinct = []
    for label in short:
        seen[label] += 1
        distinct.append(f"{label} ({seen[label]})" if counts[label] > 1 else label)
    return [label.replace("$", r"\$") for label in distinct]


def _drawable(label: str) -> str:
    words = " ".join(unicodedata.normalize("NFC", label).split())
    known = _glyphs()
    visible = (character for character in words if unicodedata.category(character) not in {"Mn", "Cf", "Me"})
    return "".join(character if ord(character) in known else _NO_GLYPH for character in visible) or _NO_GLYPH


def _shortened(label: str, longest: int) -> str:
    if len(label) <= longest:
        return label
    head = (longest - 1) // 2
    return f"{label[:head]}…{label[head + 1 - longest :]}"


@cache
def _fonts() -> list[str]:
    installed = set(font_manager.fontManager.get_font_names())
    return ["DejaVu Sans", *(name for name in _FALLBACKS if name in installed)]


@cache
def _glyphs() -> frozenset[int]:
    """Return the characters that the fonts can draw."""
    paths = (font_manager.findfont(name) for name in _fonts())
    return frozenset(code for path in paths for code in FT2Font(path).get_charmap())
