"""What the reports of a run are made by: every setting that changes what a report says, by its name.

It is written beside the reports, and `--resume` compares it.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from reason_iad import __version__

if TYPE_CHECKING:
    from reason_iad.images import LoadedImage


def made_by(args: argparse.Namespace, references: Sequence[LoadedImage]) -> dict[str, Any]:
    """Settings of the method, references, question, and the content of model, knowledge base and learned categories.

    Raises:
        KnowledgeError: the knowledge base cannot be read.
    """
    from reason_iad.benchmark.content import knowledge_fingerprint, profiles_fingerprint
    from reason_iad.cli.method import method_options
    from reason_iad.models.fingerprint import of_model

    method = {name: value for name, value in dataclasses.asdict(method_options(args)).items() if name != "device"}
    settings = {
        "program": __version__,
        **method,
        "content of the model": of_model(args.model),
        "content of the knowledge base": knowledge_fingerprint() if args.knowledge != "none" else None,
        "learned categories": profiles_fingerprint() if not references and args.evidence != "off" else None,
        "category": args.category,
        "references": [image.sha256[:16] for image in references],
        "question": args.question,
        "choices": list(args.choices),
        "faithfulness": args.faithfulness,
        "compared with the lot": getattr(args, "lot", False),
    }
    plain: dict[str, Any] = json.loads(json.dumps(settings, default=str))  # as it will be read again
    return plain
