"""Inspect a folder against a folder of good parts; write a table, and a page for every image.

Usage: python examples/sort_folder.py images/ good/ report/
"""

import csv
import sys
from pathlib import Path

from reason_iad import InspectionRequest, Inspector
from reason_iad.errors import ImageError
from reason_iad.images import find_images, read_image
from reason_iad.reporting.folder import ReportFolder


def main() -> None:
    """Inspect every image with one inspector; an image that cannot be read does not stop the rest."""
    if len(sys.argv) != 4:
        sys.exit("usage: sort_folder.py IMAGES GOOD_PARTS REPORT")
    images, good, out = map(Path, sys.argv[1:])

    folder = ReportFolder.create(out, title=f"Inspection of {images}")
    references = [read_image(path) for path in find_images(good)[:4]]
    inspector = Inspector.load()

    with (out / "table.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["image", "verdict", "probability", "defect", "place"])
        for path in find_images(images):
            try:
                found = inspector.run(InspectionRequest.of(path, references=references))
            except ImageError as error:
                folder.add_failure(path.name, str(error))
                continue
            report = found.report
            folder.add(report, found.pixels, found.anomaly_map, found.reference_pixels)
            place = report.regions[0].place if report.regions else ""
            table.writerow([report.image, report.verdict, f"{report.probability:.3f}", report.defect_type or "", place])
    print(f"report: {folder.finish()}")


if __name__ == "__main__":
    main()
