"""What is known of every synthetic category: names, normal look, facts, defects and what they lead to.

Texts are general knowledge of manufacturing. `defects` of a category are the union of its group's surface defects
and its own faults, each with the consequence that holds for it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from reason_iad.training.synth_effects import GROUPS


@dataclass(frozen=True)
class CategorySpec:
    """One category: what it is called, looks like, and what can be wrong with it."""

    name: str
    object_name: str
    group: str
    surface: str  # the normal look, a noun phrase
    kind: str  # what kind of thing it is, a noun phrase
    structure: tuple[tuple[str, str], ...] = ()  # further facts that always hold: (question, answer)
    without: tuple[str, ...] = ()  # defects of the group that make no sense here
    gray_ok: bool = True  # an inspection camera without color may be used

    @property
    def consequences(self) -> dict[str, str]:
        """Consequence of each defect type of this category."""
        found = {d: text for keys, text in GROUPS[self.group].items() for d in keys.split("|")}
        return {d: text for d, text in found.items() if d not in self.without}

    @property
    def defects(self) -> tuple[str, ...]:
        """Defect types that this category can have."""
        return tuple(self.consequences)


@dataclass(frozen=True)
class Catalog:
    """All categories, by name."""

    specs: dict[str, CategorySpec] = field(default_factory=dict)

    def __getitem__(self, name: str) -> CategorySpec:
        return self.specs[name]


_S = CategorySpec
_SPECS = (
    _S(
        "brushed_metal",
        "brushed metal plate",
        "sheet metal",
        "gray metal with fine parallel brush lines",
        "a metal plate",
    ),
    _S(
        "screw",
        "screw",
        "fastener",
        "a bright metal shaft with a head and a thread",
        "a threaded metal fastener",
        (
            ("What runs around the shaft of the object?", "a thread"),
            ("What sits at one end of the object?", "a wide head"),
        ),
        ("off-center hole",),
    ),
    _S(
        "twill",
        "twill fabric",
        "textile",
        "woven threads with diagonal ridges",
        "a woven fabric",
        (("In which direction do the ridges of the object run?", "diagonally"),),
    ),
    _S(
        "circuit_board",
        "printed circuit board",
        "circuit",
        "traces that end in round pads",
        "a printed circuit pattern",
        (("What connects the pads of the object?", "conducting traces"),),
    ),
    _S(
        "ground_tile",
        "ground magnetic tile",
        "magnet",
        "dark gray with fine parallel grinding lines",
        "a ground magnet",
        (),
        ("chip",),
    ),
    _S(
        "biscuit",
        "biscuit with chocolate chips",
        "food",
        "a golden to brown crumb with dark chips",
        "a piece of baked food",
        (
            ("What is embedded in the object?", "chocolate chips"),
            ("What outline does a good object have?", "roughly round and closed"),
        ),
        ("hole",),
        False,
    ),
    _S(
        "light_plate",
        "light guide plate",
        "optics",
        "a regular grid of dots",
        "an optical plate with a dot pattern",
        (("What pattern covers the object?", "a regular grid of dots"),),
    ),
    _S(
        "bearing",
        "ball bearing",
        "drive",
        "two bright rings with balls between them",
        "a rolling bearing",
        (("What lies between the two rings of the object?", "balls"),),
        ("broken tooth", "missing blade", "burr", "pit"),
    ),
    _S(
        "screw_block",
        "block with screws",
        "joint",
        "a flat block that holds round screw heads",
        "an assembled block",
        (("What is fastened in the object?", "screws"),),
    ),
    _S(
        "solar_cell",
        "solar cell",
        "solar",
        "an even wafer crossed by straight busbars",
        "a photovoltaic wafer",
        (
            ("What crosses the object from side to side?", "straight thin busbars"),
            ("What shape does the object have?", "a square with cut corners"),
        ),
    ),
    _S(
        "nut_kernel",
        "nut in its shell",
        "food",
        "a rounded brown shell with fine fibers",
        "a dry fruit with a shell",
        (("What outline does a good object have?", "a rounded drop"),),
        ("broken", "foreign part"),
        False,
    ),
    _S(
        "toy_figure",
        "toy figure",
        "toy",
        "smooth colored plastic with a head and four limbs",
        "a small toy figure with limbs",
        (
            ("How many limbs does a complete object have?", "four"),
            ("How many eyes does a complete object have?", "two"),
        ),
    ),
    _S(
        "impeller",
        "cast impeller",
        "drive",
        "a bright machined ring around dark blades and a hub",
        "a cast pump part",
        (
            ("What is at the center of the object?", "a round hub"),
            ("What lies between the hub and the outer ring of the object?", "curved blades"),
        ),
        ("missing ball", "broken tooth"),
    ),
    _S(
        "glazed_tile",
        "glazed ceramic tile",
        "ceramic",
        "a smooth glossy glaze of one color",
        "a ceramic tile",
        (("What shape does the object have?", "a rectangle"),),
    ),
    _S(
        "tablet",
        "tablet",
        "pharmacy",
        "a smooth matte face with a pressed mark",
        "a pressed pill",
        (),
        ("missing tablet", "broken tablet", "open capsule", "wrong color half", "dent", "hole", "foreign part"),
        False,
    ),
    _S("leather", "leather", "leather", "a fine grain of irregular creases", "a hide"),
    _S(
        "connector",
        "pin connector",
        "connector",
        "a plastic housing with a row of straight metal pins",
        "an electrical connector",
        (("What stands out of the housing of the object?", "a row of metal pins"),),
    ),
    _S("wood_board", "wooden board", "wood", "brown grain lines along the board", "a piece of timber"),
    _S(
        "hex_nut",
        "hexagon nut",
        "fastener",
        "bright metal with six sides and a round hole",
        "a six-sided metal fastener",
        (
            ("How many sides does the object have?", "six"),
            ("What is at the center of the object?", "a round threaded hole"),
        ),
        ("damaged thread", "missing tip", "off-center hole"),
    ),
    _S(
        "capsule",
        "medicine capsule",
        "pharmacy",
        "a smooth glossy shell in two halves",
        "a capsule of medicine",
        (("Of how many halves does the object consist?", "two"),),
        ("missing tablet", "broken tablet", "missing imprint", "chip", "foreign part"),
        False,
    ),
    _S(
        "knit",
        "knitted fabric",
        "textile",
        "rows of interlocked loops",
        "a knitted fabric",
        (("What is the object made of?", "interlocked loops of yarn"),),
    ),
    _S(
        "washer",
        "washer",
        "fastener",
        "a flat bright metal ring",
        "a flat ring of metal",
        (("What is at the center of the object?", "a round hole"),),
        ("damaged thread", "missing tip"),
    ),
    _S(
        "label",
        "labeled container",
        "label",
        "a printed label with text and a bar code",
        "a container with a label",
        (("What is printed below the text of the object?", "a bar code"),),
    ),
    _S(
        "frosted_glass",
        "frosted glass pane",
        "glass",
        "even pale glass with a matte face",
        "a glass pane",
        (),
        ("chip",),
    ),
    _S(
        "gear",
        "gear wheel",
        "drive",
        "a round wheel with even teeth around it",
        "a toothed wheel",
        (("What surrounds the rim of the object?", "even teeth"),),
        ("missing ball", "missing blade", "pit", "crack"),
    ),
    _S(
        "cable_jacket",
        "set of parallel cables",
        "cable",
        "straight round cables side by side",
        "a bundle of cables",
        (("How do the cables of the object run?", "side by side"),),
        (),
        False,
    ),
    _S(
        "printed_paper",
        "printed paper",
        "print",
        "lines of printed text on plain paper",
        "a printed sheet",
        (("What covers the object?", "lines of text"),),
    ),
    _S(
        "bottle_cap",
        "bottle cap",
        "closure",
        "a round plastic cap with ribs and printed letters",
        "a closure of a bottle",
        (("What is at the rim of the object?", "fine ribs"), ("What is printed on the object?", "a short word")),
    ),
    _S(
        "wire_mesh",
        "wire mesh",
        "mesh",
        "crossing wires with square openings",
        "a metal screen",
        (("What shape do the openings of the object have?", "square"),),
    ),
    _S(
        "o_ring",
        "rubber sealing ring",
        "seal",
        "a smooth closed ring of rubber",
        "a seal",
        (("What outline does a good object have?", "a closed ring"),),
    ),
    _S(
        "cast_metal",
        "cast metal surface",
        "casting",
        "gray metal with a fine rough grain",
        "a rough casting",
        (),
        ("burr", "chip"),
    ),
    _S(
        "button",
        "sewing button",
        "apparel",
        "a round disc with holes in the middle",
        "a garment accessory",
        (("What is at the center of the object?", "small round holes"),),
    ),
    _S(
        "plain_weave",
        "plain woven fabric",
        "textile",
        "threads crossing over and under at right angles",
        "a woven cloth",
    ),
    _S(
        "cable_section",
        "cable cross-section",
        "wire section",
        "insulated wires inside a round jacket",
        "a cut electrical cable",
        (("What lies inside the jacket of the object?", "insulated wires"),),
        (),
        False,
    ),
    _S(
        "hammered_paint",
        "hammered paint panel",
        "coating",
        "glossy paint with an even pattern of bumps",
        "a painted housing",
        (),
        ("chip", "bubble"),
    ),
    _S(
        "resistor",
        "resistor",
        "component",
        "a rounded body with color bands and two wire leads",
        "an electronic component",
        (("What marks the value of the object?", "color bands"), ("How many wire leads does the object have?", "two")),
        (),
        False,
    ),
    _S("rubber_mat", "rubber mat", "rubber", "dull rubber with a regular relief", "a molded mat"),
    _S(
        "blister",
        "blister pack",
        "pharmacy",
        "a foil card with tablets in even rows",
        "a pack of tablets",
        (("How are the tablets of the object arranged?", "in even rows"),),
        ("missing imprint", "open capsule", "wrong color half", "dent", "chip"),
        False,
    ),
    _S("granite", "granite slab", "stone", "speckled grains of several tones", "a slab of stone", (), ("chip",)),
    _S(
        "keypad",
        "keypad",
        "keypad",
        "rows of keys with printed symbols",
        "an input panel",
        (("How many keys are in one row of the object?", "three"),),
    ),
    _S("carpet", "carpet", "floor covering", "dense short tufts of one color", "a textile floor covering"),
    _S(
        "battery",
        "battery cell",
        "battery",
        "a printed sleeve with a metal terminal",
        "an electric cell",
        (("What is at one end of the object?", "a metal terminal"),),
    ),
    _S(
        "perforated_sheet",
        "perforated metal sheet",
        "perforated metal",
        "gray metal with rows of round holes",
        "a sheet with holes",
        (("What shape do the openings of the object have?", "round"),),
    ),
    _S(
        "cardboard",
        "corrugated cardboard",
        "packaging",
        "brown board with faint parallel flutes",
        "a packaging board",
        (),
        ("dent",),
    ),
    _S("foam", "foam pad", "foam", "soft material with small open pores", "a cushion material"),
)
CATALOG = Catalog({spec.name: spec for spec in _SPECS})
