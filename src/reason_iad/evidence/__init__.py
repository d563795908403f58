"""Calibrated comparison of an image with normal references.

`features` turns images into streams of patch features, `memory_bank` keeps those of the references (`rotations` adds
turned views, `residuals` measures them beside each other, `reference_checks` names odd ones), `compare` measures
how far a new image lies from them by way of `search`, `calibrate` puts distances on a fixed scale, `regions` names
where, and `conformal` says what false-alarm rate a number of normals can promise.

Axes: R references, H x W patches of a stream, C width of a feature. Maps are (h, w), row-major, over the whole image.
"""
