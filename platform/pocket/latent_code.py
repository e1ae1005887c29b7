"""The sizes of the pocket world's latent code and of the video made of it; `codec.py` computes them, with torch."""

from pathlib import Path

CODEC = Path(__file__).with_name("codec.safetensors")
CHANNELS = 48
UPSCALE = 4
"""Video pixels per pixel of the world, in each direction."""
