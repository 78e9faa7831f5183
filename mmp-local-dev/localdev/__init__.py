"""PostgreSQL, Redis and MLflow for development, as ordinary processes: what `native.py` is made of."""
