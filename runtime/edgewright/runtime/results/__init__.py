"""What was measured on a board, as a file that another machine can trust as far as it is signed."""
