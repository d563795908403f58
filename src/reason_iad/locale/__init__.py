"""Catalogs of translations, one folder for each language; `catalogs` brings them up to date."""
