"""Explain one image: verdict, defect, place, and a page to look at.

Usage: python examples/explain_image.py part.png good_1.png good_2.png
"""

import sys
from pathlib import Path

from reason_iad import InspectionRequest, Inspector, InspectorOptions
from reason_iad.reporting.html import render_report


def main() -> None:
    """Inspect the first image against the others and write a page beside the working folder."""
    if len(sys.argv) < 2:
        sys.exit("usage: explain_image.py IMAGE [REFERENCE ...]")
    image, *references = sys.argv[1:]

    inspector = Inspector.load(InspectorOptions(), progress=print)
    found = inspector.run(InspectionRequest.of(image, references=references))
    report = found.report

    print(f"{report.image}: {report.verdict}, probability of a defect {report.probability:.2f}")
    print(f"  how this number came about: {report.probability_note}")
    if report.defect_type:
        print(f"  {report.defect_type}: {report.description}")
    for region in report.regions:
        print(f"  {region.place}, box {region.box_xyxy}, strength {region.strength:.2f}")
    for citation in report.citations:
        print(f"  knows: {citation.text} ({citation.source})")

    page = Path(f"{Path(image).stem}.html")
    page.write_text(render_report(report, found.pixels, found.anomaly_map, found.reference_pixels), encoding="utf-8")
    print(f"page: {page}")


if __name__ == "__main__":
    main()
