"""Pictures of a model: the only place that imports matplotlib.

A module for each kind of thing that is drawn; each offers its figures one by one, by name, and
`canvas.save` makes a file of one.
"""

from __future__ import annotations

import warnings

from matplotlib import artist

from mmp.modeling import lean


def _import_lean() -> None:
    """Import what draws without three dimensions, and without composing the help texts of its setters.

    They are a third of what importing costs. As with the boosters' wrappers (`mmp.modeling.lean`), nobody
    misses them in a process of mmp's own.
    """

    def nothing(artist: object) -> str:
        return ""

    composed, artist.kwdoc = artist.kwdoc, nothing
    try:
        with lean.without({"mpl_toolkits"}), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Unable to import Axes3D")
            import matplotlib.figure  # noqa: F401
    finally:
        artist.kwdoc = composed


if lean.is_enabled():
    _import_lean()
