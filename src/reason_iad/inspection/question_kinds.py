"""Which type of question is asked, told from its words, since what may speak for an answer depends on the type.

The types are those of MMAD (arXiv 2410.09453); the wordings are those that the bundled model is trained on.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

DETECTION = (
    "Is there any defect in the object?",
    "Does the object in the image have a defect?",
    "Is the product in the image defective?",
    "Is anything wrong with the object?",
    "Can you see a defect in the image?",
    "Would you reject this object?",
    "Does the image show an anomaly?",
)
STATE = ("In which state is the object?", "What is your verdict on the object?", "How would you sort this object?")
WHAT = (
    "What is the object in the image?",
    "Which product is shown in the image?",
    "What kind of product is inspected here?",
    "What does the image show?",
)
SURFACE = (
    "What does the normal surface of the object look like?",
    "What does the object normally look like?",
    "Which description fits a good object?",
)
THING = ("What kind of thing is the object?", "To which kind of products does the object belong?")
TYPE = (
    "What type of defect does the object have?",
    "Which defect does the object have?",
    "What kind of defect is seen?",
    "How would you classify the defect?",
    "What is the type of the anomaly?",
)
WHERE = (
    "Where in the image is the defect?",
    "Where is the defect located?",
    "In which part of the image is the defect?",
    "Which place in the image shows the defect?",
)
LOOK = (
    "Which description fits the defect best?",
    "How does the defect look?",
    "What does the defect look like?",
    "How would you describe the defect?",
)
LEADS = (
    "What can this defect lead to?",
    "What is the consequence of this defect?",
    "Why does this defect matter?",
    "Which effect can the defect have?",
)

PHRASES = {
    "Anomaly Detection": (*DETECTION, *STATE),
    "Object Classification": WHAT,
    "Object Analysis": (*SURFACE, *THING),
    "Defect Classification": TYPE,
    "Defect Localization": WHERE,
    "Defect Description": LOOK,
    "Defect Analysis": LEADS,
}
ALIKE = 0.75  # cosine from which a question is of the type of a known wording
_KNOWN = tuple((kind, phrase) for kind, phrases in PHRASES.items() for phrase in phrases)

Closest = Callable[[str, Sequence[str]], tuple[int, float]]  # the nearest in meaning of some texts, and its cosine


def kind_of(question: str, closest: Closest) -> str | None:
    """The type of the question whose known wording comes closest; None where none is close.

    Only wordings of the same form count: a question to be answered by yes or no is never about a place.

    >>> kind_of("Where is the defect located?", lambda text, known: (known.index(text), 1.0))
    'Defect Localization'
    """
    known = [(kind, phrase) for kind, phrase in _KNOWN if _asks_yes_or_no(phrase) == _asks_yes_or_no(question)]
    nearest, cosine = closest(question, [phrase for _, phrase in known])
    return known[nearest][0] if cosine >= ALIKE else None


def _asks_yes_or_no(question: str) -> bool:
    return (
        re.match(r"\W*(is|are|was|were|do|does|did|can|could|would|will|should|has|have)\b", question.lower())
        is not None
    )
