"""One solve of a compiled function, natively or in SciPy, and a batch of them; the memory that they work on."""
