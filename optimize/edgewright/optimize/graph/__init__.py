"""Tools that take float and INT8 graphs apart."""
