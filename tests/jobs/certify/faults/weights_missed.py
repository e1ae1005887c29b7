"""Its fingerprint has a version, but no hash of the weights that it reads."""

from small import Small, small_spec

from longtake.platform.backbones.base import backbones


@backbones.register("weights-missed")
class Fault(Small):
    spec = small_spec("weights-missed")

    @classmethod
    def fingerprint(cls):
        return {"version": "1"}
