from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile(
    "settings", max_examples=60, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
settings.load_profile("settings")
