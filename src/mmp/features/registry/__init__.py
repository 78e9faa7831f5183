"""Feast: what is defined, where, and the way from the offline store to the online store.

No other module imports Feast, and this one only when a function is called: it takes seconds.
"""

from __future__ import annotations

from mmp.features.registry.apply import apply
from mmp.features.registry.definitions import ViewListing, compare, digest, findings, resolve, views
from mmp.features.registry.materialize import Materialized, materialize

__all__ = [
    "Materialized",
    "ViewListing",
    "apply",
    "compare",
    "digest",
    "findings",
    "materialize",
    "resolve",
    "views",
]
