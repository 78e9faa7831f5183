"""What all pictures share: size, colours, text that has glyphs, and the way to a file.

Figures are made as objects and drawn by Agg: no pyplot, no global state, no display.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from functools import cache
from typing import TYPE_CHECKING, Any, Final, Literal

from matplotlib import font_manager
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font
from matplotlib.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from matplotlib.axes import Axes

    Grid = Literal["both", "x", "y", "none"]

# Okabe and Ito's, which people with any kind of colour vision tell apart
BLUE, RED, GREEN, ORANGE, PURPLE, SKY = "#0072B2", "#D55E00", "#009E73", "#E69F00", "#CC79A7", "#56B4E9"
COLORS: Final = (BLUE, RED, GREEN, ORANGE, PURPLE, SKY)
INK, GREY, PALE = "#222222", "#767676", "#D9D9D9"
LIGHT_BLUE, DARK_BLUE = "#BFD9EC", "#08306B"

TITLE, LABEL, SMALL = 13, 11, 9.5
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
    axes.set_title(title, fontsize=TITLE, color=INK, loc="left", pad=10)
    axes.set_xlabel(x, fontsize=LABEL, color=INK)
    axes.set_ylabel(y, fontsize=LABEL, color=INK)
    axes.tick_params(labelsize=SMALL, colors=INK, length=3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_axisbelow(True)
    if grid != "none":
        axes.grid(visible=True, axis=grid, color=PALE, linewidth=0.6)


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
    FigureCanvasAgg(made).print_png(path, pil_kwargs={"compress_level": 1}, metadata={"Software": None})


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
