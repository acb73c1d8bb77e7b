"""How annotations are checked while tests run."""

from typing import Any, BinaryIO

from beartype import BeartypeConf, FrozenDict, beartype

check = beartype(
    conf=BeartypeConf(
        # As in mypy, an int serves where a float is asked for.
        is_pep484_tower=True,
        # Libraries' file objects work like one without being of that class.
        hint_overrides=FrozenDict({BinaryIO: Any}),
    )
)
