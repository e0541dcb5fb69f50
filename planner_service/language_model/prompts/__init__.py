"""The texts that the language model is given."""
