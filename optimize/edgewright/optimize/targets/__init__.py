"""What a quantized graph will do on another processor than this one, and which integers suit that processor."""
