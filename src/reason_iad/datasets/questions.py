"""Question files of any known layout: MMAD, RobustMAD with its degraded twins, VisA-D&R."""

from __future__ import annotations

import json
from pathlib import Path

from reason_iad.datasets.base import Fault
from reason_iad.datasets.mmad import MmadQuestions, finished, read_located, read_mmad
from reason_iad.datasets.mmad_types import MmadSample
from reason_iad.datasets.robustmad import DEGRADED, RobustReader, is_robustmad, twin_file
from reason_iad.datasets.visa_dr import is_visa_dr, read_visa_dr
from reason_iad.errors import InputError


def read_questions(root: Path, file: Path, known_faults: bool = False) -> MmadQuestions:
    """Read a question file, in whichever of the known layouts it is; see `read_mmad` for the arguments.

    Raises:
        InputError: the file cannot be read, is in another layout, or none of its images lies under `root`.
    """
    try:
        data = file.read_bytes()
        text = data.decode("utf-8-sig")
        content = json.loads(text) if text.lstrip().startswith("[") else None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{file} cannot be read ({error}); expected a JSON file of questions") from error
    if isinstance(content, list) and is_visa_dr(content):
        samples, faults = read_visa_dr(root, file, content)
        return finished(root, file, data, samples, faults, len(content), known_faults)
    located, members = read_located(file, text)
    if not is_robustmad(members):
        return read_mmad(root, file, known_faults)
    reader = RobustReader(root, file, located)
    found = list(reader.read(members))
    twins = _twins(root, file, reader.faults)
    listed = sum(len(member.value) for member in members if member.name == "images")
    return finished(root, file, data, [*found, *twins], reader.faults, listed, known_faults)


def _twins(root: Path, file: Path, faults: list[Fault]) -> list[MmadSample]:
    """What is asked about the degraded twins, where their file lies beside this one."""
    other = twin_file(file)
    if file.stem.endswith("_low"):
        return []
    if not other.is_file():
        faults.append(Fault(DEGRADED, f"{other.name} is missing beside it; expected it there: twins are not compared"))
        return []
    try:
        located, members = read_located(other, other.read_bytes().decode("utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{other} cannot be read ({error}); expected a JSON file of questions") from error
    reader = RobustReader(root, other, located)
    found = list(reader.read(members)) if is_robustmad(members) else []
    faults.extend(reader.faults)
    return found
