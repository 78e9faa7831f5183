"""Estimators of scikit-learn.

Not here, each still to be had by its dotted path: what predicts no probabilities and has a sibling that
does (`RidgeClassifier`, `Perceptron`), what cannot be fitted where a class has fewer rows than there are
features (`QuadraticDiscriminantAnalysis`), what is weaker than a sibling on every table (`AdaBoost`),
and what takes other estimators as parts.
"""

from __future__ import annotations

from typing import Any

from mmp.catalog.row import ModelRow, QuantileLoss, Space, adding, stopping_on, words

_SKLEARN: dict[str, Any] = {"engine": "sklearn", "extra": "sklearn"}
_SEEDED: dict[str, Any] = {"seed_param": "random_state"}

# -- trees

_GROWTH = """
    ccp_alpha criterion max_depth max_features max_leaf_nodes min_impurity_decrease min_samples_leaf
    min_samples_split min_weight_fraction_leaf random_state
    """
_TREE: dict[str, Any] = {
    **_SKLEARN,
    **_SEEDED,
    "home": "sklearn.tree._classes",
    "parameters": words(_GROWTH + "splitter"),
    "reserved": words("monotonic_cst"),
    "defaults": {"min_samples_leaf": 20},
    "search_space": {
        "max_depth": Space("int", (2, 20)),
        "min_samples_leaf": Space("int", (2, 100), log=True),
        "ccp_alpha": Space("float", (1e-6, 1e-2), log=True),
    },
    "handles_nulls": True,
    "sparse": True,
    "matrix_dtype": "float32",
}

_FOREST: dict[str, Any] = {
    **_SKLEARN,
    **_SEEDED,
    "home": "sklearn.ensemble._forest",
    "parameters": words(_GROWTH + "bootstrap max_samples n_estimators n_jobs oob_score"),
    "ignored": words("verbose warm_start"),
    "reserved": words("monotonic_cst"),
    "defaults": {"n_estimators": 200},
    "search_space": {
        "n_estimators": Space("int", (100, 500)),
        "max_depth": Space("int", (4, 30)),
        "min_samples_leaf": Space("int", (1, 20), log=True),
        "max_features": Space("float", (0.1, 1.0)),
    },
    "handles_nulls": True,
    "sparse": True,
    "matrix_dtype": "float32",
    "thread_param": "n_jobs",
}

_BOOSTING: dict[str, Any] = {
    **_SKLEARN,
    **_SEEDED,
    "home": "sklearn.ensemble._gb",
    "parameters": words(
        _GROWTH + "learning_rate loss n_estimators n_iter_no_change subsample tol validation_fraction"
    )
    - {"criterion"},
    "ignored": words("criterion verbose warm_start"),
    "reserved": words("init"),
    "defaults": {"n_estimators": 200, "learning_rate": 0.08, "max_depth": 4, "subsample": 0.8},
    "search_space": {
        "n_estimators": Space("int", (50, 500), log=True),
        "learning_rate": Space("float", (0.01, 0.3), log=True),
        "max_depth": Space("int", (2, 8)),
        "min_samples_leaf": Space("int", (1, 50), log=True),
        "subsample": Space("float", (0.5, 1.0)),
        "max_features": Space("float", (0.2, 1.0)),
    },
    "sparse": True,
    "matrix_dtype": "float32",
    "rounds_param": "n_estimators",
}

_HISTOGRAMS: dict[str, Any] = {
    **_SKLEARN,
    **_SEEDED,
    "home": "sklearn.ensemble._hist_gradient_boosting.gradient_boosting",
    "parameters": words("""
        early_stopping interaction_cst l2_regularization learning_rate loss max_bins max_depth max_features
        max_iter max_leaf_nodes min_samples_leaf monotonic_cst n_iter_no_change random_state scoring tol
        validation_fraction
        """),
    "ignored": words("verbose warm_start"),
    "reserved": words("categorical_features"),
    "defaults": {
        "max_iter": 200,
        "learning_rate": 0.05,
        "max_leaf_nodes": 15,
        "max_features": 0.8,
        # otherwise a tenth of the training rows goes, from 10,000 rows on
        "early_stopping": False,
    },
    "search_space": {
        "max_iter": Space("int", (50, 1000), log=True),
        "learning_rate": Space("float", (0.01, 0.3), log=True),
        "max_leaf_nodes": Space("int", (7, 127), log=True),
        "min_samples_leaf": Space("int", (5, 100), log=True),
        "l2_regularization": Space("float", (1e-3, 10.0), log=True),
        "max_features": Space("float", (0.3, 1.0)),
    },
    "handles_nulls": True,
    "native_categories": True,
    "rounds_param": "max_iter",
    "early_stopping": True,
}

# -- linear models

_LINEAR: dict[str, Any] = {"engine": "linear", "extra": "sklearn", "scale": True}
_DESCENT: dict[str, Any] = {
    **_LINEAR,
    **_SEEDED,
    "home": "sklearn.linear_model._stochastic_gradient",
    "parameters": words("""
        alpha average early_stopping eta0 fit_intercept l1_ratio learning_rate max_iter n_iter_no_change
        penalty power_t random_state shuffle tol validation_fraction
        """),
    "ignored": words("verbose warm_start"),
    "search_space": {
        "alpha": Space("float", (1e-6, 1e-1), log=True),
        "penalty": Space("categorical", ("l2", "l1", "elasticnet")),
    },
    "sparse": True,
}
_COORDINATES: dict[str, Any] = {
    **_LINEAR,
    **_SEEDED,
    "home": "sklearn.linear_model._coordinate_descent",
    "parameters": words("alpha fit_intercept max_iter positive precompute random_state selection tol"),
    "ignored": words("copy_X warm_start"),
    "defaults": {"alpha": 1e-3, "max_iter": 5000},
    "search_space": {"alpha": Space("float", (1e-5, 1.0), log=True)},
    "sparse": True,
}

# -- others

_NEIGHBOURS: dict[str, Any] = {
    **_SKLEARN,
    "parameters": words("leaf_size metric metric_params n_jobs n_neighbors p weights"),
    "ignored": words("algorithm"),
    "fixed": {"algorithm": "kd_tree"},  # the only one that measures a distance the same in any company
    "search_space": {
        "n_neighbors": Space("int", (3, 100), log=True),
        "weights": Space("categorical", ("uniform", "distance")),
        "p": Space("int", (1, 2)),
    },
    "sparse": True,
    "weighted": False,
    "scale": True,
    "thread_param": "n_jobs",
    "keeps": "the training rows",
}
_KERNEL: dict[str, Any] = {
    **_SKLEARN,
    "home": "sklearn.svm._classes",
    "parameters": words("C cache_size coef0 degree gamma kernel max_iter shrinking tol"),
    "ignored": words("verbose"),
    "search_space": {
        "C": Space("float", (1e-2, 100.0), log=True),
        "gamma": Space("float", (1e-4, 1.0), log=True),
    },
    "sparse": True,
    "scale": True,
    "keeps": "those training rows that are its support vectors",
}
_NETWORK: dict[str, Any] = {
    **_SKLEARN,
    **_SEEDED,
    "home": "sklearn.neural_network._multilayer_perceptron",
    "parameters": words("""
        activation alpha batch_size beta_1 beta_2 early_stopping epsilon hidden_layer_sizes learning_rate
        learning_rate_init max_fun max_iter momentum n_iter_no_change nesterovs_momentum power_t random_state
        shuffle solver tol validation_fraction
        """),
    "ignored": words("verbose warm_start"),
    "defaults": {"hidden_layer_sizes": 64, "alpha": 0.1, "max_iter": 500},
    "search_space": {
        "hidden_layer_sizes": Space("int", (16, 256), log=True),
        "alpha": Space("float", (1e-5, 1.0), log=True),
        "learning_rate_init": Space("float", (1e-4, 1e-2), log=True),
    },
    "sparse": True,
    "scale": True,
    "in_blocks": True,
    "rounds_param": "max_iter",
}

ESTIMATORS = (
    ModelRow(
        "sklearn.ensemble.RandomForestClassifier",
        "classification",
        **adding(_FOREST, parameters={"class_weight"}, defaults={"min_samples_leaf": 5}),
        cases={"few_rows": {"min_samples_leaf": 1}},
    ),
    ModelRow(
        "sklearn.ensemble.RandomForestRegressor",
        "regression",
        **adding(_FOREST, defaults={"min_samples_leaf": 1, "max_features": 0.7}),
    ),
    ModelRow(
        "sklearn.ensemble.ExtraTreesClassifier",
        "classification",
        **adding(_FOREST, parameters={"class_weight"}, defaults={"min_samples_leaf": 3}),
    ),
    ModelRow(
        "sklearn.ensemble.ExtraTreesRegressor",
        "regression",
        **adding(_FOREST, defaults={"min_samples_leaf": 3, "max_features": 0.7}),
    ),
    ModelRow(
        "sklearn.ensemble.HistGradientBoostingClassifier",
        "classification",
        **adding(
            _HISTOGRAMS,
            parameters={"class_weight"},
            defaults={"l2_regularization": 0.5, "max_features": 0.5, "min_samples_leaf": 10},
        ),
        cases={"many_classes": {"max_iter": 300}},
        stopping_metrics=stopping_on(
            accuracy="accuracy",
            average_precision=("average_precision", ""),
            balanced_accuracy="balanced_accuracy",
            log_loss="neg_log_loss",
            roc_auc=("roc_auc", "roc_auc_ovr"),
        ),
        objectives=("log_loss",),
    ),
    ModelRow(
        "sklearn.ensemble.HistGradientBoostingRegressor",
        "regression",
        **adding(_HISTOGRAMS, parameters={"quantile"}, defaults={"max_leaf_nodes": 31}),
        stopping_metrics=stopping_on(
            mae="neg_mean_absolute_error",
            mape="neg_mean_absolute_percentage_error",
            mse="neg_mean_squared_error",
            r2="r2",
            rmse="neg_root_mean_squared_error",
        ),
        quantile=QuantileLoss("quantile", {"loss": "quantile"}),
    ),
    ModelRow(
        "sklearn.ensemble.GradientBoostingClassifier",
        "classification",
        **adding(_BOOSTING, defaults={"max_features": "sqrt"}),
        objectives=("log_loss", "exponential"),
    ),
    ModelRow(
        "sklearn.ensemble.GradientBoostingRegressor",
        "regression",
        **adding(_BOOSTING, parameters={"alpha"}, defaults={"max_depth": 5}),
        quantile=QuantileLoss("alpha", {"loss": "quantile"}),
    ),
    ModelRow(
        "sklearn.tree.DecisionTreeClassifier",
        "classification",
        **adding(_TREE, parameters={"class_weight"}, defaults={"max_depth": 10, "ccp_alpha": 1e-3}),
    ),
    ModelRow(
        "sklearn.tree.DecisionTreeRegressor", "regression", **adding(_TREE, defaults={"min_samples_leaf": 10})
    ),
    ModelRow(
        "sklearn.linear_model.LogisticRegression",
        "classification",
        **_LINEAR,
        **_SEEDED,
        home="sklearn.linear_model._logistic",
        parameters=words("""
            C class_weight dual fit_intercept intercept_scaling l1_ratio max_iter penalty random_state
            solver tol
            """),
        ignored=words("n_jobs verbose warm_start"),
        defaults={"max_iter": 1000},
        search_space={"C": Space("float", (1e-3, 100.0), log=True)},
        sparse=True,
        shrinks=True,
    ),
    ModelRow(
        "sklearn.linear_model.LinearRegression",
        "regression",
        **_LINEAR,
        home="sklearn.linear_model._base",
        parameters=words("fit_intercept positive tol"),
        ignored=words("copy_X n_jobs"),
        search_space={"fit_intercept": Space("categorical", (True, False))},
        sparse=True,
    ),
    ModelRow(
        "sklearn.linear_model.Ridge",
        "regression",
        **_LINEAR,
        **_SEEDED,
        home="sklearn.linear_model._ridge",
        parameters=words("alpha fit_intercept max_iter positive random_state solver tol"),
        ignored=words("copy_X"),
        search_space={"alpha": Space("float", (1e-3, 1000.0), log=True)},
        sparse=True,
        shrinks=True,
    ),
    ModelRow("sklearn.linear_model.Lasso", "regression", **_COORDINATES, of_target=words("alpha")),
    ModelRow(
        "sklearn.linear_model.ElasticNet",
        "regression",
        **adding(
            _COORDINATES, parameters={"l1_ratio"}, search_space={"l1_ratio": Space("float", (0.05, 0.95))}
        ),
    ),
    ModelRow(
        "sklearn.linear_model.BayesianRidge",
        "regression",
        **_LINEAR,
        home="sklearn.linear_model._bayes",
        parameters=words(
            "alpha_1 alpha_2 alpha_init fit_intercept lambda_1 lambda_2 lambda_init max_iter tol"
        ),
        ignored=words("compute_score copy_X verbose"),
        search_space={
            "alpha_1": Space("float", (1e-8, 1e-2), log=True),
            "lambda_1": Space("float", (1e-8, 1e-2), log=True),
        },
    ),
    ModelRow(
        "sklearn.linear_model.HuberRegressor",
        "regression",
        **_LINEAR,
        home="sklearn.linear_model._huber",
        parameters=words("alpha epsilon fit_intercept max_iter tol"),
        ignored=words("warm_start"),
        defaults={"max_iter": 1000},
        search_space={
            "epsilon": Space("float", (1.05, 3.0)),
            "alpha": Space("float", (1e-5, 1.0), log=True),
        },
        scale_target=True,
        sparse=True,
    ),
    ModelRow(
        "sklearn.linear_model.QuantileRegressor",
        "regression",
        **_LINEAR,
        home="sklearn.linear_model._quantile",
        parameters=words("alpha fit_intercept quantile solver solver_options"),
        defaults={"alpha": 1e-3},
        search_space={"alpha": Space("float", (1e-5, 1.0), log=True)},
        sparse=True,
        quantile=QuantileLoss("quantile"),
    ),
    ModelRow(
        "sklearn.linear_model.SGDClassifier",
        "classification",
        **adding(
            _DESCENT,
            parameters={"class_weight"},
            ignored={"epsilon", "n_jobs"},
            reserved={"loss"},
            defaults={"alpha": 1e-2, "average": True},
            fixed={"loss": "log_loss"},  # of those with probabilities, the one that is meant to have them
        ),
        one_vs_rest=True,
    ),
    ModelRow(
        "sklearn.linear_model.SGDRegressor",
        "regression",
        **adding(_DESCENT, parameters={"epsilon", "loss"}),
    ),
    ModelRow(
        "sklearn.discriminant_analysis.LinearDiscriminantAnalysis",
        "classification",
        **_LINEAR,
        home="sklearn.discriminant_analysis",
        parameters=words("priors shrinkage solver tol"),
        ignored=words("n_components store_covariance"),
        reserved=words("covariance_estimator"),
        search_space={"tol": Space("float", (1e-6, 1e-2), log=True)},
        weighted=False,
    ),
    ModelRow(
        "sklearn.naive_bayes.GaussianNB",
        "classification",
        **_SKLEARN,
        home="sklearn.naive_bayes",
        parameters=words("priors var_smoothing"),
        defaults={"var_smoothing": 1.0},  # numbers on one scale; keeps the probabilities from running off
        search_space={"var_smoothing": Space("float", (1e-9, 10.0), log=True)},
        scale=True,
        in_blocks=True,
    ),
    ModelRow(
        "sklearn.neighbors.KNeighborsClassifier",
        "classification",
        **_NEIGHBOURS,
        home="sklearn.neighbors._classification",
        defaults={"n_neighbors": 25},
    ),
    ModelRow(
        "sklearn.neighbors.KNeighborsRegressor",
        "regression",
        **_NEIGHBOURS,
        home="sklearn.neighbors._regression",
        defaults={"n_neighbors": 10, "weights": "distance"},
    ),
    ModelRow(
        "sklearn.svm.SVC",
        "classification",
        **adding(
            _KERNEL,
            parameters={"class_weight"},
            ignored={"break_ties", "decision_function_shape", "probability", "random_state"},
        ),
        calibrated=True,
    ),
    ModelRow(
        "sklearn.svm.SVR",
        "regression",
        **adding(_KERNEL, parameters={"epsilon"}, defaults={"C": 1.0, "epsilon": 0.1}),
        of_target=words("C epsilon"),
    ),
    ModelRow(
        "sklearn.svm.LinearSVC",
        "classification",
        **_SKLEARN,
        **_SEEDED,
        home="sklearn.svm._classes",
        parameters=words(
            "C class_weight dual fit_intercept intercept_scaling loss max_iter penalty random_state tol"
        ),
        ignored=words("verbose"),
        reserved=words("multi_class"),
        defaults={"C": 0.1},
        search_space={"C": Space("float", (1e-4, 10.0), log=True)},
        sparse=True,
        scale=True,
        shrinks=True,
        in_blocks=True,
        calibrated=True,
    ),
    ModelRow(
        "sklearn.neural_network.MLPClassifier",
        "classification",
        **adding(_NETWORK, defaults={"alpha": 0.3}),
    ),
    ModelRow(
        "sklearn.neural_network.MLPRegressor",
        "regression",
        **adding(_NETWORK, reserved={"loss"}),
        scale_target=True,
    ),
)
"""Rows of the catalog, in the order of the documentation."""
