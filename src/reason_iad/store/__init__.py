"""The record of inspections: what was inspected, on what evidence, with which result, and what people said of it.

Facts live in a database (SQLite by default, PostgreSQL by URL), images and maps beside it under their content hash.
"""
