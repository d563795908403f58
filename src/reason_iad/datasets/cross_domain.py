"""CrossDomainVAD-12: 12 domains from public data sets, each item with its own normal references.

Layout read from the AnomalyClaw repository: `manifests_v2/D*_manifest.json`, lists of items with item_id, domain_code,
query_path, ref_paths, label, anomaly_type, category and split; paths begin with `{DATA_ROOT}/`, the folder that the
images were unpacked to by the table in its DATA.md. Results are the image AUROC of each domain and their mean.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reason_iad.datasets.base import Fault, ImageDataset, ImageSample, refuse_empty
from reason_iad.errors import InputError

PLACEHOLDER = "{DATA_ROOT}/"
EXPECTED = "manifests_v2/D1_..._manifest.json and so on, and the images that they name below the same folder or data/"


def find_manifests(root: Path) -> list[Path]:
    """The files that list the items, in order of the domains."""
    places = (root / "manifests_v2", root, root / "benchmark" / "manifests_v2")
    files = next((found for one in places if (found := list(one.glob("D*_manifest.json")))), [])
    return sorted(files, key=lambda path: (len(path.name.partition("_")[0]), path.name))


def read_cross_domain(root: Path, split: str = "test") -> ImageDataset:
    """Read the items of one split; categories are the domains.

    Raises:
        InputError: no manifest lies there, or nothing that it lists.
    """
    files = find_manifests(root)
    if not files:
        raise InputError(f"{root} holds no manifests_v2/D*_manifest.json; expected {EXPECTED}")
    samples: list[ImageSample] = []
    faults: list[Fault] = []
    taken = []
    for file in files:
        try:
            items = json.loads(file.read_text(encoding="utf-8-sig"))
        except (OSError, ValueError) as error:
            faults.append(Fault(file.name, f"cannot be read ({error}); expected a JSON list: the domain is left out"))
            continue
        before = len(samples)
        listed = items if isinstance(items, list) else items.get("items", []) if isinstance(items, dict) else []
        for number, item in enumerate(listed, start=1):
            if not isinstance(item, dict):
                faults.append(Fault(f"item {number}", "is no object; left out", file.name))
            elif item.get("split", split) == split:
                _add(root, file.name, item, samples, faults)
        mine = samples[before:]
        defective = sum(sample.defective for sample in mine)
        domain = mine[0].category if mine else file.name.partition("_")[0]
        taken.append(f"{domain}: {len(mine)} items of the split {split}, {defective} anomalous, by {file.name}")
    refuse_empty("CrossDomainVAD-12", root, samples, EXPECTED)
    return ImageDataset("CrossDomainVAD-12", tuple(samples), tuple(faults), tuple(taken))


def _add(root: Path, file: str, item: Mapping[str, Any], samples: list[ImageSample], faults: list[Fault]) -> None:
    where = str(item.get("item_id", "an item without item_id"))
    if item.get("label") not in (0, 1):
        faults.append(Fault(where, f"is {item.get('label')!r}; expected 0 or 1: left out", file, None, "label"))
        return
    name, image = _find(root, item.get("query_path"))
    if image is None:
        faults.append(Fault(where, f"the image is missing; expected it at {name}: left out", file, None, "query_path"))
        return
    paths = item.get("ref_paths")
    references = []
    for listed in paths if isinstance(paths, list) else []:
        shown, reference = _find(root, listed)
        if reference is None:
            faults.append(Fault(where, f"its reference is missing; expected it at {shown}", file, None, "ref_paths"))
        else:
            references.append(reference)
    if not references:
        faults.append(Fault(where, "has no reference; there is nothing to compare it with: left out", file, None,
                            "ref_paths"))  # fmt: skip
        return
    defective = item["label"] == 1
    domain = str(item.get("domain_code") or file.partition("_")[0])
    kind = str(item.get("anomaly_type") or item.get("category") or "anomaly")
    samples.append(
        ImageSample(
            image, f"{where} {name}", domain, "test", defective, kind if defective else None,
            references=tuple(references), taken=f"{'anomalous' if defective else 'normal'}, by {file}",
        )
    )  # fmt: skip


def _find(root: Path, named: Any) -> tuple[str, Path | None]:
    """A path as a manifest has it, and the file; an absolute one of another machine is not followed."""
    text = str(named or "").removeprefix(PLACEHOLDER)
    if not text or Path(text).is_absolute() or ".." in Path(text).parts:
        return str(named), None
    for place in (root, root / "data", root / "benchmark" / "data", root.parent / "data"):
        if (place / text).is_file():
            return text, place / text
    return str(root / text), None
