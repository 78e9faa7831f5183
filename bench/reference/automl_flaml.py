#!/usr/bin/env python3
"""FLAML on one table, in an environment of its own:  automl_flaml.py table.parquet --target y --task classification --seconds 60

Fits on the rows whose `part` is train, as its documentation shows; prints one JSON line with what the test rows say."""
import argparse, json, time
import pandas as pd
from flaml import AutoML
from flaml import __version__
from sklearn.metrics import log_loss, roc_auc_score, root_mean_squared_error

ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
ap.add_argument("table"); ap.add_argument("--target", required=True); ap.add_argument("--task", required=True)
ap.add_argument("--seconds", type=float, default=60); ap.add_argument("--seed", type=int, default=0)
ap.add_argument("--ensemble", action="store_true", help="stack at the end; it then takes longer than it was given")
a = ap.parse_args()
frame = pd.read_parquet(a.table)
train, test = (frame[frame["part"] == part].drop(columns="part") for part in ("train", "test"))
automl, start = AutoML(), time.perf_counter()
automl.fit(train.drop(columns=a.target), train[a.target], task=a.task, metric="log_loss" if a.task == "classification" else "rmse",
           time_budget=a.seconds, seed=a.seed, verbose=0, ensemble=a.ensemble)
took, features = time.perf_counter() - start, test.drop(columns=a.target)
if a.task == "regression":
    found = {"rmse": float(root_mean_squared_error(test[a.target], automl.predict(features)))}
else:
    codes = automl.classes_.tolist().index
    y, p = test[a.target].map(codes), automl.predict_proba(features)
    found = {"log_loss": float(log_loss(y, p)), "roc_auc": float(roc_auc_score(y, p[:, 1] if p.shape[1] == 2 else p, multi_class="ovr"))}
print(json.dumps({**found, "wall_s": took, "best": automl.best_estimator, "flaml": __version__}))
