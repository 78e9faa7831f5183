"""A canary in every place a secret can stand: it comes out nowhere."""

from __future__ import annotations

import pytest

from mmp.errors import SettingsError
from mmp.settings.base import Section
from mmp.settings.document import parse
from mmp.settings.load import load_config, load_recipe
from mmp.settings.secrets import is_secret, redacted

CANARY = "c4n4ry-Tweet"

CONFIG = """
# password: C
mlflow: {tracking_uri: "http://ann:C@host:5000", tracking_password: C}   # was http://x:C@old
data_source:
  adapter_type: sql
  config:
    connection_uri: postgresql://${DB_USER:app}:C@db:5432/shop?sslmode=require
feature_store:
  provider: feast
  feast_config:
    registry: postgresql://u:C@db/registry
    online_store: {type: redis, connection_string: "redis:6379,password=C", password: "${REDIS:C}"}
    offline_store: {type: postgres, database: d, user: u, password: &pw 'C'}
serving:
  auth:
    secret_key: >
      C
output:
  inference:
    adapter_type: storage
    config:
      storage_options: {aws_secret_access_key: C, token: *pw, client_kwargs: {password: C}, region_name: eu}
""".replace("C@", f"{CANARY}@").replace(" C", f" {CANARY}").replace("'C'", f"'{CANARY}'").replace(":C}", f":{CANARY}}}").replace("=C", f"={CANARY}")  # fmt: skip


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text(CONFIG)
    assert CONFIG.count(CANARY) == 12
    return path


def test_no_text_shows_a_secret(config):
    loaded = load_config(config)
    shown = [
        repr(loaded),
        str(loaded),
        repr(loaded.value),
        str(loaded.value.model_dump()),
        repr(loaded.document),
    ]
    shown += [
        loaded.value.model_dump_json(),
        loaded.text,
        *(finding.message for finding in loaded.findings),
    ]
    for text in shown:
        assert CANARY not in text
    assert loaded.value.mlflow.tracking_password.get_secret_value() == CANARY
    assert loaded.value.output.inference.config.storage_options["token"] == CANARY


def test_the_stored_copy_keeps_references_and_still_loads(config, tmp_path):
    text = load_config(config).text
    assert "postgresql://${DB_USER:app}:***@db:5432/shop?sslmode=require" in text
    assert "password: '${REDIS:***}'" in text
    assert "region_name: eu" in text
    copy = tmp_path / "copy.yaml"
    copy.write_text(text)
    assert load_config(copy).value.serving.auth.secret_key.get_secret_value().strip() == "***"


@pytest.mark.parametrize(
    "broken",
    [
        f"mlflow: {{tracking_pasword: {CANARY}}}",
        f"mlflow: {{tracking_password: {{a: {CANARY}}}}}",
        f"serving: {{auth: {{secret_key: [{CANARY}]}}}}",
        f"data_source: {{adapter_type: sql, config: {{connection_uri: {{x: 'postgresql://u:{CANARY}@h'}}}}}}",
        f"mlflow: {CANARY}\n---\n{CANARY}",
        f"serving: {{auth: {{secret_key: {CANARY}, typ: x}}, port: '${{MMP_CANARY}}'}}",
        f"serving: {{auth: {{secret_key: {CANARY}",
        "logging: {level: '${MMP_CANARY}', retention_days: '${MMP_CANARY}'}",
        "data_source: {config: {base_path: ['${MMP_CANARY}']}, name: {a: '${MMP_CANARY}'}}",
        "signing: '${MMP_CANARY}'",
    ],
)
def test_no_error_shows_a_secret(tmp_path, monkeypatch, broken):
    monkeypatch.setenv("MMP_CANARY", CANARY)
    path = tmp_path / "c.yaml"
    path.write_text(broken + "\n")
    with pytest.raises(SettingsError) as raised:
        load_config(path)
    error = raised.value
    assert CANARY not in f"{error.message}{error.hint}{error.where}"
    assert error.__cause__ is None
    assert error.__suppress_context__ or error.__context__ is None


def test_a_recipe_hides_the_study_database(tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text(
        "name: a\ntask_choice: regression\nmodel: {class_path: a.B, hyperparameters: {storage: 'postgresql://u:"
        + CANARY
        + "@h/x'}}\ndata: {}\n"
    )
    loaded = load_recipe(path, overrides=[f"model.hyperparameters.storage=postgresql://u:{CANARY}@h/y"])
    assert CANARY not in repr(loaded) + loaded.text + str(loaded.overrides) + str(loaded.value.model_dump())


def test_every_secret_field_is_masked_in_the_stored_copy():
    def fields(section):
        return [
            (name,) for name, field in section.model_fields.items() if "SecretStr" in str(field.annotation)
        ]

    pending, seen = [Section], []
    while pending:
        below = pending.pop().__subclasses__()
        pending += below
        seen += [key for section in below for key in fields(section)]
    addresses = {"connection_uri", "connection_string", "registry", "storage"}
    assert {key[-1] for key in seen} >= {"tracking_password", "secret_key", "connection_uri"}
    for key in seen:
        assert is_secret(key) or key[-1] in addresses, key
    for name in addresses:
        document = parse(f"{name}: 'x://u:{CANARY}@h?password={CANARY}'")
        assert CANARY not in redacted(document)
