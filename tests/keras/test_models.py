"""tfm.keras.Model and tfm.keras.Sequential."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import keras_tuner
import numpy as np
import pytest
from interpreter import run_program
from keras_models import assert_same, classifier, labels, regression, rows, two_by_two, two_by_two_rows, weights_of

import tfminimize as tfm

pytestmark = pytest.mark.slow


@keras.saving.register_keras_serializable("tests")
class Subclassed(tfm.keras.Model):
    """A model with a call of its own."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        keras.utils.set_random_seed(3)
        self.hidden = keras.layers.Dense(4, activation="tanh")
        self.out = keras.layers.Dense(1)

    def call(self, x: Any) -> Any:
        return self.out(self.hidden(x))


def functional() -> Any:
    keras.utils.set_random_seed(3)
    inputs = keras.Input((3,))
    outputs = keras.layers.Dense(1)(keras.layers.Dense(4, activation="tanh")(inputs))
    return tfm.keras.Model(inputs, outputs)


KINDS = pytest.mark.parametrize(
    "make", [lambda: regression(tfm.keras.Sequential), functional, Subclassed], ids=["sequential", "model", "subclass"]
)


@KINDS
def test_fit_is_that_of_tfminimize(make: Any) -> None:
    model, other = make(), make()
    model.compile(optimizer=tfm.LBFGSB(maxcor=5), loss="mse", metrics=["mae"], jit_compile=False)
    other.compile(loss="mse", metrics=["mae"])
    x, y = rows()
    options = {"epochs": 6, "verbose": 0, "validation_split": 0.2}
    history = model.fit(x, y, shuffle=True, **options)
    same = tfm.keras.fit(other, x, y, optimizer=tfm.LBFGSB(maxcor=5), jit_compile=False, **options)
    assert history.history == same.history
    assert_same(model.get_weights(), other.get_weights())
    assert model.fit(x, y, verbose=0).epoch == [0]
    assert history.result.hess_inv.n_corrs <= 5


@pytest.mark.parametrize(
    ("make", "optimizer"),
    [
        (functional, tfm.LBFGSB(maxcor=7, maxtime=60.0, bounds=[None, (-1, 1.5), (0.0, None), None])),
        (Subclassed, tfm.SLSQP(ftol=1e-9)),
        (lambda: regression(tfm.keras.Sequential), tfm.BFGS(update="ssbroyden", norm=2, initial_scale=True)),
    ],
    ids=["model-lbfgsb", "subclass-slsqp", "sequential-bfgs"],
)
def test_model_is_saved_and_loaded(make: Any, optimizer: Any, tmp_path: Path) -> None:
    model = make()
    model.compile(optimizer=optimizer, loss="mse", metrics=["mae"], jit_compile=False)
    x, y = rows()
    model.fit(x, y, epochs=4, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert type(loaded) is type(model)
    assert type(loaded.optimizer) is type(optimizer)
    assert loaded.optimizer.options == optimizer.options
    assert_same(loaded.get_weights(), model.get_weights())
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), model.predict(x, verbose=0))
    assert loaded.evaluate(x, y, verbose=0) == model.evaluate(x, y, verbose=0)
    kept = loaded.fit(x, y, epochs=3, verbose=0).history
    assert kept == model.fit(x, y, epochs=3, verbose=0).history


@KINDS
def test_legacy_format_is_refused(make: Any, tmp_path: Path) -> None:
    model = make()
    for optimizer in (tfm.LBFGSB(), tfm.SLSQP(), tfm.BFGS()):
        model.compile(optimizer=optimizer, loss="mse")
        model.fit(*rows(), epochs=2, verbose=0)
        with pytest.raises(AttributeError, match=r"cannot be loaded from HDF5: save it as 'model.keras'"):
            model.save(tmp_path / "model.h5")


def test_optimizer_that_cannot_be_saved_says_so(tmp_path: Path) -> None:
    model = functional()
    kernel = model.layers[1].kernel.value
    for optimizer, sentence in (
        (tfm.SLSQP(constraints={"type": "eq", "fun": lambda: kernel[0, 0]}), "has constraints"),
        (tfm.LBFGSB(bounds={kernel.ref(): (0, 1)}), "give a list with"),
    ):
        model.compile(optimizer=optimizer, loss="mse")
        model.fit(*rows(), epochs=2, verbose=0)
        with pytest.raises(ValueError, match=sentence):
            model.save(tmp_path / "model.keras")
        model.save_weights(tmp_path / "model.weights.h5")


@KINDS
def test_with_an_optimizer_of_keras_it_is_a_model_of_keras(make: Any, tmp_path: Path) -> None:
    model = make()
    x, y = rows()
    model.compile("adam", loss="mse", metrics=["mae"])
    keras.utils.set_random_seed(0)
    history = model.fit(x, y, batch_size=16, epochs=3, verbose=0, validation_split=0.2)
    plain = keras.Sequential(
        [keras.layers.Input((3,)), keras.layers.Dense(4, activation="tanh"), keras.layers.Dense(1)]
    )
    plain.set_weights(make_weights(make))
    plain.compile("adam", loss="mse", metrics=["mae"])
    keras.utils.set_random_seed(0)
    same = plain.fit(x, y, batch_size=16, epochs=3, verbose=0, validation_split=0.2)
    for name, values in same.history.items():
        np.testing.assert_allclose(history.history[name], values, rtol=1e-5)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert isinstance(loaded.optimizer, keras.optimizers.Adam)
    assert int(loaded.optimizer.iterations) == 9
    assert not hasattr(history, "result")
    with pytest.raises(TypeError, match="state"):
        model.fit(x, y, state=None)


def make_weights(make: Any) -> list[Any]:
    model = make()
    model(rows()[0])
    return weights_of(model)


def test_model_with_names_of_inputs_and_outputs(tmp_path: Path) -> None:
    model = two_by_two(tfm.keras.Model)
    assert isinstance(model, tfm.keras.Model)
    loss = {"value": "mse", "kind": keras.losses.SparseCategoricalCrossentropy(from_logits=True)}
    model.compile(optimizer=tfm.LBFGSB(), loss=loss)
    data = two_by_two_rows()
    history = model.fit(*data, epochs=5, verbose=0)
    assert {"value_loss", "kind_loss"} < set(history.history)
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    np.testing.assert_array_equal(copy.predict(data[0], verbose=0)["value"], model.predict(data[0], verbose=0)["value"])
    model.save(tmp_path / "model.keras")
    assert_same(keras.saving.load_model(tmp_path / "model.keras").get_weights(), model.get_weights())


def test_subclasses_may_be_made_from_inputs_and_outputs() -> None:
    class Named(tfm.keras.Model):
        def double(self, x: Any) -> Any:
            return 2.0 * self.predict(x, verbose=0)

    inputs = keras.Input((3,))
    made = Named(inputs, keras.layers.Dense(1)(inputs))
    x, y = rows()
    for model in (made, Subclassed(), functional(), Named(inputs=inputs, outputs=keras.layers.Dense(1)(inputs))):
        model.compile(optimizer=tfm.LBFGSB(), loss="mse")
        assert model.fit(x, y, epochs=3, verbose=0).result.nit == 3
        assert isinstance(model, tfm.keras.Model)
    np.testing.assert_array_equal(made.double(x), 2.0 * made.predict(x, verbose=0))


def test_steps_on_single_batches_are_refused() -> None:
    model = regression(tfm.keras.Sequential)
    model.compile(optimizer=tfm.LBFGSB(), loss="mse")
    x, y = rows()
    with pytest.raises(ValueError, match="LBFGSB takes its steps on all data, not on single batches"):
        model.train_on_batch(x, y)
    with pytest.raises(ValueError, match="steps_per_epoch is 3"):
        model.fit(x, y, steps_per_epoch=3)
    with pytest.raises(ValueError, match="call `compile\\(\\)`"):
        regression(tfm.keras.Sequential).fit(x, y)
    model.compile("sgd", loss="mse")
    model.train_on_batch(x, y)


def test_fits_go_on() -> None:
    x, y = rows()
    models = [regression(tfm.keras.Sequential) for _ in range(3)]
    for model in models:
        model.compile(optimizer=tfm.LBFGSB(), loss="mse", jit_compile=False)
    whole, begun, ended = models
    whole.fit(x, y, epochs=9, verbose=0)
    state = begun.fit(x, y, epochs=4, verbose=0).result.state
    assert ended.fit(x, y, epochs=9, verbose=0, state=state).epoch == [4, 5, 6, 7, 8]
    assert_same(ended.get_weights(), whole.get_weights())


def test_summary_and_scores() -> None:
    model = classifier(tfm.keras.Sequential)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=tfm.LBFGSB(), loss=loss, metrics=["accuracy"])
    x, y = labels()
    model.fit(x, y, epochs=30, verbose=0)
    lines: list[str] = []
    model.summary(print_fn=lines.append)
    assert "Trainable params: 31" in "\n".join(lines)
    assert model.evaluate(x, y, verbose=0, return_dict=True)["accuracy"] > 0.9


@pytest.mark.filterwarnings("ignore::DeprecationWarning:keras_tuner")
@pytest.mark.parametrize(
    ("option", "values", "make"),
    [
        ("maxcor", [5, 10], lambda maxcor: tfm.LBFGSB(maxcor=maxcor)),
        pytest.param("update", ["bfgs", "ssbroyden"], lambda update: tfm.BFGS(update=update), marks=pytest.mark.weekly),
    ],
)
def test_tuner_of_keras_searches_over_such_a_model(option: str, values: list[Any], make: Any, tmp_path: Path) -> None:
    def build(hp: Any) -> Any:
        model = regression(tfm.keras.Sequential, units=hp.Choice("units", [1, 6]))
        model.compile(optimizer=make(hp.Choice(option, values)), loss="mse")
        return model

    tuner = keras_tuner.GridSearch(build, objective="val_loss", directory=tmp_path, project_name="search")
    tuner.search(*rows(), epochs=15, validation_split=0.25, verbose=0)
    best = tuner.get_best_hyperparameters()[0]
    scores = {
        (trial.hyperparameters.get("units"), trial.hyperparameters.get(option)): trial.score
        for trial in tuner.oracle.trials.values()
    }
    assert len(scores) == 4
    assert scores[best.get("units"), best.get(option)] == min(scores.values())
    assert tuner.get_best_models()[0].optimizer.options[option] == best.get(option)


@pytest.mark.subprocess
def test_saved_model_is_loaded_where_only_tfminimize_is_imported(tmp_path: Path) -> None:
    model = functional()
    model.compile(optimizer=tfm.LBFGSB(maxcor=7), loss="mse")
    model.save(tmp_path / "model.keras")
    run_program(
        f"""
        import sys
        sys.modules["sklearn"] = None  # Keras loads it
        import tfminimize, keras
        assert "scipy.optimize" not in sys.modules
        model = keras.saving.load_model({str(tmp_path / "model.keras")!r})
        assert isinstance(model, tfminimize.keras.Model)
        assert model.optimizer.options["maxcor"] == 7
        """
    )


@pytest.mark.subprocess
def test_keras_is_imported_when_it_is_used() -> None:
    run_program(
        """
        import os, sys
        os.environ["TF_USE_LEGACY_KERAS"] = "1"  # TensorFlow would import it
        import tfminimize as tfm
        assert "keras" in dir(tfm)
        assert "keras" not in sys.modules
        tfm.keras.fit, tfm.keras.Model, tfm.keras.Sequential
        assert "keras" in sys.modules
        """
    )
