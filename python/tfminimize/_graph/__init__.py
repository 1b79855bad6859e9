"""Minimisation inside of a graph."""
