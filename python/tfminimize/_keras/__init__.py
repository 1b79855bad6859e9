"""Fits of Keras models; nothing else imports Keras."""
