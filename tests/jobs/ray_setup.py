"""What Ray's workers call as they start: importing these registers the tests' backbones there too."""


def register() -> None:
    import mini_wan  # noqa: F401
    import tiny  # noqa: F401
