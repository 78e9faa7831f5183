"""What ends a fit from within, on behalf of whoever watches its rounds."""

from __future__ import annotations


class Pruned(Exception):  # noqa: N818 - no error: the end of a trial that fell behind
    """A trial has fallen behind and is given up; ``on_iteration`` of a fit may raise it."""
