"""Which version scores which row, and how versions are exchanged while others score."""
