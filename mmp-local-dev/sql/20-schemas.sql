-- features: what is known of users, merchants and categories, and since when.
-- feast: Feast's registry, and the tables it needs for a moment while it joins.
CREATE SCHEMA IF NOT EXISTS features;
CREATE SCHEMA IF NOT EXISTS feast;
