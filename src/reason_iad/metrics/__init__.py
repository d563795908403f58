"""Measures of answers and scores as pure functions, each with its uncertainty."""
