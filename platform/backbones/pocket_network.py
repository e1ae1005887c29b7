"""Sizes, schedule and window of the pocket backbones: one Wan-shaped network over a row of eight column tokens.

Only its spec is specific to its world: one token per visible column, half of each head's rotary pairs for time and
half for the column, and the column of a frame's left edge (known from the prompt's camera script) added to the x
positions of its tokens. The network is pose-conditioned, which the Wan family is not.
"""

from longtake.platform.methods.base import Window
from longtake.platform.models.schedule import FlowSchedule
from longtake.platform.models.spec import DiTSpec
from longtake.platform.pocket.latent_code import CHANNELS
from longtake.platform.pocket.world import MATERIALS, SKIES, VIEW_COLUMNS

NETWORK = DiTSpec(
    dim=128,
    ffn_dim=384,
    heads=4,
    layers=5,
    channels=CHANNELS,
    latent_height=1,
    latent_width=VIEW_COLUMNS,
    text_len=2,
    text_dim=len(SKIES) + len(MATERIALS),
    freq_dim=64,
    patch=(1, 1),
    rope_split=(8, 0, 8),
)
SCHEDULE = FlowSchedule(steps=(1000, 875, 750, 625, 500, 375, 250, 125), shift=3.0, ancestral=False)
WINDOW = Window(size=12, sink=1, block=3)
