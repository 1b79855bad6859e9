"""What is to be solved, checked and packed."""
