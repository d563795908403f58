"""Ask several questions about one image and compare the full method with the plain model.

Usage: python examples/ask_questions.py part.png good_1.png
"""

import dataclasses
import sys

from reason_iad import Inspector, InspectorOptions

QUESTIONS = {
    "What kind of defect is on the object?": ("Scratch.", "Crack.", "Stain.", "Missing part.", "There is no defect."),
    "How large is the affected area?": ("Tiny.", "Small.", "Large.", "There is no defect."),
}


def main() -> None:
    """Answer every question twice: with everything on, and by the plain model."""
    if len(sys.argv) < 2:
        sys.exit("usage: ask_questions.py IMAGE [REFERENCE ...]")
    image, *references = sys.argv[1:]

    full = InspectorOptions(latents="on", injection="on")
    plain = dataclasses.replace(full, knowledge="none", latents="off", injection="off", evidence="off")
    for name, options in (("full method", full), ("plain model", plain)):
        inspector = Inspector.load(options)
        print(name)
        for question, choices in QUESTIONS.items():
            used = references if options.evidence == "on" else []
            report = inspector.inspect(image, references=used, question=question, choices=choices)
            answer = next(a for a in report.answers if a.question == question)
            options_text = ", ".join(f"{o.text} {o.probability:.2f}" for o in answer.options)
            print(f"  {question} {answer.text}")
            print(f"    {options_text}; entropy {answer.entropy:.2f}")


if __name__ == "__main__":
    main()
