"""Solves the same problems by several solvers, and reports: `compare`, and the command line."""
