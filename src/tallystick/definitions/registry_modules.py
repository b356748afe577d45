"""The modules a registry written for OSO imports, present only while it is run (spec oso §3, anchors §6.4).

Nothing stays behind: what was imported under these names before is put back, so no real package is ever shadowed.
"""

from __future__ import annotations

import importlib.util
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

from tallystick.definitions import registry

SHIM = "metrics_tools"
_OPTIONAL = ("dotenv", "sqlmesh")
_MODULES = frozenset({f"{SHIM}.definition", f"{SHIM}.factory", f"{SHIM}.models", f"{SHIM}.models.constants"})
_LOCK = threading.RLock()
_CONSTANTS: Mapping[str, object] = {
    "superchain_audit_start": "2021-12-01",
    "superchain_audit_end": "2025-05-31",
}


class Anything:
    """Stands for whatever an optional module would have held: it can be called, indexed, subclassed and decorated with."""

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def __getattr__(self, name: str) -> Anything:
        if name.startswith("__"):
            raise AttributeError(name)
        return Anything()

    def __call__(self, *arguments: object, **named: object) -> object:
        """Return another stand-in, or the function it decorates."""
        if len(arguments) == 1 and callable(arguments[0]) and not named:
            return arguments[0]
        return Anything()

    def __getitem__(self, _: object) -> Anything:
        return Anything()


class _Shim(ModuleType):
    """A module with the registry's words; any other name is remembered and answered with a stand-in."""

    def __init__(self, name: str, words: Mapping[str, object], missed: Callable[[str], None]) -> None:
        super().__init__(name)
        self.__path__: list[str] = []
        self.__dict__.update(words)
        self.__dict__["_missed"] = missed

    def __getattr__(self, name: str) -> object:
        path = f"{self.__name__}.{name}"
        if name.startswith("__") or path in _MODULES:
            raise AttributeError(name)
        self.__dict__["_missed"](path)
        return Anything()


class _Finder(MetaPathFinder, Loader):
    """Finds the shim and optional modules that are not installed, in front of or behind everything else."""

    def __init__(self, roots: Sequence[str], missed: Callable[[str], None]) -> None:
        self.roots = frozenset(roots)
        self.missed = missed

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,  # noqa: ARG002 - the signature of a finder
        target: ModuleType | None = None,  # noqa: ARG002 - the same
    ) -> ModuleSpec | None:
        """Return a spec for every module below the roots."""
        if fullname.partition(".")[0] not in self.roots:
            return None
        return ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Return the module with its words already in it."""
        return _Shim(spec.name, _words(spec.name), self.missed)

    def exec_module(self, module: ModuleType) -> None:
        """Do nothing: the module is complete."""


def _words(name: str) -> Mapping[str, object]:
    if name.startswith(f"{SHIM}.models.constants"):
        return _CONSTANTS
    if name.partition(".")[0] == SHIM:
        return {word: getattr(registry, word) for word in registry.WORDS}
    if name == "dotenv":
        return {"load_dotenv": _nothing, "find_dotenv": lambda *_, **__: "", "dotenv_values": lambda *_, **__: {}}
    return {}


def _nothing(*_: object, **__: object) -> bool:
    return False


@contextmanager
def registry_modules(folder: Path, missed: Callable[[str], None]) -> Iterator[None]:
    """Make the imports of a registry work while the block runs: OSO's names, optional modules, files beside it.

    `missed` is called with every name that is not known to `metrics_tools` here.
    """
    with _LOCK:
        before = dict(sys.modules)
        absent = [name for name in _OPTIONAL if name not in sys.modules and importlib.util.find_spec(name) is None]
        for name in [name for name in sys.modules if _is_shim(name)]:
            del sys.modules[name]
        front, back = _Finder([SHIM], missed), _Finder(absent, _ignore)
        sys.meta_path.insert(0, front)
        sys.meta_path.append(back)
        sys.path.insert(0, str(folder))
        try:
            yield
        finally:
            sys.meta_path[:] = [finder for finder in sys.meta_path if finder is not front and finder is not back]
            if str(folder) in sys.path:
                sys.path.remove(str(folder))
            _put_back(before, folder)


def _put_back(before: Mapping[str, ModuleType], folder: Path) -> None:
    """Forget the shim, stand-ins and the registry's own modules; restore what they took the place of."""
    for name, module in list(sys.modules.items()):
        if name in before:
            continue
        file = getattr(module, "__file__", None)
        is_local = isinstance(file, str) and Path(file).resolve().is_relative_to(folder.resolve())
        if isinstance(module, _Shim) or is_local:
            del sys.modules[name]
    for name, module in before.items():
        if _is_shim(name):
            sys.modules[name] = module


def _is_shim(name: str) -> bool:
    return name == SHIM or name.startswith(f"{SHIM}.")


def _ignore(_: str) -> None:
    return None
