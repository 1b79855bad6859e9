"""What users call: `minimize`, `Minimizer`, `compare` and the command line. Everything below is put together here."""
