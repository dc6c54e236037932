"""Where models are kept: immutable versions, aliases that move, and the history of their moves."""
