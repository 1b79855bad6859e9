"""
Which solver is best for my problems?
=====================================

`compare` solves several problems with several methods and packages. Here they are the
least-squares problems of Moré, Garbow and Hillstrom that have no bounds. On the command
line, ``python -m tfminimize compare FILE.py:FUNCTION --html report.html`` does this for
your own problems; see :doc:`/compare`.
"""

import os

os.environ["TFMINIMIZE_QUIET"] = "1"  # hide TensorFlow's start-up lines
import tfminimize as tfm  # before TensorFlow

import numpy as np

problems = [p for p in tfm.testing.more_garbow_hillstrom() if p.bounds is None][:12]
benchmark = tfm.compare(
    problems, method=["L-BFGS-B", "BFGS"], solvers=["tfminimize", "scipy"], repeats=3
)

# %%
# Each run has its counts, its time, and marks if something is wrong with its result:

wrong = [run for run in benchmark.runs if run.marks]
for run in wrong[:5]:
    print(f"{run.problem}, {run.label}: f = {run.fun:.4g}, {', '.join(run.marks)}")

# %%
# A performance profile shows for each solver the share of problems that it solves at no
# more than τ times the cost of the best one.

costs = {
    label: [run.seconds if run.right else np.inf for run in runs]
    for label in dict.fromkeys(run.label for run in benchmark.runs)
    if (runs := [run for run in benchmark.runs if run.label == label])
}
ax = tfm.plot.performance_profile(costs, metric="seconds")
