"""From a float graph and ranges to an INT8 graph, and a view of such a graph that later steps can edit."""
