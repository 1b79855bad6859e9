"""What is said about a TensorFlow that lacks something."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, NoReturn

import pytest
import tensorflow as tf

import tfminimize as tfm
from tfminimize._tf import binding


@pytest.mark.usefixtures("fresh_binding")
def test_missing_function_of_tensorflow_is_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    def bind(*_: Any) -> NoReturn:
        raise ImportError("libtensorflow_cc.so.2 does not define TFE_Execute.")

    monkeypatch.setattr(binding, "_native", SimpleNamespace(bind_tensorflow=bind))
    minor = ".".join(tfm.build_info()["tensorflow"].split(".")[:2])
    expected = (
        f"tfminimize cannot call TensorFlow {tf.__version__}: libtensorflow_cc.so.2 does not define TFE_Execute. "
        f"Install TensorFlow {minor} (`pip install 'tensorflow=={minor}.*'`), or a newer tfminimize."
    )
    with pytest.raises(ImportError) as raised:
        binding.require()
    assert str(raised.value) == expected


@pytest.mark.usefixtures("fresh_binding")
def test_build_for_a_tensorflow_without_callable_machine_code_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    built = {**tfm.build_info(), "nanort": "OFF"}
    monkeypatch.setattr(binding, "build_info", lambda: built)
    result = tfm.Minimizer(lambda x: (x - 3.0) ** 2, 0.0, jit_compile=True).minimize()
    assert result.success
    assert result.backend == "tfe"
    assert result.backend_reason.startswith(
        f"tfminimize was built for TensorFlow {built['tensorflow']}, whose machine "
    )
