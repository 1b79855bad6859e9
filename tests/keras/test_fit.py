"""Fits of Keras models: the loss, the metrics, the data and the History."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras_models import (
    ROWS,
    Batches,
    assert_same,
    classifier,
    exact,
    floatx,  # noqa: F401
    labels,
    regression,
    rows,
    two_by_two,
    two_by_two_rows,
    weights_of,
)

import tfminimize as tfm
from tfminimize._keras import private

pytestmark = pytest.mark.slow

TOLERANCE = {"float32": 2e-5, "float64": 1e-10}


@keras.saving.register_keras_serializable("tests")
class Subclassed(keras.Model):
    """Adds a loss in its call, and is not built before the fit."""

    def __init__(self) -> None:
        super().__init__()
        keras.utils.set_random_seed(3)
        self.hidden = keras.layers.Dense(4, activation="tanh")
        self.out = keras.layers.Dense(1)

    def call(self, x: Any, training: bool = False) -> Any:
        hidden = self.hidden(x)
        self.add_loss(1e-2 * keras.ops.mean(hidden**2))
        return self.out(hidden)


def compiled(model: Any, loss: Any = "mse", metrics: Any = ("mae",), **options: Any) -> Any:
    model.compile(loss=loss, metrics=list(metrics), **options)
    return model


def assert_as_evaluated(model: Any, history: Any, *args: Any, tolerance: float = 2e-5, **kwargs: Any) -> None:
    """The last epoch has the loss and the metrics that `evaluate` finds, in one batch, at the same weights."""
    rows = len(tf.nest.flatten(args[0])[0])
    values = model.evaluate(*args, batch_size=rows, return_dict=True, verbose=0, **kwargs)
    assert set(values) == {name for name in history.history if not name.startswith("val_")}
    for name, value in values.items():
        assert history.history[name][-1] == pytest.approx(value, rel=tolerance, abs=tolerance), name


@pytest.mark.parametrize("optimizer", [tfm.LBFGSB(), tfm.SLSQP(), tfm.BFGS()], ids=["lbfgsb", "slsqp", "bfgs"])
@pytest.mark.parametrize("batch_size", [None, 17, pytest.param(20, marks=pytest.mark.weekly)])
def test_metrics_of_an_epoch_are_those_at_the_iterate(floatx: str, optimizer: Any, batch_size: Any) -> None:  # noqa: F811
    model = compiled(regression(kernel_regularizer=keras.regularizers.L2(1e-2)), metrics=["mae", "r2_score"])
    x, y = rows()
    seen = []

    class Evaluates(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            seen.append((dict(logs), self.model.evaluate(x, y, batch_size=ROWS, return_dict=True, verbose=0)))

    history = tfm.keras.fit(
        model, x, y, epochs=8, batch_size=batch_size, optimizer=optimizer, verbose=0, callbacks=[Evaluates()]
    )
    assert len(seen) == len(history.history["loss"]) == history.result.nit > 3
    for logs, values in seen:
        assert logs == pytest.approx(values, rel=TOLERANCE[floatx], abs=TOLERANCE[floatx])
    assert history.history["loss"][-1] == pytest.approx(float(history.result.fun))
    assert history.history["loss"][-1] < history.history["loss"][0]


def test_models_of_each_kind_are_fitted(floatx: str) -> None:  # noqa: F811
    x, y = rows()
    subclassed = compiled(Subclassed())
    history = tfm.keras.fit(subclassed, x, y, epochs=20, verbose=0)
    assert_as_evaluated(subclassed, history, x, y, tolerance=TOLERANCE[floatx])
    many = two_by_two()
    losses = {"value": "mse", "kind": keras.losses.SparseCategoricalCrossentropy(from_logits=True)}
    many.compile(loss=losses, loss_weights={"value": 2.0, "kind": 0.5}, metrics={"value": "mae", "kind": ["accuracy"]})
    data = two_by_two_rows()
    for batch_size in (None, 25):
        history = tfm.keras.fit(many, *data, batch_size=batch_size, epochs=10, verbose=0)
        assert_as_evaluated(many, history, *data, tolerance=TOLERANCE[floatx])
        assert {"value_loss", "kind_loss", "value_mae", "kind_accuracy"} < set(history.history)
    assert history.history["kind_accuracy"][-1] > 0.7


def test_metrics_of_classes_and_curves_add_up() -> None:
    x, y = labels()
    binary = compiled(regression(), "binary_crossentropy", [keras.metrics.AUC(from_logits=True), "accuracy"])
    history = tfm.keras.fit(binary, x, (y == 1).astype(np.float32), batch_size=23, epochs=10, verbose=0)
    assert_as_evaluated(binary, history, x, (y == 1).astype(np.float32))
    model = compiled(
        classifier(),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        ["accuracy", keras.metrics.SparseTopKCategoricalAccuracy(2)],
    )
    history = tfm.keras.fit(model, x, y, batch_size=23, epochs=10, verbose=0)
    assert_as_evaluated(model, history, x, y)
    assert history.history["accuracy"][-1] > history.history["accuracy"][0]


def test_metric_may_be_a_vector() -> None:
    x, y = labels()
    model = classifier()
    model.add(keras.layers.Softmax())
    compiled(model, "categorical_crossentropy", [keras.metrics.F1Score(average=None)])
    history = tfm.keras.fit(model, x, np.eye(3)[y], batch_size=23, epochs=3, verbose=0)
    values = model.evaluate(x, np.eye(3)[y], return_dict=True, verbose=0)
    np.testing.assert_allclose(history.history["f1_score"][-1], values["f1_score"], rtol=1e-6)


def test_metric_may_have_several_results() -> None:
    class Moments(keras.metrics.Metric):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            self.sums = self.add_variable((3,), "zeros", name="sums")

        def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
            error = keras.ops.cast(y_pred, "float32") - keras.ops.cast(y_true, "float32")
            rows = keras.ops.cast(keras.ops.shape(error)[0], "float32")
            self.sums.assign_add(keras.ops.stack([rows, keras.ops.sum(error), keras.ops.sum(error**2)]))

        def result(self) -> Any:
            return {"bias": self.sums[1] / self.sums[0], "spread": {"square": self.sums[2] / self.sums[0]}}

    x, y = rows()
    for batch_size in (None, 16):
        model = compiled(regression(), metrics=[Moments(), "mae"])
        history = tfm.keras.fit(model, x, y, epochs=3, batch_size=batch_size, verbose=0, validation_data=(x, y)).history
        assert set(history) == {f"{kind}{name}" for kind in ("", "val_") for name in ("loss", "mae", "bias", "square")}
        for name in ("bias", "square"):
            np.testing.assert_allclose(history[name], history[f"val_{name}"], rtol=1e-4, atol=1e-6)


def test_metric_that_does_not_add_up_is_refused() -> None:
    class Largest(keras.metrics.Metric):
        def __init__(self) -> None:
            super().__init__(name="largest")
            self.most = self.add_variable((), "zeros", name="most")

        def update_state(self, y: Any, y_pred: Any, sample_weight: Any = None) -> None:
            self.most.assign(keras.ops.maximum(self.most, keras.ops.max(keras.ops.abs(y - y_pred))))

        def result(self) -> Any:
            return self.most

    model = compiled(regression(), metrics=["mae", Largest()])
    before = weights_of(model)
    with pytest.raises(ValueError, match="the metric 'largest' does not add up over batches"):
        tfm.keras.fit(model, *rows(), verbose=0)
    assert_same(weights_of(model), before)


def test_batches_do_not_change_the_fit(floatx: str) -> None:  # noqa: F811
    x, y = rows()
    found = []
    for batch_size in (None, 7, 60, 1000):
        model = compiled(regression(kernel_regularizer="l2"))
        history = tfm.keras.fit(model, x, y, batch_size=batch_size, epochs=5, verbose=0)
        found.append(history.history["loss"])
    for losses in found[1:]:
        np.testing.assert_allclose(losses, found[0], rtol=1e-3 if floatx == "float32" else 1e-9)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_data_of_each_kind_are_read(jit_compile: bool) -> None:
    x, y = rows()
    weight = np.linspace(0.1, 2.0, ROWS).astype(np.float32)
    dataset = tf.data.Dataset.from_tensor_slices((x, y, weight)).batch(16)
    batches = Batches((x, y, weight), 16)
    found = []
    for data in ((x, y), (tf.constant(x), tf.constant(y)), (x.tolist(), y.tolist()), (dataset,), (batches,)):
        model = compiled(regression(), weighted_metrics=["mse"], jit_compile=jit_compile)
        arrays = len(data) == 2
        if arrays and isinstance(data[0], list):
            data = tuple(map(np.asarray, data))
        given = {"sample_weight": weight, "batch_size": 16} if arrays else {}
        history = tfm.keras.fit(model, *data, epochs=4, verbose=0, **given)
        found.append([history.history[name] for name in ("loss", "mae", "mse")])
    for values in found[1:]:
        np.testing.assert_allclose(values, found[0], rtol=1e-4)
    assert history.result.backend in ("tfe", "xla")
    assert batches.asked >= 4 * 4
    assert_as_evaluated(model, history, x, y, sample_weight=weight)


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("batch_size", [None, 16])
def test_inputs_and_targets_may_be_left_out(batch_size: Any, jit_compile: bool) -> None:
    class OneOrTwo(keras.layers.Layer):
        def call(self, left: Any, right: Any = None) -> Any:
            return left if right is None else left + right

    x, y = rows()
    left, right = keras.Input((3,)), keras.Input((3,), optional=True)
    hidden = keras.layers.Dense(4, activation="tanh")(OneOrTwo()(left, right))
    model = keras.Model([left, right], [keras.layers.Dense(1)(hidden), keras.layers.Dense(1)(hidden)])
    model.compile(loss=["mse", None])
    start = model.get_weights()
    given = {"batch_size": batch_size, "jit_compile": jit_compile, "epochs": 4, "verbose": 0}
    losses = tfm.keras.fit(model, [x, None], [y, None], **given).history["loss"]
    model.set_weights(start)
    expected = tfm.keras.fit(model, [x, np.zeros_like(x)], [y, y], **given).history["loss"]
    np.testing.assert_allclose(losses, expected, rtol=1e-4)


def test_weights_of_classes_are_those_of_keras() -> None:
    x, y = labels()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    by_class = {0: 3.0, 2: 0.5}
    weight = np.array([by_class.get(label, 1.0) for label in y])
    found = []
    for data, given in (
        ((x, y), {"class_weight": by_class}),
        ((x, y), {"sample_weight": weight}),
        ((tf.data.Dataset.from_tensor_slices((x, y)).batch(16),), {"class_weight": by_class}),
        ((Batches((x, y), 16),), {"class_weight": by_class}),
    ):
        model = compiled(classifier(), loss, ["accuracy"])
        found.append(tfm.keras.fit(model, *data, epochs=4, verbose=0, **given).history["loss"])
    for losses in found[1:]:
        np.testing.assert_allclose(losses, found[0], rtol=1e-4)


def test_losses_that_are_sums_have_their_regularisers_once(floatx: str) -> None:  # noqa: F811
    x, y = rows()
    found = []
    for batch_size in (None, 13):
        model = regression(kernel_regularizer=keras.regularizers.L2(0.1))
        compiled(model, keras.losses.MeanSquaredError(reduction="sum"))
        history = tfm.keras.fit(model, x, y, batch_size=batch_size, epochs=6, verbose=0)
        found.append(history.history["loss"])
    np.testing.assert_allclose(found[1], found[0], rtol=1e-3 if floatx == "float32" else 1e-9)
    assert_as_evaluated(model, history, x, y, tolerance=1e-4)


@pytest.mark.parametrize(
    ("losses", "sentence"),
    [
        (["mse", keras.losses.MeanSquaredError(reduction="sum", name="sum_of_squares")], "sum_of_squares.*are sums"),
        (["mse", keras.losses.MeanSquaredError(reduction=None, name="bare")], "'bare' has reduction=None"),
    ],
)
def test_losses_of_mixed_reductions_are_refused(losses: Any, sentence: str) -> None:
    inputs = keras.Input((3,))
    model = keras.Model(inputs, [keras.layers.Dense(1)(inputs), keras.layers.Dense(1)(inputs)])
    model.compile(loss=losses)
    x, y = rows()
    with pytest.raises(ValueError, match=sentence):
        tfm.keras.fit(model, x, [y, y], batch_size=20, verbose=0)


def test_mean_over_the_weights_of_a_batch_is_refused() -> None:
    model = compiled(regression(), keras.losses.MeanSquaredError(reduction="mean_with_sample_weight"))
    x, y = rows()
    weight = np.ones(ROWS)
    with pytest.raises(ValueError, match="mean over the weights of a batch"):
        tfm.keras.fit(model, x, y, sample_weight=weight, batch_size=20, verbose=0)
    assert tfm.keras.fit(model, x, y, sample_weight=weight, epochs=2, verbose=0).result.nit == 2


def test_loss_of_a_subclass_is_its_own() -> None:
    class Own(keras.Sequential):
        def compute_loss(self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None) -> Any:
            return keras.ops.mean((y - y_pred) ** 4)

    model = regression(Own)
    model.compile()
    x, y = rows()
    history = tfm.keras.fit(model, x, y, epochs=5, verbose=0)
    assert history.history["loss"][-1] == pytest.approx(float(np.mean((y - model.predict(x, verbose=0)) ** 4)))


def test_model_without_targets_is_fitted() -> None:
    class Centre(keras.layers.Layer):
        def build(self, shape: Any) -> None:
            self.centre = self.add_weight(shape=(3,), name="centre")

        def call(self, x: Any) -> Any:
            self.add_loss(keras.ops.mean((x - self.centre) ** 2))
            return x

    model = keras.Sequential([keras.layers.Input((3,)), Centre()])
    model.compile()
    x, _ = rows()
    for data in (x, tf.data.Dataset.from_tensor_slices(x).batch(7)):
        tfm.keras.fit(model, data, verbose=0)
        np.testing.assert_allclose(model.layers[0].centre.numpy(), x.mean(axis=0), atol=1e-4)


def test_validation_is_that_of_the_iterate() -> None:
    x, y = rows()
    held_out = (x[48:], y[48:])
    for given in ({"validation_split": 0.2}, {"validation_data": held_out}):
        model = compiled(regression())
        seen: list[Any] = []
        callback = keras.callbacks.LambdaCallback(
            on_epoch_end=lambda epoch, logs, model=model, seen=seen: seen.append(
                model.evaluate(*held_out, return_dict=True, verbose=0)
            )
        )
        data = (x, y) if "validation_split" in given else (x[:48], y[:48])
        history = tfm.keras.fit(model, *data, epochs=4, verbose=0, callbacks=[callback], **given)
        for name in ("loss", "mae"):
            np.testing.assert_allclose(history.history[f"val_{name}"], [values[name] for values in seen], rtol=1e-5)
        assert_as_evaluated(model, history, x[:48], y[:48])
        assert history.history["val_loss"][0] != history.history["val_loss"][-1]


def test_validation_reads_data_of_each_kind_and_only_where_it_is_asked_to() -> None:
    x, y = rows()
    found = []
    for held_out in (
        (x[40:], y[40:], np.ones(20)),
        tf.data.Dataset.from_tensor_slices((x[40:], y[40:])).batch(8),
        Batches((x[40:], y[40:]), 8),
    ):
        model = compiled(regression())
        history = tfm.keras.fit(model, x[:40], y[:40], epochs=4, verbose=0, validation_data=held_out, validation_freq=2)
        found.append(history.history["val_loss"])
        assert len(found[-1]) == 2
    np.testing.assert_allclose(found[1:], found[:2], rtol=1e-5)
    with pytest.raises(ValueError, match="validation_freq"):
        tfm.keras.fit(model, x, y, verbose=0, validation_split=0.2, validation_freq="often")


def test_epochs_are_iterations() -> None:
    model = compiled(regression())
    x, y = rows()
    history = tfm.keras.fit(model, x, y, epochs=7, initial_epoch=3, verbose=0)
    assert history.epoch == [3, 4, 5, 6]
    assert history.result.nit == 4
    assert history is model.history
    before = weights_of(model)
    history = tfm.keras.fit(model, x, y, epochs=2, initial_epoch=5, verbose=0)
    assert history.history == {}
    assert_same(weights_of(model), before)


def test_fit_ends_where_the_solver_has_converged() -> None:
    x, _ = rows()
    model = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(1)])
    model.compile(loss="mse")
    history = tfm.keras.fit(model, x, x @ [[1.0], [2.0], [3.0]] + 4.0, verbose=0)
    assert history.result.success
    assert len(history.history["loss"]) == history.result.nit < 100
    np.testing.assert_allclose(model.layers[0].kernel.numpy(), [[1.0], [2.0], [3.0]], atol=1e-3)


def test_only_trainable_weights_are_parameters() -> None:
    model = regression()
    model.layers[0].trainable = False
    compiled(model)
    before = weights_of(model)
    history = tfm.keras.fit(model, *rows(), epochs=5, verbose=0)
    assert history.result.x.size == 5
    assert_same(weights_of(model)[:2], before[:2])
    assert (weights_of(model)[2] != before[2]).all()


def test_bounds_and_options_are_those_of_the_optimizer() -> None:
    model = compiled(regression())
    bounds = [(-0.1, 0.1), None, (0.0, None), None]
    history = tfm.keras.fit(model, *rows(), epochs=30, verbose=0, optimizer=exact(maxcor=3, bounds=bounds))
    assert np.abs(model.layers[0].kernel.numpy()).max() <= np.float32(0.1)
    assert model.layers[1].kernel.numpy().min() >= 0.0
    assert history.result.hess_inv.n_corrs <= 3


def test_constraints_of_slsqp_hold() -> None:
    model = compiled(regression())
    kernel = model.layers[1].kernel.value
    constraint = {"type": "eq", "fun": lambda: tf.reduce_sum(kernel) - 1.0}
    history = tfm.keras.fit(model, *rows(), optimizer=tfm.SLSQP(constraints=constraint), epochs=60, verbose=0)
    assert float(np.sum(model.layers[1].kernel.numpy())) == pytest.approx(1.0, abs=1e-5)
    assert history.history["loss"][-1] < history.history["loss"][0]


@pytest.mark.parametrize("optimizer", ["adam", None])
def test_any_optimizer_of_the_model_will_do(optimizer: Any) -> None:
    model = regression()
    model.compile(optimizer, loss="mse")
    own = model.optimizer
    assert tfm.keras.fit(model, *rows(), epochs=2, verbose=0).result.nit == 2
    assert model.optimizer is own
    model.fit(*rows(), epochs=1, verbose=0) if optimizer else None


def test_xla_compiles_where_the_model_says_so() -> None:
    x, y = rows()
    backends = []
    for compiles, given in ((True, None), (False, None), (True, False), ("auto", True)):
        model = compiled(regression(), jit_compile=compiles)
        history = tfm.keras.fit(model, x, y, epochs=3, verbose=0, jit_compile=given)
        backends.append(history.result.backend)
        assert_as_evaluated(model, history, x, y)
    assert backends == ["xla", "tfe", "tfe", "xla"]


def test_fit_takes_the_faster_way_unless_the_model_says_otherwise() -> None:
    x, y = rows()
    layers = [keras.Input(x.shape[1:]), keras.layers.Dense(1)]
    for model, given, is_auto in (
        (keras.Sequential(layers), {}, True),
        (tfm.keras.Sequential(layers), {}, True),
        (tfm.keras.Sequential(layers), {"jit_compile": "auto"}, True),
        (tfm.keras.Sequential(layers), {"jit_compile": False}, False),
        (tfm.keras.Sequential(layers), {"jit_compile": True}, False),
    ):
        model.compile(loss="mse", **given)
        history = tfm.keras.fit(model, x, y, epochs=3, verbose=0)
        assert history.result.backend_reason.startswith("jit_compile is 'auto'") == is_auto


def test_model_that_is_loaded_remembers_jit_compile(tmp_path: Any) -> None:
    x, _ = rows()
    for jit in ("auto", False):
        model = tfm.keras.Sequential([keras.Input(x.shape[1:]), keras.layers.Dense(1)])
        model.compile(tfm.LBFGSB(), loss="mse", jit_compile=jit)
        model.save(tmp_path / "model.keras")
        assert private.jit_compile(keras.models.load_model(tmp_path / "model.keras")) == jit


def test_progress_bar_is_that_of_keras(capsys: pytest.CaptureFixture[str]) -> None:
    model = compiled(regression())
    tfm.keras.fit(model, *rows(), epochs=3, verbose=2, validation_split=0.2)
    shown = capsys.readouterr().out
    assert [line for line in shown.splitlines() if line.startswith("Epoch")] == ["Epoch 1/3", "Epoch 2/3", "Epoch 3/3"]
    assert shown.count("val_mae") == 3
    tfm.keras.fit(model, *rows(), epochs=3, verbose=0)
    assert capsys.readouterr().out == ""


def test_fit_that_has_converged_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    x, _ = rows()
    model = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(1)])
    model.compile(loss="mse")
    history = tfm.keras.fit(model, x, x[:, :1], verbose=2)
    assert history.result.success
    assert capsys.readouterr().out.splitlines()[-1] == f"Epoch {history.result.nit}: {history.result.message}"


def test_mirrored_weights_are_fitted() -> None:
    x, y = rows()
    plain = compiled(regression())
    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        model = compiled(regression())
    options = {"epochs": 4, "verbose": 0, "validation_split": 0.2, "jit_compile": False}
    history = tfm.keras.fit(model, x, y, **options).history
    assert history == tfm.keras.fit(plain, x, y, **options).history
    assert_same(model.get_weights(), plain.get_weights())


def test_embedding_and_recurrent_layers_are_fitted() -> None:
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.layers.Embedding(9, 3, mask_zero=True), keras.layers.GRU(3), keras.layers.Dense(1)])
    model.compile(loss="mse", metrics=["mae"])
    words = np.random.default_rng(0).integers(0, 9, size=(30, 5))
    target = words.sum(axis=1, keepdims=True) / 20.0
    history = tfm.keras.fit(model, words, target, epochs=20, verbose=0)
    assert history.history["loss"][-1] < 0.2 * history.history["loss"][0]
    assert_as_evaluated(model, history, words, target)
