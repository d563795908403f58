"""One image in, one typed report out: prompts, verdict, inspector."""
