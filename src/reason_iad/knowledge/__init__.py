"""Knowledge about products and their defects: files people can edit, hybrid retrieval.

entries, schema        a category's YAML file and its checks; bulk: entries as JSON Lines
base                   the user's files laid over the starter knowledge
changes, editing       all of a change or nothing of it; adding, correcting, approving
importers, import_*    documents and tables to entries; export: entries as a table
encoders               sentences to vectors
store                  BM25 and dense ranking over entries, fused by reciprocal rank
database               the embedded store in step with the files, with versions
retrieve               what goes into the prompt: modes, budget, diversity, citations
commands               phrases that try to command the model
"""

TOP_K = 4  # entries that a prompt holds, unless told otherwise
