"""pocket-street: what the suite `pocket` cannot say, because it needs a place that comes back as it was."""

from __future__ import annotations

from longtake.evaluators.base import Suite, suites


@suites.register("pocket-street")
class PocketStreet(Suite):
    name = "pocket-street"
    about = "of the pocket world, also where the camera never comes back to a place"
    headline = "pocket_realism"
    protocol = "direct"
    metrics = ("pocket_realism", "pocket_repeats", "change_newest", "change_former", "change_neither")
