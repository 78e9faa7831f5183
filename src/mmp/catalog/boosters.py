"""Gradient-boosted trees of XGBoost, LightGBM and CatBoost.

The defaults are measured: docs/defaults.md. In a classification, a split must gain so much of the log loss
that it is hardly chance. That bounds the trees of noisy tables and leaves those of clear ones alone, however
many rows there are. A loss that is shared by more than two classes gains less in each of their trees; with
few rows nothing gains so much, and small trees do instead.
"""

from __future__ import annotations

from typing import Any

from mmp.catalog.row import ModelRow, QuantileLoss, Space, adding, aliases_of, stopping_on, words

_XGBOOST: dict[str, Any] = {
    "engine": "xgboost",
    "extra": "xgboost",
    "home": "xgboost.sklearn",
    "parameters": words("""
        base_score booster colsample_bylevel colsample_bynode colsample_bytree device early_stopping_rounds
        eval_metric gamma grow_policy interaction_constraints learning_rate max_bin max_cat_threshold
        max_cat_to_onehot max_delta_step max_depth max_leaves min_child_weight monotone_constraints
        multi_strategy n_estimators n_jobs num_parallel_tree objective random_state reg_alpha reg_lambda
        sampling_method scale_pos_weight subsample tree_method
        huber_slope max_cached_hist_node normalize_type one_drop rate_drop refresh_leaf sample_type
        skip_drop tweedie_variance_power
        """),
    "aliases": aliases_of("""
        gamma: min_split_loss
        learning_rate: eta
        n_estimators: num_boost_round
        n_jobs: nthread
        random_state: seed
        reg_alpha: alpha
        reg_lambda: lambda
        """),
    "ignored": words("enable_categorical importance_type use_label_encoder validate_parameters verbosity"),
    "reserved": words("callbacks feature_types feature_weights missing"),
    "defaults": {
        "n_estimators": 300,
        "learning_rate": 0.05,
        "max_depth": 4,
        "subsample": 0.8,
        "colsample_bytree": 0.8,
    },
    "search_space": {
        "n_estimators": Space("int", (50, 1000), log=True),
        "learning_rate": Space("float", (0.01, 0.3), log=True),
        "max_depth": Space("int", (2, 10)),
        "min_child_weight": Space("float", (0.5, 20.0), log=True),
        "subsample": Space("float", (0.5, 1.0)),
        "colsample_bytree": Space("float", (0.5, 1.0)),
        "reg_alpha": Space("float", (1e-3, 10.0), log=True),
        "reg_lambda": Space("float", (1e-2, 20.0), log=True),
    },
    "handles_nulls": True,
    "native_categories": True,
    "sparse": True,
    "matrix_dtype": "float32",
    "seed_param": "random_state",
    "thread_param": "n_jobs",
    "rounds_param": "n_estimators",
    "early_stopping": True,
}

_GOSS = {"boosting_type": "goss", "data_sample_strategy": "goss"}
_LIGHTGBM: dict[str, Any] = {
    "engine": "lightgbm",
    "extra": "lightgbm",
    "home": "lightgbm.sklearn",
    "parameters": words("""
        boosting_type class_weight colsample_bytree learning_rate max_depth min_child_samples
        min_child_weight min_split_gain n_estimators n_jobs num_leaves objective random_state reg_alpha
        reg_lambda subsample subsample_for_bin subsample_freq
        alpha auc_mu_weights bagging_seed boost_from_average cat_l2 cat_smooth colsample_bynode
        data_random_seed data_sample_strategy deterministic device_type drop_rate drop_seed
        early_stopping_round enable_bundle extra_seed extra_trees fair_c feature_fraction_seed
        feature_pre_filter force_col_wise force_row_wise histogram_pool_size interaction_constraints
        is_enable_sparse is_unbalance linear_lambda linear_tree max_bin max_bin_by_feature
        max_cat_threshold max_cat_to_onehot max_delta_step max_drop metric min_data_in_bin
        min_data_per_group monotone_constraints monotone_constraints_method monotone_penalty
        neg_bagging_fraction num_grad_quant_bins objective_seed other_rate path_smooth
        pos_bagging_fraction quant_train_renew_leaf reg_sqrt scale_pos_weight sigmoid skip_drop
        stochastic_rounding top_rate tweedie_variance_power uniform_drop use_missing use_quantized_grad
        xgboost_dart_mode zero_as_missing
        """),
    "aliases": aliases_of("""
        boosting_type: boosting boost
        colsample_bynode: feature_fraction_bynode sub_feature_bynode
        colsample_bytree: feature_fraction sub_feature
        device_type: device
        drop_rate: rate_drop
        early_stopping_round: early_stopping early_stopping_rounds n_iter_no_change
        is_unbalance: unbalance unbalanced_sets
        learning_rate: eta shrinkage_rate
        max_bin: max_bins
        metric: metrics metric_types
        min_child_samples: min_data min_data_in_leaf min_data_per_leaf min_samples_leaf
        min_child_weight: min_hessian min_sum_hessian min_sum_hessian_in_leaf min_sum_hessian_per_leaf
        min_split_gain: min_gain_to_split
        monotone_constraints: mc monotone_constraint monotonic_cst
        n_estimators: max_iter n_iter nrounds num_boost_round num_iteration num_iterations num_round num_rounds num_tree num_trees
        n_jobs: nthread nthreads num_thread num_threads
        num_leaves: max_leaf max_leaf_nodes max_leaves num_leaf
        objective: app application loss objective_type
        random_state: random_seed seed
        reg_alpha: l1_regularization lambda_l1
        reg_lambda: l2_regularization lambda lambda_l2
        subsample: bagging bagging_fraction sub_row
        subsample_for_bin: bin_construct_sample_cnt
        subsample_freq: bagging_freq
        """),  # noqa: E501 - one line a name
    "ignored": words("importance_type silent verbose verbosity"),
    "defaults": {
        "n_estimators": 300,
        "learning_rate": 0.05,
        "num_leaves": 31,
        "subsample": 0.8,
        "subsample_freq": 1,
        "colsample_bytree": 0.8,
        # the histogram mode is otherwise chosen by a stop-watch, and two runs differ
        "deterministic": True,
        "force_col_wise": True,
    },
    "yielding": {
        "force_col_wise": {"force_row_wise": True},
        "subsample": _GOSS,
        "subsample_freq": _GOSS,
    },
    "search_space": {
        "n_estimators": Space("int", (50, 1000), log=True),
        "learning_rate": Space("float", (0.01, 0.3), log=True),
        "num_leaves": Space("int", (7, 255), log=True),
        "min_child_samples": Space("int", (5, 100), log=True),
        "subsample": Space("float", (0.5, 1.0)),
        "colsample_bytree": Space("float", (0.5, 1.0)),
        "reg_alpha": Space("float", (1e-3, 10.0), log=True),
        "reg_lambda": Space("float", (1e-3, 10.0), log=True),
    },
    "handles_nulls": True,
    "native_categories": True,
    "sparse": True,
    "seed_param": "random_state",
    "thread_param": "n_jobs",
    "rounds_param": "n_estimators",
    "early_stopping": True,
}

_CATBOOST: dict[str, Any] = {
    "engine": "catboost",
    "extra": "catboost",
    "home": "catboost.core",
    "parameters": words("""
        allow_const_label approx_on_full_history bagging_temperature best_model_min_trees
        boost_from_average boosting_type bootstrap_type border_count combinations_ctr
        counter_calc_method ctr_description ctr_history_unit ctr_leaf_count_limit ctr_target_border_count
        custom_metric depth dev_efb_max_buckets dev_score_calc_obj_block_size diffusion_temperature
        eval_metric feature_border_type final_ctr_computation_mode first_feature_use_penalties
        fold_len_multiplier fold_permutation_block grow_policy has_time iterations l2_leaf_reg langevin
        leaf_estimation_backtracking leaf_estimation_iterations leaf_estimation_method learning_rate
        loss_function max_ctr_complexity max_leaves min_data_in_leaf model_shrink_mode model_shrink_rate
        model_size_reg monotone_constraints mvs_reg nan_mode od_pval od_type od_wait one_hot_max_size
        penalties_coefficient per_feature_ctr posterior_sampling random_score_type random_seed
        random_strength rsm sampling_frequency sampling_unit score_function simple_ctr
        sparse_features_conflict_fraction store_all_simple_ctr subsample task_type thread_count
        used_ram_limit
        """),
    "aliases": aliases_of("""
        border_count: max_bin
        depth: max_depth
        iterations: n_estimators num_boost_round num_trees
        l2_leaf_reg: reg_lambda
        learning_rate: eta
        loss_function: objective
        max_leaves: num_leaves
        min_data_in_leaf: min_child_samples
        od_wait: early_stopping_rounds
        random_seed: random_state
        rsm: colsample_bylevel
        """),
    "ignored": words("allow_writing_files logging_level metric_period name silent verbose"),
    "reserved": words("""
        callback cat_features class_names class_weights classes_count custom_loss data_partition
        device_config devices
        dictionaries embedding_features eval_fraction feature_calcers feature_weights fixed_binary_splits
        gpu_cat_features_storage gpu_ram_part ignored_features input_borders metadata output_borders
        per_float_feature_quantization per_object_feature_penalties pinned_memory_size save_snapshot
        snapshot_file snapshot_interval target_border text_features text_processing tokenizers train_dir
        use_best_model
        """),
    "defaults": {"iterations": 300, "depth": 6},
    "search_space": {
        "iterations": Space("int", (100, 1000), log=True),
        "learning_rate": Space("float", (0.01, 0.3), log=True),
        "depth": Space("int", (3, 9)),
        "l2_leaf_reg": Space("float", (0.5, 20.0), log=True),
        "random_strength": Space("float", (0.1, 10.0), log=True),
        "rsm": Space("float", (0.5, 1.0)),
    },
    "handles_nulls": True,
    "native_categories": True,
    "sparse": True,
    "matrix_dtype": "float32",
    "seed_param": "random_seed",
    "thread_param": "thread_count",
    "rounds_param": "iterations",
    "early_stopping": True,
}


BOOSTERS = (
    ModelRow(
        "xgboost.XGBClassifier",
        "classification",
        **adding(
            _XGBOOST,
            defaults={"n_estimators": 400, "max_depth": 6, "gamma": 2.0},
            search_space={"gamma": Space("float", (0.0, 5.0))},
        ),
        cases={
            "many_classes": {"gamma": 1.0, "learning_rate": 0.1},
            "few_rows": {"gamma": 0.0, "learning_rate": 0.05, "n_estimators": 300, "max_depth": 4},
        },
        stopping_metrics=stopping_on(
            accuracy=("error", "merror"),
            average_precision="aucpr",
            log_loss=("logloss", "mlogloss"),
            roc_auc="auc",
        ),
        objectives=("binary:logistic", "multi:softprob", "multi:softmax", "reg:logistic"),
    ),
    ModelRow(
        "xgboost.XGBRegressor",
        "regression",
        **adding(_XGBOOST, defaults={"max_depth": 6}),
        stopping_metrics=stopping_on(mae="mae", mape="mape", mse="rmse", rmse="rmse"),
        quantile=QuantileLoss("quantile_alpha", {"objective": "reg:quantileerror"}, at_once=True),
    ),
    ModelRow(
        "lightgbm.LGBMClassifier",
        "classification",
        **adding(
            _LIGHTGBM,
            defaults={"min_split_gain": 2.0},
            search_space={"min_split_gain": Space("float", (0.0, 5.0))},
        ),
        cases={
            "many_classes": {"min_split_gain": 0.7},
            "few_rows": {"min_split_gain": 0.0, "n_estimators": 200, "num_leaves": 15},
        },
        stopping_metrics=stopping_on(
            accuracy=("binary_error", "multi_error"),
            average_precision=("average_precision", ""),
            log_loss=("binary_logloss", "multi_logloss"),
            roc_auc=("auc", "auc_mu"),
        ),
        objectives=(
            "binary",
            "multiclass",
            "softmax",
            "multiclassova",
            "multiclass_ova",
            "ova",
            "ovr",
            "cross_entropy",
            "xentropy",
        ),
    ),
    ModelRow(
        "lightgbm.LGBMRegressor",
        "regression",
        **_LIGHTGBM,
        stopping_metrics=stopping_on(mae="l1", mape="mape", mse="l2", rmse="rmse"),
        quantile=QuantileLoss("alpha", {"objective": "quantile"}),
    ),
    ModelRow(
        "catboost.CatBoostClassifier",
        "classification",
        # the library's own choice of a learning rate is made for early stopping
        **adding(
            _CATBOOST,
            parameters=words("auto_class_weights scale_pos_weight"),
            defaults={
                "iterations": 400,
                "learning_rate": 0.05,
                "depth": 5,
                "l2_leaf_reg": 1.0,
                "random_strength": 2.0,
                "one_hot_max_size": 2,
            },
        ),
        cases={
            "many_classes": {
                "iterations": 1000,
                "learning_rate": 0.1,
                "l2_leaf_reg": 3.0,
                "random_strength": 1.0,
                "one_hot_max_size": 16,
            },
            "few_rows": {  # the library's own
                "iterations": 1000,
                "learning_rate": None,
                "depth": 6,
                "l2_leaf_reg": None,
                "random_strength": None,
                "one_hot_max_size": None,
            },
        },
        stopping_metrics=stopping_on(
            accuracy="Accuracy",
            average_precision=("PRAUC", ""),
            log_loss=("Logloss", "MultiClass"),
            mcc="MCC",
            roc_auc="AUC",
        ),
        objectives=("Logloss", "CrossEntropy", "MultiClass"),
    ),
    ModelRow(
        "catboost.CatBoostRegressor",
        "regression",
        **_CATBOOST,
        stopping_metrics=stopping_on(mae="MAE", mape="MAPE", mse="RMSE", r2="R2", rmse="RMSE"),
        quantile=QuantileLoss(
            "loss_function", one="Quantile:alpha={}", many="MultiQuantile:alpha={}", at_once=True
        ),
    ),
)
"""Rows of the catalog, in the order of the documentation."""
