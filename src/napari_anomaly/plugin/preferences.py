"""What the reader has set in napari's preferences, and what napari remembers so that a scan opens at once."""

from typing import Any, Literal, TypeAlias

import napari.settings
from napari.settings import get_settings
from pydantic import BaseModel, ConfigDict, Field, ValidationError

__all__ = ["Colours", "KeysPreset", "Preferences", "keep_preference", "prefer_our_reader", "preferences"]

_PLUGIN = "napari-anomaly"
_SECTION = "reading"
# napari's own reader claims these suffixes too, without a grid or a place in the patient; so napari would
# ask.
_NIFTI = ("*.nii", "*.nii.gz", "*.hdr", "*.img")

KeysPreset: TypeAlias = Literal["letters", "left hand"]
Colours: TypeAlias = Literal["inferno", "cividis", "viridis"]


class Preferences(BaseModel):
    """What the reader prefers; the manifest shows the same fields in napari's preferences."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    detector: str = Field(
        default="",
        title="Detector",
        description="Name of a detector that came along, or a detector's file; empty for the first one.",
    )
    device: Literal["auto", "cpu", "cuda", "mps"] = Field(
        default="auto", title="Device", description="What to compute on; auto takes the fastest that works."
    )
    threshold: float = Field(
        default=0.0,
        ge=0,
        le=1,
        title="Threshold",
        description="Calibrated score of a finding at its least, such as 0.995; 0 for that of the detector.",
    )
    reviews: str = Field(
        default="",
        title="Folder of reviews",
        description="Where your verdicts, notes and corrections are kept; empty for beside each scan.",
    )
    exports: str = Field(
        default="",
        title="Folder of exports",
        description="Where masks, tables and reports are offered to be saved; empty for beside each scan.",
    )
    worklists: str = Field(
        default="",
        title="Folder of worklists",
        description="Where to look for worklists first; empty for the last place.",
    )
    keys: KeysPreset = Field(
        default="letters",
        title="Keys of review mode",
        description="letters: R real, U unsure, N next, P previous. left hand: all of them beside each other, while "
        "the right hand is on the mouse. The sheet (?) shows them.",
    )
    colours: Colours = Field(
        default="inferno",
        title="Colours of the anomaly map",
        description="All of them have even steps for every kind of colour vision; cividis looks the same to most "
        "colour-blind and other readers.",
    )


def preferences() -> Preferences:
    """Give what the reader prefers now; the defaults where napari keeps no preferences of plugins (before 0.9)."""
    kept = _kept()
    if kept is None:
        return Preferences()
    values = {name: getattr(kept, name) for name in Preferences.model_fields if hasattr(kept, name)}
    try:
        return Preferences(**values)
    except ValidationError as error:
        # One value that was edited by hand must not cost the others.
        wrong = {one["loc"][0] for one in error.errors()}
        return Preferences(**{name: value for name, value in values.items() if name not in wrong})


def keep_preference(name: str, value: str | float) -> bool:
    """Have napari remember a preference; return whether it can."""
    kept = _kept()
    if kept is None or not hasattr(kept, name):
        return False
    setattr(kept, name, value)
    return True


def _kept() -> Any:
    """Give napari's preferences of this plugin; None where there are none."""
    give = getattr(napari.settings, "get_plugin_settings", None)
    if give is None:
        return None
    try:
        return getattr(give(_PLUGIN), _SECTION, None)
    except (KeyError, OSError, ValueError):
        return None


def prefer_our_reader() -> None:
    """Have NIfTI files opened by this package from now on, unless the user has chosen another reader."""
    plugins = get_settings().plugins
    chosen = dict(plugins.extension2reader)
    missing = {pattern: _PLUGIN for pattern in _NIFTI if pattern not in chosen}
    if missing:
        plugins.extension2reader = {**chosen, **missing}
