"""Models: how those that ship are made and where they lie. Needs the extra `train` to make any."""
