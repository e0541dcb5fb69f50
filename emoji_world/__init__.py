"""Emoji world: a small text-to-video model in CogVideoX's architecture, its data, training and evaluation."""
