"""Turn the .proto files into typed Python stubs: hatchling's build hook and `make protos` both come here."""

from __future__ import annotations

import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOT = Path(__file__).resolve().parent


def generate(root: Path = ROOT) -> list[Path]:
    """Write `*_pb2.py`, `*_pb2.pyi`, `*_pb2_grpc.py` and `*_pb2_grpc.pyi` beside each .proto file below `root`."""
    from grpc_tools import protoc  # only the build environment has it

    sources = sorted((root / "muster").rglob("*.proto"))
    arguments = [
        "protoc",
        f"-I{root}",
        f"-I{files('grpc_tools') / '_proto'}",
        f"--python_out={root}",
        f"--grpc_python_out={root}",
        f"--mypy_out=quiet:{root}",
        f"--mypy_grpc_out=quiet:{root}",
        f"--plugin=protoc-gen-mypy={_plugin('protoc-gen-mypy')}",
        f"--plugin=protoc-gen-mypy_grpc={_plugin('protoc-gen-mypy_grpc')}",
        *map(str, sources),
    ]
    if protoc.main(arguments) != 0:
        raise SystemExit("protoc refused the .proto files; its messages are above")
    return sources


def _plugin(name: str) -> str:
    """Find a protoc plugin next to the interpreter, or in the isolated build environment's overlay."""
    import shutil

    found = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    if found is None:
        raise SystemExit(f"{name} is missing: install mypy-protobuf")
    return found


class StubsHook(BuildHookInterface[Any]):
    """Generate the stubs before hatchling collects files, for wheels and editable installs alike."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 - hatchling's signature
        """Hatchling's call before it collects files."""
        generate(Path(self.root))


if __name__ == "__main__":
    sys.stdout.write(f"generated stubs for {len(generate())} .proto files\n")
