"""Whether a version may go on serving, decided from what workers saw of it. Pure."""
