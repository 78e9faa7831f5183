"""What Feast knows of the small shop: customers and products, over Parquet files that ../make.py writes."""

from datetime import timedelta

from feast import Entity, FeatureService, FeatureView, Field, FileSource
from feast.types import Bool, Float32, Float64, Int64, String, UnixTimestamp
from feast.value_type import ValueType

customer = Entity(name="customer", join_keys=["customer_id"], value_type=ValueType.INT64)
product = Entity(name="product", join_keys=["product_code"], value_type=ValueType.STRING)


def _source(name: str) -> FileSource:
    return FileSource(
        name=name,
        path=f"data/{name}.parquet",
        timestamp_field="event_timestamp",
        created_timestamp_column="created_timestamp",
    )


customers = FeatureView(
    name="customers",
    entities=[customer],
    ttl=timedelta(days=30),
    schema=[
        Field(name="customer_id", dtype=Int64),
        Field(name="orders_90d", dtype=Int64),
        Field(name="return_rate_90d", dtype=Float32),
        Field(name="is_member", dtype=Bool),
        Field(name="city", dtype=String),
        Field(name="last_order_at", dtype=UnixTimestamp),
    ],
    source=_source("customers"),
    description="What a customer did of late; every week.",
)
products = FeatureView(
    name="products",
    entities=[product],
    ttl=timedelta(0),
    schema=[
        Field(name="product_code", dtype=String),
        Field(name="return_rate", dtype=Float64),
        Field(name="rating", dtype=Float32),
        Field(name="kind", dtype=String),
    ],
    source=_source("products"),
    description="How a product does; every two weeks, and it holds until there is another word.",
)
returns = FeatureService(name="returns", features=[customers, products])
