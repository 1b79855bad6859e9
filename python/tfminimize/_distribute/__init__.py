"""Solves of many processes: what connects them, and what they agree on."""
