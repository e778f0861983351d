"""One page that sets boards side by side, out of their result files."""
