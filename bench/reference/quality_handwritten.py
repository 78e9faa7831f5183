"""What a good engineer writes in an hour: a ColumnTransformer, and the library's estimator as it comes."""
import importlib

import numpy as np
from sklearn.compose import ColumnTransformer, make_column_selector
from sklearn.impute import SimpleImputer
from sklearn.metrics import log_loss, roc_auc_score, root_mean_squared_error
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, LabelEncoder, OneHotEncoder, StandardScaler

QUIET = {"lightgbm": {"verbosity": -1}, "catboost": {"verbose": 0, "allow_writing_files": False}}


def _parts_of_dates(frame):
    return np.hstack([np.column_stack([c.dt.year, c.dt.month, c.dt.day, c.dt.dayofweek]) for _, c in frame.items()])


def pipeline(class_path, seed):
    """Return the estimator behind its columns: medians, one-hot, one scale for linear models, parts of dates."""
    module, _, name = class_path.rpartition(".")
    library = module.split(".")[0]
    seeds = {"random_seed": seed} if library == "catboost" else {"random_state": seed}
    estimator = getattr(importlib.import_module(module), name)(**seeds, **QUIET.get(library, {}))
    numbers = [SimpleImputer(strategy="median"), *([StandardScaler()] if "linear" in module else [])]
    texts = [SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore", sparse_output="Hist" not in name)]
    columns = ColumnTransformer([
        ("numbers", make_pipeline(*numbers), make_column_selector(dtype_include=["number", "bool"])),
        ("texts", make_pipeline(*texts), make_column_selector(dtype_include=object)),
        ("dates", make_pipeline(FunctionTransformer(_parts_of_dates), *numbers), make_column_selector(dtype_include="datetime")),
    ])
    return make_pipeline(columns, estimator)


def score(class_path, frame, target, task, seed):
    """Return the metrics on the test rows of a frame that has a column `part`."""
    parts = [frame[frame["part"] == part].drop(columns="part") for part in ("train", "test")]
    (x, y), (x_test, y_test) = ((part.drop(columns=target), part[target]) for part in parts)
    model = pipeline(class_path, seed)
    if task == "regression":
        return {"rmse": root_mean_squared_error(y_test, model.fit(x, y).predict(x_test))}
    labels = LabelEncoder().fit(frame[target])
    model.fit(x, labels.transform(y))
    probabilities, codes = model.predict_proba(x_test), labels.transform(y_test)
    two = probabilities.shape[1] == 2
    auc = roc_auc_score(codes, probabilities[:, 1] if two else probabilities, multi_class="ovr")
    return {"log_loss": log_loss(codes, probabilities), "roc_auc": auc}
