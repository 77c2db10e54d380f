"""The function `_` that translates what users read, in the application; plain English without the application."""

try:
    from slicer.i18n import tr as _
except ImportError:  # slicer-core has the MRML libraries but not the application's translations

    def _(text: str) -> str:
        """Return `text` as it is."""
        return text


__all__ = ["_"]
