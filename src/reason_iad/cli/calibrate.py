"""`reason-iad calibrate`: fit a model's probabilities to labeled images or questions of the user, and keep the fit."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reason_iad import __version__
from reason_iad.cli.inspect import _count
from reason_iad.cli.method import add_method_options, method_options
from reason_iad.errors import InputError
from reason_iad.languages import note, translatable

if TYPE_CHECKING:
    from reason_iad.calibration.fusion import FittedFusion
    from reason_iad.calibration.report import CalibrationReport
    from reason_iad.calibration.rows import Case, Row, RowFile
    from reason_iad.inspection.inspector import Inspector

DESCRIPTION = """\
Fit what joins a model with the comparison and with knowledge: the fusion of a verdict's probability, the weights of
options by type of question, and the temperature of answers. The images are asked about as in use; each answer is kept
at once, so that the same command goes on where it was stopped. The fit is kept under the fingerprint of the model's
content and used from then on; figures are of images that it did not see.

DATA is the folder of a data set in any layout that `benchmark detect` reads (its training split where that holds
defective images), or the root of --questions. A folder that holds nothing but images has no labels: they are taken for
good parts, and only the offset of the model is fitted.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register `calibrate`."""
    parser = subparsers.add_parser(
        "calibrate",
        help="fit a model's probabilities to your own labeled images or questions",
        description=DESCRIPTION,
    )
    add = parser.add_argument
    add("data", nargs="?", type=Path, metavar="DATA", help="folder of labeled images, or the root of --questions")
    add("--questions", type=Path, metavar="FILE", help="questions with their answers, JSON in the MMAD layout")
    add("--layout", default="auto", metavar="NAME", help="layout of the data set (default: auto)")
    add("--split", choices=("train", "test"), help="whose images (default: train where it has defective ones)")
    add("--shots", type=int, nargs="+", default=[4, 1, 0], metavar="K", help="references, by round (default: 4 1 0)")
    add("--limit", type=_count, metavar="N", help="most images of a category and kind; of questions: of all")
    add("--rows", type=Path, metavar="FILE", help="file of the answers (default: beside the stored fit)")
    add("--out", type=Path, metavar="DIR", help="write text, reliability diagram and settings there")
    add("--use", type=Path, metavar="FIT", help="keep a fit that was made elsewhere, if it is this model's")
    add("--dry-run", action="store_true", help="fit and report, and keep nothing but the answers")
    add("--json", action="store_true", help="print what is kept as JSON")
    add_method_options(parser, leave_out=("offset", "reason", "evidence", "max_overkill"))
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Ask, fit, report and keep."""
    from reason_iad.calibration.rows import RowFile
    from reason_iad.models.fits import folder
    from reason_iad.models.registry import check_model

    check_model(args.model)
    if args.questions is not None and args.data is None:
        raise InputError("found --questions without DATA; expected the folder that its images lie in")
    if args.data is None and args.use is None and args.rows is None:
        raise InputError("found no DATA; expected a folder of labeled images, --rows of an earlier run, or --use FIT")
    if args.data is not None and not args.data.is_dir():
        raise InputError(f"{args.data} is no folder; expected labeled images")
    if args.use is None and args.data is None:  # from the answers of an earlier run, without the model
        from reason_iad.models.fingerprint import of_weights

        return _finish(args, RowFile.open(args.rows), of_weights(args.model), [])
    inspector = _unfitted(args)
    fingerprint = inspector.model.fingerprint
    if args.use is not None:
        return _use(args, fingerprint)
    kept = RowFile.open(args.rows or folder() / f"{fingerprint}-answers.jsonl")
    return _finish(args, kept, fingerprint, _ask(args, inspector, kept))


def _unfitted(args: argparse.Namespace) -> Inspector:
    """The inspector without any fit of the model, but with what is known of the evidence."""
    from reason_iad.inspection.inspector import Inspector
    from reason_iad.recognition.prototypes import CategoryPrototypes

    loaded = Inspector.load(method_options(args), progress=note)
    settings = {"options": {"weights": {}, "looks": _looks()}}
    prototypes = CategoryPrototypes.load()
    return Inspector(loaded.options, loaded.model, loaded.vision, loaded.knowledge, prototypes, settings)


def _looks() -> Any:
    """How reliable measured looks are: counted once, for the evidence that every model shares."""
    from reason_iad.models.nano import read_adapter
    from reason_iad.models.sources import default_adapter

    return read_adapter(default_adapter())[1]["options"]["looks"]


def _ask(args: argparse.Namespace, inspector: Inspector, kept: RowFile) -> list[str]:
    """Ask what was not asked yet; gives notes about the data."""
    from reason_iad.calibration.questions import ask_questions
    from reason_iad.calibration.rows import collect
    from reason_iad.datasets.questions import read_questions

    if kept.damaged:
        note(f"{kept.path} holds {kept.damaged} damaged lines; what they held is asked again")
    if args.questions is not None:
        questions = read_questions(args.data, args.questions)
        notes = [f"data fault: {fault}" for fault in questions.faults[:10]]
        return [*notes, *ask_questions(inspector, questions, kept, max(args.shots), args.limit, note)]
    cases, notes = _cases(args)
    return [*notes, *collect(inspector, cases, kept, note)]


def _cases(args: argparse.Namespace) -> tuple[Sequence[Case], list[str]]:
    from reason_iad.calibration.rows import Case, dataset_cases, labeled_split
    from reason_iad.datasets.base import folders_in, images_in
    from reason_iad.datasets.registry import read_dataset

    plain = images_in(args.data)
    if plain and not folders_in(args.data) and not (args.data / "manifest.csv").is_file():
        cases = [Case(args.data.name, path.name, path, (), None) for path in plain[: args.limit]]
        return cases, [f"{args.data} has no labels: its {len(cases)} images are taken for good parts"]
    dataset = read_dataset(args.data, args.layout)
    split = args.split or labeled_split(dataset)
    notes = [f"the {split} split of {dataset.name}", *(f"taken: {line}" for line in dataset.taken)]
    notes += [f"data fault: {fault}" for fault in dataset.faults[:10]]
    return list(dataset_cases(dataset, args.shots, args.limit, split)), notes


def _finish(args: argparse.Namespace, kept: RowFile, fingerprint: str, notes: list[str]) -> int:
    from reason_iad.models.fits import StoredFit, write_fit

    settings, report = fit(args.model, kept.rows, notes)
    made = report.made({"program": __version__, "data": str(args.data or args.rows), "answers": len(kept.rows)})
    stored = StoredFit(args.model, fingerprint, settings, made)
    if args.out is not None:
        report.write(args.out, settings)
    print(json.dumps({"settings": settings, "made": made}) if args.json else report.to_markdown())
    if args.out is not None:
        note(f"report: {args.out}")
    note(f"answers: {kept.path}")
    note("kept nothing else" if args.dry_run else f"fit: {write_fit(stored)}")
    return 0


def fit(model: str, rows: Sequence[Row], notes: Sequence[str] = ()) -> tuple[dict[str, Any], CalibrationReport]:
    """Fit whatever the answers allow.

    Raises:
        InputError: they allow nothing: too few labels, or of one class only.
    """
    from reason_iad.calibration import fusion, questions
    from reason_iad.calibration.report import CalibrationReport

    asked = [row for row in rows if "kind" in row]
    told = [row for row in rows if row.get("defective") is not None]
    settings: dict[str, Any] = {}
    if not told and not asked:
        settings["fusion"] = fusion.offset_alone(rows)
        return settings, CalibrationReport(model, (), (), [*notes, settings["fusion"]["without_evidence"]["note"]])
    fusions: list[FittedFusion] = []
    left: list[str] = []
    if told or not asked:
        try:
            fusions, left = fusion.fit_all(told)
        except InputError as error:
            if not asked:
                raise
            left = [str(error)]
    if fusions:
        settings["fusion"] = fusion.fill(fusions)
        several = next((one for one in fusions if one.key == "with_evidence"), None)
        found = None if several is None else fusion.answer_range(told, bool(several.record["offset"]))
        settings |= {} if found is None else {"answers": found}
    kinds = questions.fit_kinds(asked) if asked else []
    if kinds:
        settings["options"] = questions.settings_of(kinds, _looks())
    return settings, CalibrationReport(model, fusions, kinds, [*notes, *left])


def _use(args: argparse.Namespace, fingerprint: str) -> int:
    from reason_iad.models.fits import read_fit, write_fit

    found = read_fit(args.use, fingerprint)
    note(f"kept as {write_fit(found)}: {_told(found.made)}")
    return 0


def _told(made: Mapping[str, Any]) -> str:
    program, answers = made.get("program", "?"), made.get("answers", "?")
    return translatable(f"made by reason-iad {program} from {answers} answers")
