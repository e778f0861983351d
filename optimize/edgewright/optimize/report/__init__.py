"""The report of one optimization: HTML that opens without a network, JSON for machines, Markdown for reviews."""
