"""What the pixels of a take depend on besides its own fields: hashes of weights and versions of code, by name.

The driver computes it for the takes of a plan, and each sampler for what it has loaded. They must be equal: a take's id
promises the pixels of its fingerprint.
"""

from longtake.platform import plugins
from longtake.platform.backbones.base import Backbone
from longtake.platform.machine.resources import PUBLISHED, STREAM
from longtake.platform.methods.base import MethodConfig
from longtake.platform.takes import PUBLISHED_DECODE

METHOD_VERSION = "method.version"


def of_settings(kind: type[Backbone], precision: str | None, decode: str = STREAM) -> dict[str, str]:
    """The part without weights: plug-ins, fp8, which changes pixels beyond rounding (bf16 does not), and the decode."""
    extra = plugins.fingerprint(kind) | ({"precision": precision} if precision == "fp8" else {})
    return extra | ({"decode": PUBLISHED_DECODE} if decode == PUBLISHED else {})


def of_backbone(kind: type[Backbone], precision: str | None, decode: str = STREAM) -> dict[str, str]:
    """Raises WeightsError if weights are missing or changed since they were recorded."""
    return kind.fingerprint() | of_settings(kind, precision, decode)


def of_method(method: MethodConfig) -> dict[str, str]:
    """The sha256 of every file that a parameter names, the version if above 1, and plug-ins. Raises WeightsError."""
    version = {METHOD_VERSION: str(method.version)} if method.version > 1 else {}
    return method.fingerprint() | version | plugins.fingerprint(type(method))
