#!/usr/bin/env python3
"""Hold what runs to dev-contract.yml, clause by clause: `python3 test-integration.py`.

Really writes and reads: a schema and a table, a key, a run with an artifact over HTTP, features as of a
moment and online. What it made it removes, but for an empty experiment named dev-contract. Exit code 0 when
all holds, 1 when something does not, 2 when the contract cannot be read. With --quick Feast, whose import
takes seconds, is not asked again when it was right about the same rows and definitions before: its registry
and its online store are looked at from outside.
"""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import ProxyHandler, Request, build_opener

FOLDER = Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER))

from localdev.failure import Failure  # noqa: E402

from localdev import contract as terms  # noqa: E402
from localdev import database, features, python  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    Values = Mapping[str, str]
    Terms = Mapping[str, Any]

TYPES: dict[str, Callable[[str], bool]] = {
    "text": lambda text: text.isprintable(),
    "host": lambda text: bool(text) and not set(text) & set(" /:@"),
    "port": lambda text: text.isdigit() and 0 < int(text) < 65_536,
    "url": lambda text: urlsplit(text).scheme in {"http", "https"} and bool(urlsplit(text).hostname),
}
EXPERIMENT = "dev-contract"


class BrokenError(Exception):
    """What a clause says does not hold."""


@dataclass(frozen=True)
class Finding:
    """What became of one clause."""

    clause: str
    holds: bool
    found: str


class Findings(list[Finding]):
    """All findings, in the order of the contract."""

    @contextmanager
    def clause(self, name: str) -> Iterator[list[str]]:
        """Note whether a clause holds: the body appends what it found, or fails as its server fails."""
        found: list[str] = []
        try:
            yield found
        except _failures() as error:
            cause = " ".join(str(error).split()) or type(error).__name__
            self.append(Finding(name, holds=False, found=cause))
        else:
            self.append(Finding(name, holds=True, found=", ".join(found)))

    def broken(self, clause: str) -> bool:
        """Tell whether a clause was found not to hold."""
        return any(it.clause == clause and not it.holds for it in self)


def _failures() -> tuple[type[Exception], ...]:
    """Return how clauses, PostgreSQL, HTTP, our own and, where it is at work, Feast's calls fail."""
    import psycopg

    known = BrokenError, psycopg.Error, OSError, Failure
    if "feast" not in sys.modules:
        return known
    from feast.errors import FeastError
    from sqlalchemy.exc import SQLAlchemyError

    return *known, FeastError, SQLAlchemyError


def same(what: str, wanted: object, given: object) -> None:
    """Fail where two values differ."""
    if wanted != given:
        raise BrokenError(f"{what} is {given}, not {wanted}")


def check(contract: Terms, values: Values, *, quick: bool) -> Findings:
    """Check everything; what stands on a broken service is not tried."""
    findings = Findings()
    _environment(contract, values, findings)
    if not all(it.holds for it in findings):
        return findings
    _postgresql(contract["services"]["postgresql"], values, findings)
    _redis(contract["services"]["redis"], values, findings)
    _mlflow(contract["services"]["mlflow"], values, findings)
    if findings.broken("services.postgresql.health_check"):
        return findings
    _roles(contract["roles"], values, findings)
    _schemas(contract["schemas"], values, findings)
    has_tables = all(it.holds for it in findings if it.clause.startswith("schemas."))
    if has_tables and not findings.broken("services.redis.health_check"):
        _features(contract["feast"], values, findings, quick=quick)
    return findings


def _features(said: Terms, values: Values, findings: Findings, *, quick: bool) -> None:
    if quick and features.is_verified(values):
        _feast_from_outside(said, values, findings)
        return
    _feast(said, values, findings)
    if all(it.holds for it in findings):
        features.note_verified(values)


def _environment(contract: Terms, values: Values, findings: Findings) -> None:
    for name, said in contract["environment"].items():
        with findings.clause(f"environment.{name}") as found:
            value = values.get(name, "")
            if not value and not said.get("may_be_empty"):
                raise BrokenError("it is not set")
            if value and not TYPES[said["type"]](value):
                raise BrokenError(f"it is no {said['type']}" + ("" if said.get("secret") else f": {value!r}"))
            found.append("secret" if said.get("secret") else value)


def _at_least(found: list[str], given: str, wanted: str) -> None:
    found.append(given)
    if terms.version(given) < terms.version(wanted):
        raise BrokenError(f"the server is {given}, {wanted} is the least")


def _postgresql(said: Terms, values: Values, findings: Findings) -> None:
    with findings.clause("services.postgresql.health_check") as found:
        with database.connect(values) as owner:
            same("the answer", (1,), owner.execute(said["health_check"]).fetchone())
            version = owner.execute("SHOW server_version").fetchone()[0]
        found.append(f"{values['POSTGRES_HOST']}:{values['POSTGRES_PORT']}")
    if findings.broken("services.postgresql.health_check"):
        return
    with findings.clause("services.postgresql.minimum_version") as found:
        _at_least(found, version, said["minimum_version"])
    if said.get("password_required"):
        with findings.clause("services.postgresql.password_required"):
            try:
                database.connect({**values, "POSTGRES_PASSWORD": token_hex()}).close()
            except Failure:
                return
            raise BrokenError("a wrong password is let in")


def _redis(said: Terms, values: Values, findings: Findings) -> None:
    with findings.clause("services.redis.health_check") as found, features.redis(values) as client:
        same("the answer", wanted=True, given=client.execute_command(said["health_check"]))
        key = f"mmp-local-dev:contract:{token_hex(8)}"
        client.set(key, "0042", ex=60)
        same("what was written", "0042", client.get(key))
        client.delete(key)
        server = client.info("server")["redis_version"]
        append_only = client.info("persistence")["aof_enabled"] == 1
        found.append(f"{values['REDIS_HOST']}:{values['REDIS_PORT']}")
    if findings.broken("services.redis.health_check"):
        return
    with findings.clause("services.redis.minimum_version") as found:
        _at_least(found, server, said["minimum_version"])
    with findings.clause("services.redis.append_only"):
        same("append_only", said["append_only"], append_only)


def _mlflow(said: Terms, values: Values, findings: Findings) -> None:
    base = values["MLFLOW_TRACKING_URI"].rstrip("/")
    with findings.clause("services.mlflow.health_check") as found:
        _http(f"{base}{said['health_check']}")
        found.append(base)
    if findings.broken("services.mlflow.health_check"):
        return
    with findings.clause("services.mlflow.minimum_version") as found:
        _at_least(found, _http(f"{base}/version").decode(), said["minimum_version"])
    with findings.clause("services.mlflow.artifacts") as found:
        found.append(_artifact(base))


def _http(url: str, method: str = "GET", body: bytes | None = None) -> bytes:
    # No proxy stands between this machine and itself.
    request = Request(url, data=body, method=method)  # noqa: S310
    request.add_header("Content-Type", "application/json" if method == "POST" else "application/octet-stream")
    try:
        with build_opener(ProxyHandler({})).open(request, timeout=30) as answer:
            return bytes(answer.read())
    except HTTPError as error:
        text = error.read(400).decode(errors="replace")
        raise BrokenError(f"{method} {urlsplit(url).path} answered {error.code}: {text}") from error


def _api(base: str, verb: str, **said: object) -> Any:
    return json.loads(_http(f"{base}/api/2.0/mlflow/{verb}", "POST", json.dumps(said).encode()))


def _experiment(base: str) -> str:
    found = _api(base, "experiments/search", max_results=1, filter=f"name = '{EXPERIMENT}'", view_type="ALL")
    for one in found.get("experiments", []):
        if one["lifecycle_stage"] == "deleted":
            _api(base, "experiments/restore", experiment_id=one["experiment_id"])
        return str(one["experiment_id"])
    try:
        return str(_api(base, "experiments/create", name=EXPERIMENT)["experiment_id"])
    except BrokenError as error:
        if "RESOURCE_ALREADY_EXISTS" not in str(error):
            raise
        return _experiment(base)  # another check was faster


def _artifact(base: str) -> str:
    run = _api(base, "runs/create", experiment_id=_experiment(base), run_name="check")["run"]["info"]
    place = f"{base}/api/2.0/mlflow-artifacts/artifacts"
    if not run["artifact_uri"].startswith("mlflow-artifacts:"):
        raise BrokenError(f"runs put artifacts at {run['artifact_uri']}, past the server")
    path = f"{place}{urlsplit(run['artifact_uri']).path}/check.bin"
    sent = bytes(range(256)) * 256
    try:
        _http(path, "PUT", sent)
        if _http(path) != sent:
            raise BrokenError("an artifact came back changed")
        _http(path, "DELETE")
        _api(base, "runs/log-metric", run_id=run["run_id"], key="check", value=1.5, timestamp=0)
        _api(base, "runs/update", run_id=run["run_id"], status="FINISHED")
    finally:
        _api(base, "runs/delete", run_id=run["run_id"])
    return f"{len(sent):,} bytes there and back"


def _roles(said: Terms, values: Values, findings: Findings) -> None:
    name = f"contract_{token_hex(6)}"
    with findings.clause("roles.owner.may") as found, database.connect(values) as owner:
        owner.execute(f"CREATE SCHEMA {name}")
        owner.execute(f"CREATE TABLE {name}.t (a int)")
        owner.execute(f"INSERT INTO {name}.t SELECT generate_series(1, 100)")
        same("what was written", (5050,), owner.execute(f"SELECT sum(a) FROM {name}.t").fetchone())  # noqa: S608
        owner.execute(f"DROP SCHEMA {name} CASCADE")
        found.append(", ".join(said["owner"]["may"]))
    for schema in said["reader"]["schemas"]:
        with findings.clause(f"roles.reader.schemas.{schema}") as found:
            _reader_only_reads(schema, f"{schema}.{name}", values)
            found.append("reads what is new, writes nothing")
    with findings.clause("roles.reader.may") as found, database.connect(values, reader=True) as reader:
        reader.execute("CREATE TEMPORARY TABLE t AS SELECT 1 AS a")
        found.append(", ".join(said["reader"]["may"]))


def _reader_only_reads(schema: str, table: str, values: Values) -> None:
    import psycopg

    with database.connect(values) as owner:
        owner.autocommit = True
        owner.execute(f"CREATE TABLE {table} AS SELECT 1 AS a")
        try:
            with database.connect(values, reader=True) as reader:
                reader.autocommit = True
                same("what it reads", (1,), reader.execute(f"SELECT a FROM {table}").fetchone())  # noqa: S608
                for write in (
                    f"INSERT INTO {table} VALUES (2)",  # noqa: S608
                    f"TRUNCATE {table}",
                    f"CREATE TABLE {schema}.contract_by_reader (a int)",
                ):
                    try:
                        reader.execute(write)
                    except psycopg.errors.InsufficientPrivilege:
                        continue
                    raise BrokenError(f"the reader may {write.partition(' ')[0]} in {schema}")
        finally:
            owner.execute(f"DROP TABLE IF EXISTS {table}, {schema}.contract_by_reader")


_COLUMNS = """
SELECT a.attname, format_type(a.atttypid, a.atttypmod)
FROM pg_attribute a WHERE a.attrelid = to_regclass(%s) AND a.attnum > 0 AND NOT a.attisdropped
"""


def _schemas(said: Terms, values: Values, findings: Findings) -> None:
    try:
        owner = database.connect(values)
    except _failures() as error:
        findings.append(Finding("schemas", holds=False, found=str(error)))
        return
    with owner:
        for schema, tables in said.items():
            clause = f"schemas.{schema}"
            with findings.clause(clause):
                there = owner.execute("SELECT to_regnamespace(%s) IS NOT NULL", (schema,)).fetchone()[0]
                same("the schema's being there", wanted=True, given=there)
            for table, wanted in () if findings.broken(clause) else tables.items():
                _table(owner, f"{schema}.{table}", wanted, findings)


def _table(owner: Any, table: str, said: Terms, findings: Findings) -> None:
    clause = f"schemas.{table}"
    columns = dict(owner.execute(_COLUMNS, (table,)).fetchall())
    if not columns:
        findings.append(Finding(clause, holds=False, found="there is no such table"))
        return
    wrong = {name: kind for name, kind in said["columns"].items() if columns.get(name) != kind}
    for name, kind in wrong.items():
        said_of = f"is {columns[name]}, not {kind}" if name in columns else f"is missing: {kind}"
        findings.append(Finding(f"{clause}.columns.{name}", holds=False, found=said_of))
    if not wrong:
        findings.append(Finding(f"{clause}.columns", holds=True, found=f"{len(said['columns'])} columns"))
    with findings.clause(f"{clause}.minimum_rows") as found:
        rows = owner.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # noqa: S608
        found.append(f"{rows:,}")
        if rows < said["minimum_rows"]:
            raise BrokenError(f"{rows:,} rows, {said['minimum_rows']:,} are the least")


def _feast_from_outside(said: Terms, values: Values, findings: Findings) -> None:
    kinds = {"entities": "entity_name", "views": "feature_view_name", "services": "feature_service_name"}
    tables = {"entities": "entities", "views": "feature_views", "services": "feature_services"}
    for kind, column in kinds.items():
        with findings.clause(f"feast.{kind}") as found, database.connect(values) as owner:
            query = f"SELECT {column} FROM feast.{tables[kind]} WHERE project_id = %s"  # noqa: S608
            there = {row[0] for row in owner.execute(query, (said["project"],))}
            if missing := set(said[kind]) - there:
                raise BrokenError(f"not in the registry: {', '.join(sorted(missing))}")
            found.append(f"{len(said[kind])} in the registry")
    with findings.clause("feast.online_store") as found:
        if not features.is_current(values):
            raise BrokenError("it does not hold the rows that are there: run python3 -m localdev.features")
        found.append("filled")


def _feast(said: Terms, values: Values, findings: Findings) -> None:
    store = None
    with findings.clause("feast.project") as found:
        store = features.store(values)
        store.list_feature_views()
        same("the project", said["project"], store.project)
        found.append(store.project)
    if store is None or findings.broken("feast.project"):
        return
    _feast_stores(said, store, findings)
    _feast_registry(said, store, findings)
    if any(it.clause.startswith("feast.") and not it.holds for it in findings):
        return
    with findings.clause("feast.offline_store.point_in_time") as found:
        found.append(_point_in_time(said, store, values))
    with findings.clause("feast.online_store.read") as found:
        found.append(_online(said, store, values))


def _feast_stores(said: Terms, store: Any, findings: Findings) -> None:
    config = store.config
    with findings.clause("feast.registry"):
        same("registry_type", said["registry"]["registry_type"], config.registry.registry_type)
    with findings.clause("feast.entity_key_serialization_version"):
        wanted = said["entity_key_serialization_version"]
        same("entity_key_serialization_version", wanted, config.entity_key_serialization_version)
    for kind in ("offline_store", "online_store"):
        with findings.clause(f"feast.{kind}"):
            same(kind, said[kind], getattr(config, kind).type)


def _feast_registry(said: Terms, store: Any, findings: Findings) -> None:
    entities = {
        it.name: {"join_key": it.join_key, "type": it.value_type.name} for it in store.list_entities()
    }
    views = {it.name: it for it in store.list_feature_views()}
    services = {it.name: it for it in store.list_feature_services()}
    for name, wanted in said["entities"].items():
        with findings.clause(f"feast.entities.{name}"):
            same("the entity", wanted, entities.get(name))
    for name, wanted in said["views"].items():
        with findings.clause(f"feast.views.{name}") as found:
            view = views.get(name)
            if view is None:
                raise BrokenError("it is not in the registry")
            same("entities", wanted["entities"], list(view.entities))
            same("ttl_days", wanted["ttl_days"], view.ttl.total_seconds() / 86_400)
            types = {feature.name: str(feature.dtype) for feature in view.features}
            for feature, kind in wanted["features"].items():
                same(f"features.{feature}", kind, types.get(feature, "missing"))
            found.append(f"{len(types)} features, {wanted['ttl_days']} days")
    for name, wanted in said["services"].items():
        with findings.clause(f"feast.services.{name}"):
            service = services.get(name)
            there = sorted(it.name for it in service.feature_view_projections) if service else "missing"
            same("the service", sorted(wanted), there)


_AS_OF = """
SELECT {columns} FROM features.{view}
WHERE {key} = %s AND event_timestamp <= %s AND event_timestamp >= %s - make_interval(days => %s)
ORDER BY event_timestamp DESC, created_timestamp DESC LIMIT 1
"""


def _rows_as_of(said: Terms, values: Values, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what a look-up by hand finds for each row: the features that are numbers, texts or booleans."""
    answers: list[dict[str, Any]] = [{} for _ in rows]
    with database.connect(values) as owner:
        for name, view in said["views"].items():
            names = [feature for feature, kind in view["features"].items() if kind != "UnixTimestamp"]
            key = said["entities"][view["entities"][0]]["join_key"]
            query = _AS_OF.format(columns=", ".join(names), view=name, key=key)
            for row, answer in zip(rows, answers, strict=True):
                moment = row["event_timestamp"]
                found = owner.execute(query, (row[key], moment, moment, view["ttl_days"])).fetchone()
                answer.update(zip(names, found or [None] * len(names), strict=True))
    return answers


def _spine(values: Values, *, now: bool) -> list[dict[str, Any]]:
    moment = "now()" if now else "event_timestamp"
    query = (
        f"SELECT user_id, merchant_id, category_id, {moment} FROM public.transactions"  # noqa: S608
        " WHERE transaction_id % 5003 = 17 ORDER BY transaction_id"
    )
    with database.connect(values) as owner:
        names = ("user_id", "merchant_id", "category_id", "event_timestamp")
        return [dict(zip(names, row, strict=True)) for row in owner.execute(query).fetchall()]


def _point_in_time(said: Terms, store: Any, values: Values) -> str:
    import pandas as pd

    rows = _spine(values, now=False)
    service = store.get_feature_service(next(iter(said["services"])))
    joined = store.get_historical_features(entity_df=pd.DataFrame(rows), features=service).to_df()
    times = pd.to_datetime(joined["event_timestamp"], utc=True)  # Feast takes the zone away
    moments = {moment: place for place, moment in enumerate(times)}
    for row, wanted in zip(rows, _rows_as_of(said, values, rows), strict=True):
        answer = joined.iloc[moments[pd.Timestamp(row["event_timestamp"])]]
        for name, value in wanted.items():
            given = None if pd.isna(answer[name]) else answer[name]
            _near(f"{name} as of {row['event_timestamp']}", value, given)
    return f"{len(rows)} rows as of their moments"


def _online(said: Terms, store: Any, values: Values) -> str:
    rows = _spine(values, now=True)
    # Feast's online store keeps what is past its time: it answers without a look at the age.
    ageless = {**said, "views": {name: {**view, "ttl_days": 36_500} for name, view in said["views"].items()}}
    keys = [{name: row[name] for name in row if name != "event_timestamp"} for row in rows]
    service = store.get_feature_service(next(iter(said["services"])))
    answers = store.get_online_features(features=service, entity_rows=keys).to_dict()
    for place, wanted in enumerate(_rows_as_of(ageless, values, rows)):
        for name, value in wanted.items():
            _near(f"{name} of {keys[place]}", value, answers[name][place])
    return f"{len(rows)} rows as the tables have them"


def _near(what: str, wanted: Any, given: Any) -> None:
    numbers = isinstance(wanted, float) and given is not None
    # a `real` is a float of 32 bits on the way
    if abs(wanted - given) > 1e-6 * max(1.0, abs(wanted)) if numbers else wanted != given:
        raise BrokenError(f"{what} is {given!r}, not {wanted!r}")


def _table_of(findings: Findings) -> str:
    width = max(len(it.clause) for it in findings)
    lines = [
        f"{'ok' if it.holds else 'BROKEN':<7}{it.clause:<{width}}  {it.found}".rstrip() for it in findings
    ]
    broken = sum(not it.holds for it in findings)
    return "\n".join([*lines, f"{len(lines)} clauses checked, {broken or 'none'} broken"])


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition(":")[0])
    parser.add_argument("--home", type=Path, help="directory of .env; this folder where left out")
    parser.add_argument("--contract", type=Path, default=terms.PROVIDED, help="another dev-contract.yml")
    parser.add_argument("--json", action="store_true", help="say it as JSON")
    parser.add_argument(
        "--quick", action="store_true", help="do not ask Feast again where it was right before"
    )
    given = parser.parse_args()
    python.enter()
    try:
        contract = terms.read(given.contract)
    except (OSError, ValueError) as error:
        print(f"test-integration.py: {error}", file=sys.stderr)
        return 2
    try:
        findings = check(contract, database.values(given.home), quick=given.quick)
    except Failure as failure:
        print(f"test-integration.py: {failure}", file=sys.stderr)
        return failure.code
    holds = all(it.holds for it in findings)
    if given.json:
        said = {"contract": contract["contract"], "version": contract["version"], "holds": holds}
        print(json.dumps({**said, "clauses": [asdict(it) for it in findings]}, indent=1))
    else:
        print(_table_of(findings))
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
