"""Explain defects in images of industrial products: knowledge, latent reasoning, visual injection, evidence."""

__version__ = "0.1.0"
