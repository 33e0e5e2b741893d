"""Times and memory of whole processes, side by side with other ways to do the same."""
