"""The skyline world that the pocket backbones film: its panoramas, its prompts and its latent code.

Owns the truth behind pocket videos. Never samples, never trains a video model, never scores.
"""
