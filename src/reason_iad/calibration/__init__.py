"""Fitting what joins a model and the evidence in a verdict to labeled images of the user; `reason-iad calibrate`."""
