"""What napari has to remember so that a scan opens without a question."""

from napari.settings import get_settings

__all__ = ["prefer_our_reader"]

_PLUGIN = "napari-anomaly"
# napari's own reader claims these suffixes too, without a grid or a place in the patient; so napari would
# ask.
_NIFTI = ("*.nii", "*.nii.gz", "*.hdr", "*.img")


def prefer_our_reader() -> None:
    """Have NIfTI files opened by this package from now on, unless the user has chosen another reader."""
    plugins = get_settings().plugins
    chosen = dict(plugins.extension2reader)
    missing = {pattern: _PLUGIN for pattern in _NIFTI if pattern not in chosen}
    if missing:
        plugins.extension2reader = {**chosen, **missing}
