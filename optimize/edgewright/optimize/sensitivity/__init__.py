"""Where INT8 hurts, what leaving parts in float costs and buys, and the smallest part that keeps the contract."""
