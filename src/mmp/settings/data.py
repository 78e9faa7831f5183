"""The `data` block of a recipe."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from mmp.settings.base import Count, Int, Scalar, Section, Share, Text, section

SPAN = re.compile(r"\s*(\d{1,6})\s*([smhdw])\s*")
"""A span of time, as `data.split.gap` writes it: its number and its unit."""


class Loader(Section):
    """Where the rows come from."""

    source_uri: Text | None = None
    """File, directory or glob of CSV or Parquet, here or in `s3://…`, `gs://…`; a query (`.sql`, `.sql.j2`);
    or `python:` and the dotted path of a function; `-d` on the command line wins."""

    identifiers: Mapping[str, tuple[Text, ...]] = Field(default_factory=dict)
    """Parameters that may become SQL identifiers, each with the values it may take."""


class FeatureView(Section):
    """Features taken from one feature view."""

    join_key: Text
    """Column that joins the view."""

    features: tuple[Text, ...]
    """Names of the features."""


class Fetcher(Section):
    """Features added to the rows."""

    type: Literal["pass_through", "feature_store"] = "pass_through"
    """Whether to add features from the feature store."""

    feature_views: Mapping[str, FeatureView] | None = None
    """Features by view."""

    features: tuple[Text, ...] | None = None
    """Features as `view:feature`."""

    feature_service: Text | None = None
    """A feature service, by name."""

    timestamp_column: Text | None = None
    """Event timestamp for the point-in-time join; `data_interface.timestamp_column` where left out."""

    on_missing: Literal["error", "null", "default"] = "null"
    """What an entity without features gets."""


class DataInterface(Section):
    """What the columns are for."""

    target_column: Text | None = None
    """Column to predict; required but for clustering."""

    entity_columns: tuple[Text, ...] = ()
    """Keys of a row: carried to the output, never features."""

    timestamp_column: Text | None = None
    """When a row happened; required for timeseries."""

    treatment_column: Text | None = None
    """Who was treated; required for causal."""

    feature_columns: tuple[Text, ...] | None = None
    """Columns to learn from; all others where left out."""

    sequence_length: Count | None = None
    """Steps that a sequence model looks back."""

    horizon: Count = 1
    """Steps to forecast."""

    positive_class: Scalar | None = None
    """The class that binary metrics and `probability` are about, as the data writes it."""


class Split(Section):
    """How rows are divided into train, validation, test and calibration."""

    strategy: Literal["random", "temporal", "group", "predefined", "cross_validation"] = "random"
    """How rows are assigned; random is stratified for classification."""

    temporal_column: Text | None = None
    """Column that orders the rows (temporal, and cross_validation with folds that follow on each other)."""

    group_column: Text | None = None
    """Column whose equal values stay together (group, and cross_validation)."""

    split_column: Text | None = None
    """Column that names the part of each row (predefined)."""

    folds: Annotated[Int, Field(ge=2)] = 5
    """Number of folds (cross_validation)."""

    inner_folds: Annotated[Int, Field(ge=2)] | None = None
    """Folds that each fold tunes on by itself, for a score that tuning has not seen (cross_validation)."""

    gap: Text | Annotated[Int, Field(ge=0)] | None = None
    """Embargo between train and the later parts: a span of time such as 7d, or a number of rows."""

    train: Share = 0.7
    """Share to fit on."""

    validation: Share = 0.15
    """Share for early stopping, tuning and thresholds."""

    test: Share = 0.15
    """Share for the final evaluation, touched once."""

    calibration: Share = 0.0
    """Share for calibration and intervals."""


class Data(Section):
    """The rows and their columns."""

    loader: Loader = section()
    """Where the rows come from."""

    fetcher: Fetcher = section()
    """Features added to the rows."""

    data_interface: DataInterface = section()
    """What the columns are for."""

    split: Split = section()
    """How rows are divided."""

    checks: Mapping[str, Literal["error", "warn", "off"]] = Field(default_factory=dict)
    """How strict each leakage or quality check is."""

    @property
    def event_timestamp(self) -> str | None:
        """The column that says as of when a row sees its features; None where it takes none."""
        if self.fetcher.type == "pass_through":
            return None
        return self.fetcher.timestamp_column or self.data_interface.timestamp_column

    @property
    def is_ordered(self) -> bool:
        """Whether the rows are ordered series, in which a row may be filled from those before it."""
        in_time = self.split.strategy == "temporal" or (
            self.split.strategy == "cross_validation" and self.split.temporal_column is not None
        )
        return self.data_interface.timestamp_column is not None and in_time
