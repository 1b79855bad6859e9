"""One solve, and a batch of them."""
