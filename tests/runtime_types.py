"""How annotations are checked while tests run: an int serves where a float is asked for, as in mypy."""

from beartype import BeartypeConf, beartype

check = beartype(conf=BeartypeConf(is_pep484_tower=True))
