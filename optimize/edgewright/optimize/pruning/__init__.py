"""Smaller networks by taking channels out, and files with zeros by setting weights to zero.

SourceModel -> trace (which channels can go) -> score (which matter least) -> counts (how many stay where)
            -> take_out, proved against the network that ignores those channels -> SourceModel
"""
