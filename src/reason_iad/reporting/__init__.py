"""What people see of an inspection: words for the terminal, an annotated picture, and pages for the browser.

Every function here takes a finished `InspectionReport` (with the image it speaks of) and adds nothing to its findings.
"""
