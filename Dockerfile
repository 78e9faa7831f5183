# One image for every command: docker build -t mmp . && docker run --rm -v ./mlruns:/app/mlruns mmp train -r recipes/models/classification/xgboost_classifier.yaml
# One that only serves: docker build --target serve -t mmp-serve .
FROM python:3.11.15-slim-bookworm AS wheels
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /build
COPY requirements.lock ./
RUN pip download --require-hashes --only-binary :all: --dest /wheels --requirement requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY src ./src
RUN pip install --no-index --find-links /wheels hatchling \
    && pip wheel --no-deps --no-build-isolation --wheel-dir /wheels .

FROM python:3.11.15-slim-bookworm AS base
ENV PYTHONUNBUFFERED=1 PYTHONUTF8=1 PIP_DISABLE_PIP_VERSION_CHECK=1 \
    MLFLOW_DISABLE_TELEMETRY=true DO_NOT_TRACK=true
# XGBoost and LightGBM need the OpenMP runtime
RUN apt-get update && apt-get install --yes --no-install-recommends libgomp1 && rm -rf /var/lib/apt/lists/*
RUN useradd --create-home --uid 1000 app
WORKDIR /app

# what answers requests, with the libraries that models are of: no MLflow, no Feast, no drawing of ours; `compiled`, since the
# first batch of rows would take ten times as long, and more memory, by XGBoost's own package
FROM base AS serve
RUN --mount=type=bind,from=wheels,source=/wheels,target=/wheels \
    pip install --no-cache-dir --no-index --find-links /wheels "mmp[server,xgboost,lightgbm,catboost,sklearn,redis,compiled]"
USER app
EXPOSE 8000
ENTRYPOINT ["mmp", "serve-api"]
CMD ["--help"]

FROM base
# what runs, from what was verified against its hashes; development tools stay behind
RUN --mount=type=bind,from=wheels,source=/wheels,target=/wheels \
    pip install --no-cache-dir --no-index --find-links /wheels "mmp[all,compiled]"
COPY --chown=app configs ./configs
COPY --chown=app recipes ./recipes
COPY --chown=app src/mmp/templates/data ./src/mmp/templates/data
RUN install -d -o app mlruns logs predictions
USER app
ENTRYPOINT ["mmp"]
CMD ["--help"]
