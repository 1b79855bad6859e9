"""GPflow's Monitor in a callback."""

from __future__ import annotations

from types import ModuleType

import numpy as np

import tfminimize as tfm


def test_monitor_sees_the_iterates(gpflow: ModuleType) -> None:
    from gpflow.monitor import ExecuteCallback, Monitor, MonitorTaskGroup

    x = np.linspace(0, 1, 20)[:, None]
    model = gpflow.models.GPR((x, np.sin(6 * x)), gpflow.kernels.SquaredExponential())
    seen: list[float] = []
    monitor = Monitor(MonitorTaskGroup(ExecuteCallback(lambda **_: seen.append(float(model.training_loss())))))
    result = tfm.minimize(
        model.training_loss,
        model.trainable_variables,
        callback=lambda xk: monitor(len(seen)),
        options={"maxiter": 5},
        history=True,
        assign_each_iteration=True,
    )
    np.testing.assert_allclose(seen, result.history["fun"][1:], rtol=1e-9)
