"""Other forms of a model than static INT8: half floats, integers made on the fly, integer weights, raw pixels in."""
