"""How good a candidate is: AP and accuracy with labels, agreement with the float model without."""
