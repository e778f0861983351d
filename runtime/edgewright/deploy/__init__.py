"""Puts the runtime, a bundle and a service on a board, over SSH or on the board itself, and takes them away again."""
