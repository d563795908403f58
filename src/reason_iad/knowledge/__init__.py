"""Knowledge about products and their defects: files people can edit, hybrid retrieval, category recognition.

entries     the YAML schema and its checks
encoders    sentences to vectors
store       BM25 and dense ranking over entries, fused by reciprocal rank
retrieve    what goes into the prompt: modes, budget, diversity, citations
recognize   the category of an image, or "unknown"
commands    phrases that try to command the model, reported by `knowledge check`
"""
