"""`reason-iad bundle`: wheels and weights in one archive, which installs where there is no network.

The archive is for machines of the kind it was made on: the same system, processor family and Python version. Versions
are those that this environment runs, so that what is carried over is what was tried.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from reason_iad import __version__
from reason_iad.errors import InputError
from reason_iad.languages import note, say

EXTRAS = ("pdf", "postgresql", "faiss", "heic", "line")
NOTED = 2000  # letters of pip's own words that an error repeats
_INSTALL = """\
#!/bin/sh
# Install reason-iad {version} from this folder alone; no network is used.
#   ./install.sh [FOLDER]      the environment, by default /opt/reason-iad
set -eu
here="$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)"
target="${{1:-/opt/reason-iad}}"
python="${{PYTHON:-{python}}}"
stop() {{ echo "install.sh: $1" >&2; exit 2; }}
command -v "$python" >/dev/null || stop "found no $python; name it with PYTHON=..."
(cd "$here" && sha256sum --quiet -c SHA256SUMS) || stop "a file is damaged; copy the archive again"
"$python" -m venv "$target"
PIP_CONFIG_FILE=/dev/null "$target/bin/python" -m pip install --quiet --isolated --no-index \\
  --disable-pip-version-check --find-links "$here/wheels" "reason-iad{extras}=={version}"
home="${{REASON_IAD_HOME:-$target/home}}"
mkdir -p "$home"
cp -R "$here/home/." "$home/"
cat > "$target/reason-iad" <<END
#!/bin/sh
REASON_IAD_HOME="\\${{REASON_IAD_HOME:-$home}}" exec "$target/bin/reason-iad" "\\$@"
END
chmod 755 "$target/reason-iad"
REASON_IAD_HOME="$home" "$target/bin/reason-iad" weights verify >/dev/null
echo "installed: $target/reason-iad (weights in $home); try: $target/reason-iad demo --out report"
"""
_EPILOG = """\
examples:
  reason-iad bundle --out reason-iad.tar --extras pdf postgresql
  tar -xf reason-iad.tar && reason-iad-*/install.sh /opt/reason-iad      on the machine without a network
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register `bundle`."""
    parser = subparsers.add_parser(
        "bundle",
        help="pack wheels and weights into one archive that installs without a network",
        description="Pack the program, all it needs and its weights into one archive, for plants without a network.",
        epilog=_EPILOG,
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the archive, such as reason-iad.tar")
    parser.add_argument("--extras", nargs="+", default=[], choices=EXTRAS, help="optional parts to take along")
    parser.add_argument("--wheel", type=Path, metavar="FILE", help="the program's own wheel (default: made or fetched)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write the archive; 0 when all is well."""
    from reason_iad import weights
    from reason_iad.files import replacing

    name = f"reason-iad-{__version__}"
    with tempfile.TemporaryDirectory(prefix="reason-iad-bundle-", dir=_near(args.out)) as folder:
        wheels = Path(folder) / "wheels"
        wheels.mkdir()
        own = own_wheel(wheels, args.wheel, note)
        note("collecting the wheels of everything it needs")
        collect(own, args.extras, wheels)
        note("collecting the weights")
        parts = weights.fetch()
        files = [(path, f"wheels/{path.name}") for path in sorted(wheels.iterdir())]
        for part in parts:
            files += [
                (p, f"home/weights/{part.name}/{p.relative_to(part)}") for p in sorted(part.rglob("*")) if p.is_file()
            ]
        extras = f"[{','.join(args.extras)}]" if args.extras else ""
        python = f"python{sys.version_info.major}.{sys.version_info.minor}"
        script = _INSTALL.format(version=__version__, extras=extras, python=python)
        try:
            with replacing(args.out) as draft:
                write_archive(draft, name, files, script)
        except OSError as error:
            raise InputError(f"{args.out} cannot be written ({error.strerror}); choose another place") from error
    size = args.out.stat().st_size
    say(f"{args.out}: {size / 1e6:,.0f} MB, {len(files):,} files; unpack it and run {name}/install.sh")
    return 0


def own_wheel(folder: Path, given: Path | None, say: Callable[[str], None]) -> Path:
    """The program's own wheel in `folder`: a copy of one that is given, made from the checkout, or fetched.

    Raises:
        InputError: it is not there, or cannot be made.
    """
    import shutil

    if given is not None:
        if not given.is_file() or given.suffix != ".whl":
            raise InputError(f"{given} is no wheel; expected the file reason_iad-{__version__}-py3-none-any.whl")
        return Path(shutil.copy(given, folder))
    root = Path(__file__).resolve().parents[3]
    if (root / "pyproject.toml").is_file() and (root / "src" / "reason_iad").is_dir():
        say("making the program's own wheel")
        _pip("wheel", "--no-deps", "--wheel-dir", str(folder), str(root))
    else:
        say("fetching the program's own wheel")
        _pip("download", "--no-deps", "--dest", str(folder), f"reason-iad=={__version__}")
    return next(folder.glob("reason_iad-*.whl"))


def collect(own: Path, extras: Sequence[str], folder: Path) -> None:
    """Download every wheel that the program's own one needs, in the versions of this environment.

    Raises:
        InputError: one is not to be had.
    """
    pins = folder.parent / "pins.txt"
    pins.write_text("".join(f"{line}\n" for line in installed()), "utf-8")
    wanted = f"{own}[{','.join(extras)}]" if extras else str(own)
    _pip("download", "--dest", str(folder), "--only-binary", ":all:", "--constraint", str(pins), wanted, "pip")


def installed() -> list[str]:
    """Name and version of everything in this environment but the program itself, as pip pins it."""
    from importlib.metadata import distributions

    found: dict[str, str] = {}
    for one in distributions():
        name = (one.metadata["Name"] or "").lower().replace("_", "-")
        if name and name != "reason-iad":
            found.setdefault(name, one.version)  # the first on the path is the one that is imported
    return [f"{name}=={version}" for name, version in sorted(found.items())]


def write_archive(target: Path, name: str, files: Sequence[tuple[Path, str]], script: str) -> None:
    """Write a .tar of files under the folder `name`, with the script that installs them and the hashes it compares."""
    import io

    from reason_iad.files import sha256_of_file

    sums = "".join(f"{sha256_of_file(path)}  {place}\n" for path, place in files)
    with tarfile.open(target, "w") as archive:
        for place, text, mode in (("install.sh", script, 0o755), ("SHA256SUMS", sums, 0o644)):
            data = text.encode()
            entry = tarfile.TarInfo(f"{name}/{place}")
            entry.size, entry.mode = len(data), mode
            archive.addfile(entry, io.BytesIO(data))
        for path, place in files:
            entry = archive.gettarinfo(str(path), f"{name}/{place}")
            entry.uid = entry.gid = 0
            entry.uname = entry.gname = ""
            with path.open("rb") as file:
                archive.addfile(entry, file)


def _near(out: Path) -> Path:
    """The folder of the archive, which must have room for it anyway."""
    folder = out.absolute().parent
    if not folder.is_dir():
        raise InputError(f"the folder {folder} does not exist; choose another place with --out")
    return folder


def _pip(*arguments: str) -> None:
    command = [sys.executable, "-m", "pip", *arguments, "--quiet", "--disable-pip-version-check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).split())[-NOTED:]
        raise InputError(f"pip {arguments[0]} failed: {said}; the network, or an index with these versions, is needed")
