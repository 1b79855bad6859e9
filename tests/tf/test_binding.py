"""What is said about a TensorFlow that lacks something."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest
import tensorflow as tf

import tfminimize as tfm
from tfminimize._tf import binding


@pytest.fixture
def fresh_xla() -> Iterator[Callable[[], Any]]:
    binding.xla.cache_clear()
    yield binding.xla
    binding.xla.cache_clear()


@pytest.fixture
def unbound() -> Iterator[Callable[[], None]]:
    binding.require.cache_clear()
    yield binding.require
    binding.require.cache_clear()


def test_missing_function_of_tensorflow_is_named_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch, unbound: Callable[[], None]
) -> None:
    def bind(*_: Any) -> NoReturn:
        raise ImportError("libtensorflow_cc.so.2 does not define TFE_Execute.")

    monkeypatch.setattr(binding, "_native", SimpleNamespace(bind_tensorflow=bind))
    minor = ".".join(tfm.build_info()["tensorflow"].split(".")[:2])
    expected = (
        f"tfminimize cannot call TensorFlow {tf.__version__}: libtensorflow_cc.so.2 does not define TFE_Execute. "
        f"Install TensorFlow {minor} (`pip install 'tensorflow=={minor}.*'`), or a newer tfminimize."
    )
    with pytest.raises(ImportError) as raised:
        unbound()
    assert str(raised.value) == expected


def test_build_for_a_tensorflow_without_callable_machine_code_says_so(
    monkeypatch: pytest.MonkeyPatch, fresh_xla: Callable[[], Any]
) -> None:
    built = {**tfm.build_info(), "nanort": "OFF"}
    monkeypatch.setattr(binding, "build_info", lambda: built)
    result = tfm.Minimizer(lambda x: (x - 3.0) ** 2, 0.0, jit_compile=True).minimize()
    assert result.success
    assert result.backend == "tfe"
    assert result.backend_reason.startswith(
        f"tfminimize was built for TensorFlow {built['tensorflow']}, whose machine "
    )
