"""Define a number once; every table, chart and report shows that same number."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tallystick.service.workspace import Workspace, load

__version__ = "0.1.0"
__all__ = ["Workspace", "__version__", "load"]


def __getattr__(name: str) -> Any:
    if name in ("Workspace", "load"):
        from tallystick.service import workspace

        return getattr(workspace, name)
    raise AttributeError(f"module 'tallystick' has no attribute '{name}'")
