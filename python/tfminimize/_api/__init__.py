"""The functions that users call: `minimize`, `Minimizer`, `compare` and the command line."""
