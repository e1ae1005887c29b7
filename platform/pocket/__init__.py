"""The skyline world of the pocket backbones: its panoramas, prompts and latent codec.

Owns the ground truth of pocket videos. Never samples, never trains a video model, never scores.
"""
