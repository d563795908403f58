"""Naming defects from a handful of labeled examples; docs/naming.md says how.

look_numbers, change   one odd area in numbers: its look, and what it changes of the good part beneath it
describe               the same with features of both towers, as one vector
examples, store        labeled areas of a category: add, list, move, remove, versions, on disk
labels, label_*        labeled areas from folders and from exports of COCO, YOLO, Label Studio and CVAT
namer                  from examples, knowledge and model to a type with a probability, or "none of these"
queue                  which inspections a label would teach most
export                 labels and areas to COCO and Label Studio
"""
