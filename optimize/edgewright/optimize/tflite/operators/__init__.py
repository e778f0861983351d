"""One module for every family of operators; ``table`` knows them all."""
