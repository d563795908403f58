"""Which category an image shows, or "unknown".

prototypes          one vector per category, and when to say "unknown"
learned             the same with the categories that users have learned
build_prototypes    the program that made data/prototypes.safetensors
"""
