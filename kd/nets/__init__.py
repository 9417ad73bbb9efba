"""The nets, by name, with what they cost."""
