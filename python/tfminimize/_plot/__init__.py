"""Plots with matplotlib, which is imported when a plot is made."""
