"""The quantization engine: which passes a chain holds, and how it keeps what helps and drops what does not."""
