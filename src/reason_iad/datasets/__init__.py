"""Readers of public data sets: what is asked, about which image, with which references."""
