"""Vision towers and multimodal language models behind small interfaces."""
