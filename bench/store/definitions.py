"""What Feast knows of the churn table: most of its columns, in four views of the customer."""

from datetime import timedelta

from feast import Entity, FeatureService, FeatureView, Field, FileSource
from feast.types import Float64, Int64, String
from feast.value_type import ValueType

VIEWS = {
    "contract": {"tenure_months": Int64, "contract_type": String, "plan": String, "n_products": Int64},
    "billing": {
        "monthly_charges": Float64,
        "total_charges": Float64,
        "payment_method": String,
        "balance": Float64,
    },
    "usage": {
        "avg_call_minutes": Float64,
        "data_gb": Float64,
        "days_since_login": Int64,
        "n_devices": Int64,
    },
    "person": {"age": Float64, "credit_score": Float64, "region": String, "city": String},
}
customer = Entity(name="customer", join_keys=["customer_id"], value_type=ValueType.INT64)


def _view(name: str) -> FeatureView:
    return FeatureView(
        name=name,
        entities=[customer],
        ttl=timedelta(0),
        schema=[
            Field(name="customer_id", dtype=Int64),
            *(Field(name=column, dtype=dtype) for column, dtype in VIEWS[name].items()),
        ],
        source=FileSource(
            name=name,
            path=f"data/{name}.parquet",
            timestamp_field="event_timestamp",
            created_timestamp_column="created_timestamp",
        ),
    )


contract, billing, usage, person = map(_view, VIEWS)
churn = FeatureService(name="churn", features=[contract, billing, usage, person])
