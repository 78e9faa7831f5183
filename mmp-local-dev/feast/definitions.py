"""What Feast knows of the world of cards: three entities, four views, one service."""

from datetime import timedelta

from feast import Entity, FeatureService, FeatureView, Field
from feast.infra.offline_stores.contrib.postgres_offline_store.postgres_source import PostgreSQLSource
from feast.types import Bool, FeastType, Float32, Float64, Int32, Int64, String, UnixTimestamp
from feast.value_type import ValueType

user = Entity(name="user", join_keys=["user_id"], value_type=ValueType.INT64, description="A card holder.")
merchant = Entity(
    name="merchant", join_keys=["merchant_id"], value_type=ValueType.INT64, description="Who is paid."
)
category = Entity(
    name="category",
    join_keys=["category_id"],
    value_type=ValueType.STRING,
    description="What a merchant sells, as a code of four digits, leading zeros among them.",
)


def _view(
    name: str, entity: Entity, key: FeastType, days: int, about: str, **features: FeastType
) -> FeatureView:
    return FeatureView(
        name=name,
        entities=[entity],
        ttl=timedelta(days=days),
        schema=[
            Field(name=entity.join_key, dtype=key),
            *(Field(name=f, dtype=t) for f, t in features.items()),
        ],
        source=PostgreSQLSource(
            name=name,
            table=f"features.{name}",
            timestamp_field="event_timestamp",
            created_timestamp_column="created_timestamp",
        ),
        online=True,
        description=about,
    )


user_transaction_features = _view(
    "user_transaction_features",
    user,
    Int64,
    90,
    "What a user did of late, and what was done to the account; every ten days.",
    transaction_count_7d=Int64,
    transaction_count_30d=Int64,
    amount_sum_30d=Float64,
    amount_mean_30d=Float64,
    amount_max_30d=Float64,
    amount_last=Float64,
    distinct_merchants_30d=Int64,
    night_share_30d=Float64,
    foreign_share_30d=Float64,
    declined_count_7d=Int32,
    failed_logins_7d=Int32,
    chargebacks_90d=Int64,
    has_new_device=Bool,
    last_channel=String,
    last_transaction_at=UnixTimestamp,
)

user_demographics = _view(
    "user_demographics",
    user,
    Int64,
    1_095,
    "What a user said; changes a few times.",
    age=Int32,
    annual_income=Float64,
    credit_score=Int64,
    region=String,
    postal_code=String,
    occupation=String,
    is_premium=Bool,
    has_verified_phone=Bool,
    account_opened_at=UnixTimestamp,
)

merchant_features = _view(
    "merchant_features",
    merchant,
    Int64,
    90,
    "What a merchant sold, and what came back; every ten days.",
    merchant_transaction_count_30d=Int64,
    merchant_distinct_users_30d=Int64,
    merchant_amount_mean_30d=Float64,
    merchant_chargeback_rate_90d=Float64,
    merchant_refund_rate_30d=Float64,
    merchant_rating=Float32,
    merchant_risk_tier=String,
    merchant_country=String,
    merchant_is_online=Bool,
    merchant_age_days=Int32,
)

category_features = _view(
    "category_features",
    category,
    String,
    60,
    "How a category does; every day.",
    category_transaction_count_7d=Int64,
    category_amount_mean_7d=Float64,
    category_decline_rate_7d=Float64,
    category_fraud_count_90d=Int64,
    category_is_restricted=Bool,
    category_review_level=Int32,
    category_name=String,
)

fraud_detection = FeatureService(
    name="fraud_detection",
    features=[user_transaction_features, user_demographics, merchant_features, category_features],
    description="All 41 features of a card payment.",
)
