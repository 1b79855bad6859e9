"""What users call: `minimize`, `Minimizer`, `compare` and the command line."""
