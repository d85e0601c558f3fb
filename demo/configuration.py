"""Entries of a configuration: those of its common files, and those in the files of its datasets."""

import tomllib
from dataclasses import dataclass
from pathlib import Path

from . import place


@dataclass(frozen=True)
class Configuration:
    """Folder laid out like `config/`."""

    folder: Path = place.ROOT / "config"

    def entries(self, kind):
        """Returns the `metrics`, `windows` or `rules`, each with its dataset."""
        common = self._read("alerts.toml" if kind == "rules" else "pipeline.toml").get(kind, [])
        own = [
            {"dataset": path.stem, **entry}
            for path in sorted(self.folder.glob("datasets/*.toml"))
            for entry in self._read(path).get(kind, [])]
        return [*common, *own]

    def _read(self, name):
        path = self.folder / name
        return tomllib.loads(path.read_text()) if path.exists() else {}


SHIPPED = Configuration()
