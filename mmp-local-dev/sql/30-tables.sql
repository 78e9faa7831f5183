-- Each row of features says when it became true (event_timestamp) and when we knew (created_timestamp).
-- A later correction has the same event time and another created time; the key settles which one counts,
-- and its order is that of a point-in-time lookup: the newest first, the last word on it before others.

CREATE TABLE IF NOT EXISTS public.seed (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    version text NOT NULL,
    digest text NOT NULL,
    until date NOT NULL,
    loaded_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE IF NOT EXISTS public.transactions (
    transaction_id bigint PRIMARY KEY,
    user_id bigint NOT NULL,
    merchant_id bigint NOT NULL,
    category_id text NOT NULL,
    amount numeric(12, 2) NOT NULL,
    channel text NOT NULL,
    card_last_four text NOT NULL,
    device_age_days integer,
    is_foreign boolean NOT NULL,
    event_timestamp timestamptz NOT NULL,
    created_timestamp timestamptz NOT NULL,
    is_fraud boolean NOT NULL
);
CREATE INDEX IF NOT EXISTS transactions_by_time ON public.transactions (event_timestamp);
CREATE INDEX IF NOT EXISTS transactions_by_user ON public.transactions (user_id, event_timestamp DESC);

CREATE TABLE IF NOT EXISTS features.user_transaction_features (
    user_id bigint NOT NULL,
    transaction_count_7d bigint NOT NULL,
    transaction_count_30d bigint NOT NULL,
    amount_sum_30d double precision NOT NULL,
    amount_mean_30d double precision,
    amount_max_30d double precision,
    amount_last double precision,
    distinct_merchants_30d bigint NOT NULL,
    night_share_30d double precision,
    foreign_share_30d double precision,
    declined_count_7d integer NOT NULL,
    failed_logins_7d integer NOT NULL,
    chargebacks_90d bigint NOT NULL,
    has_new_device boolean,
    last_channel text,
    last_transaction_at timestamptz,
    event_timestamp timestamptz NOT NULL,
    created_timestamp timestamptz NOT NULL
);

CREATE TABLE IF NOT EXISTS features.user_demographics (
    user_id bigint NOT NULL,
    age integer NOT NULL,
    annual_income double precision,
    credit_score bigint,
    region text NOT NULL,
    postal_code text NOT NULL,
    occupation text,
    is_premium boolean NOT NULL,
    has_verified_phone boolean,
    account_opened_at timestamptz NOT NULL,
    event_timestamp timestamptz NOT NULL,
    created_timestamp timestamptz NOT NULL
);

CREATE TABLE IF NOT EXISTS features.merchant_features (
    merchant_id bigint NOT NULL,
    merchant_transaction_count_30d bigint NOT NULL,
    merchant_distinct_users_30d bigint NOT NULL,
    merchant_amount_mean_30d double precision,
    merchant_chargeback_rate_90d double precision NOT NULL,
    merchant_refund_rate_30d double precision NOT NULL,
    merchant_rating real,
    merchant_risk_tier text NOT NULL,
    merchant_country text NOT NULL,
    merchant_is_online boolean NOT NULL,
    merchant_age_days integer NOT NULL,
    event_timestamp timestamptz NOT NULL,
    created_timestamp timestamptz NOT NULL
);

CREATE TABLE IF NOT EXISTS features.category_features (
    category_id text NOT NULL,
    category_transaction_count_7d bigint NOT NULL,
    category_amount_mean_7d double precision,
    category_decline_rate_7d double precision NOT NULL,
    category_fraud_count_90d bigint NOT NULL,
    category_is_restricted boolean NOT NULL,
    category_review_level integer,
    category_name text NOT NULL,
    event_timestamp timestamptz NOT NULL,
    created_timestamp timestamptz NOT NULL
);

CREATE UNIQUE INDEX IF NOT EXISTS user_transaction_features_as_of
    ON features.user_transaction_features (user_id, event_timestamp DESC, created_timestamp DESC);
CREATE UNIQUE INDEX IF NOT EXISTS user_demographics_as_of
    ON features.user_demographics (user_id, event_timestamp DESC, created_timestamp DESC);
CREATE UNIQUE INDEX IF NOT EXISTS merchant_features_as_of
    ON features.merchant_features (merchant_id, event_timestamp DESC, created_timestamp DESC);
CREATE UNIQUE INDEX IF NOT EXISTS category_features_as_of
    ON features.category_features (category_id, event_timestamp DESC, created_timestamp DESC);
