"""Number formats by name are torch's."""

import pytest

from longtake.platform.machine.dtypes import BYTES, torch_dtype


@pytest.mark.parametrize("name", BYTES)
def test_a_format_has_the_bytes_of_torchs_type(name: str) -> None:
    assert torch_dtype(name).itemsize == BYTES[name]
