"""Other people's quantization engines, put to work on our configurations and held to our contract."""
