"""From what a recipe or a command names to what is read: a path, or a query that is ready to be sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mmp.data.template import read_query
from mmp.errors import SettingsError
from mmp.settings.sources import is_query, source_path

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mmp.data.template import Query
    from mmp.settings.config import Config
    from mmp.settings.recipe import Recipe


def find_source(
    recipe: Recipe, config: Config, data: str | None, parameters: Mapping[str, Any] | None = None
) -> str | Query:
    """Return what a training reads; a query is rendered, and nothing is sent yet.

    Parameters
    ----------
    recipe, config : Recipe, Config
        What, and where relative sources start.
    data : str or None
        A source instead of the recipe's own; relative to the working directory.
    parameters : Mapping, optional
        Values for the variables of a query.

    Raises
    ------
    SettingsError
        There is no source, or it is refused.
    """
    source = data or recipe.data.loader.source_uri
    if source is None:
        raise SettingsError(
            "There is no table: the recipe has no data.loader.source_uri.", hint="Write one, or pass -d FILE."
        )
    base_path = "." if data else config.files.base_path
    return opened(source, config, parameters, base_path=base_path, identifiers=recipe.data.loader.identifiers)


def opened(
    source: str,
    config: Config,
    parameters: Mapping[str, Any] | None = None,
    *,
    base_path: str = ".",
    identifiers: Mapping[str, Sequence[str]] | None = None,
) -> str | Query:
    """Return what to read for a source, or refuse it.

    Raises
    ------
    SettingsError
        It leads outside, it is a query and there is no database, its template is refused, or there
        are parameters and it is no query.
    """
    path = source_path(source, base_path)
    if not is_query(path):
        if parameters is not None:
            raise SettingsError(
                f"-p sets the variables of a query, and {source} is none.",
                hint="Leave -p out; --set changes a recipe key.",
            )
        return path
    from mmp.data.sql.address import address

    where = address(config.database.connection_uri.get_secret_value())
    return read_query(path, parameters or {}, where.dialect, identifiers)
