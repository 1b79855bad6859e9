"""Options that are more than numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_array
from scipy.sparse.linalg import aslinearoperator

from tfminimize._problem.options import bfgs_options

MATRIX = np.array([[2.0, 0.5, 0.0], [0.5, 1.0, -0.25], [0.0, -0.25, 3.0]])


@pytest.mark.parametrize(
    "given",
    [
        MATRIX,
        MATRIX.tolist(),
        np.asfortranarray(MATRIX),
        aslinearoperator(MATRIX),
        csr_array(MATRIX),
        MATRIX[np.tril_indices(3)],
    ],
    ids=["array", "list", "fortran", "operator", "sparse", "lower triangle"],
)
@pytest.mark.parametrize("scale", [1.0, 1e-30, 1e30])
def test_inverse_hessian_in_every_form(given: Any, scale: float) -> None:
    given = scale * (np.array(given) if isinstance(given, list) else given)
    matrix = bfgs_options({"hess_inv0": given})["hess_inv0"]
    np.testing.assert_allclose(matrix, scale * MATRIX)
    assert matrix.flags.c_contiguous


@pytest.mark.parametrize("scale", [1.0, 1e-30, 1e30])
def test_matrix_of_any_scale_must_be_symmetric_and_definite(scale: float) -> None:
    for wrong, sentence in [(np.triu(MATRIX), "not symmetric"), (MATRIX - 2 * np.eye(3), "isn't positive definite")]:
        with pytest.raises(ValueError, match=sentence):
            bfgs_options({"hess_inv0": scale * wrong})


@pytest.mark.parametrize("shape", [(0,), (0, 0), (2,), (2, 3), (3, 3, 3)])
def test_what_is_no_matrix_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="hess_inv0 has shape"):
        bfgs_options({"hess_inv0": np.ones(shape)})


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
def test_complex_matrix_is_refused(dtype: type) -> None:
    with pytest.raises(ValueError, match=f"not a matrix of real numbers: its dtype is {np.dtype(dtype)}"):
        bfgs_options({"hess_inv0": MATRIX.astype(dtype)})
