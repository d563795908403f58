"""What is known of every synthetic category: names, normal look, facts, defects and what they lead to.

Texts are general knowledge of manufacturing. `defects` of a category are the union of its group's surface defects
and its own faults, each with the consequence that holds for it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

# Consequences by group of products; keys are defect types that share one, separated by "|".
GROUPS: dict[str, dict[str, str]] = {
    "sheet metal": {
        "scratch|wear": "The bare mark spoils the finish and corrosion can start in it.",
        "dent": "The sheet no longer lies flat and the mark shows through any coating.",
        "corrosion": "The rust spreads and eats through the metal.",
        "stain|contamination": "Paint or glue will not stick to the dirty area.",
        "hole": "The sheet leaks and is weakened at the opening.",
    },
    "casting": {
        "pit": "The pore weakens the casting and can let fluid leak through.",
        "crack": "The casting can break under load.",
        "corrosion": "The rusted area loses strength and seizes against its neighbors.",
        "burr": "The sharp flash cuts hands and keeps the casting from seating.",
        "chip": "Material is missing at the edge and the casting does not seal.",
        "uneven surface": "The rough face must be machined again before it fits.",
        "scratch": "The marked face wears faster and can leak.",
    },
    "magnet": {
        "pit": "The pore disturbs the magnetic field of the tile.",
        "crack": "The tile can split at high speed in the motor.",
        "chip": "The missing piece lowers the magnetic force and unbalances the motor.",
        "wear": "Worn material sheds particles that block the motor.",
        "uneven surface": "The air gap of the motor becomes irregular.",
        "scratch": "The protective surface is opened and the tile may flake.",
    },
    "ceramic": {
        "crack": "Water enters the crack and the tile breaks.",
        "chip": "The damaged edge is sharp and looks bad when laid.",
        "pit|bubble": "The glaze is not closed and dirt collects in it.",
        "stain|discoloration|contamination": "The tile does not match the others and is sorted out.",
        "scratch": "The scratched glaze loses its gloss.",
    },
    "wood": {
        "crack": "The board splits along the grain when it is loaded.",
        "hole": "The opening weakens the board and must be filled.",
        "stain|discoloration|burn mark": "The dark area shows through the varnish and spoils the look.",
        "scratch|dent": "The board must be sanded again before finishing.",
        "contamination": "Foreign matter keeps the varnish from sticking.",
    },
    "leather": {
        "cut|hole": "The hide tears open when it is stretched.",
        "scratch|wear": "The hide looks used and is sold at a lower grade.",
        "crease": "The fold stays visible in the finished seat or bag.",
        "stain|discoloration|contamination": "The piece does not match the other panels.",
    },
    "textile": {
        "hole|cut": "The fabric tears further from the opening.",
        "broken thread": "The fabric runs or frays from the broken thread.",
        "loose fiber": "The loose thread catches and must be trimmed by hand.",
        "stain|discoloration|contamination": "The spot is visible in the garment, which becomes second quality.",
        "wear": "The rubbed fabric is thin there and soon wears through.",
        "crease": "The pressed fold cannot be removed before sewing.",
    },
    "optics": {
        "scratch|contamination|foreign part": "The backlight shows a bright line or spot.",
        "missing dots": "The light comes out unevenly and the screen has a dark patch.",
        "stain|discoloration": "The panel looks cloudy when it is lit.",
    },
    "glass": {
        "crack": "The pane can shatter under heat or load.",
        "bubble": "The bubble distorts the view and weakens the pane.",
        "scratch": "The scratch scatters light and starts breakage.",
        "chip": "The damaged rim is sharp and breaks further.",
        "contamination|stain": "The pane looks dirty and must be cleaned again.",
    },
    "print": {
        "smeared print|missing print": "The text cannot be read and the lot cannot be traced.",
        "stain|contamination": "The sheet looks dirty to the customer and is rejected.",
        "crease": "The sheet jams in the folding machine.",
        "hole|cut": "The sheet tears in the press.",
    },
    "solar": {
        "crack": "Part of the cell is cut off and gives no current.",
        "interrupted busbar": "Current cannot be collected and resistance rises.",
        "discoloration|stain": "The area absorbs less light and the power drops.",
        "chip": "The broken edge loses area and the break can grow.",
        "scratch|contamination": "The covered or damaged area may heat up in operation.",
    },
    "coating": {
        "scratch|chip": "The bare spot begins to corrode.",
        "bubble": "The paint peels off where it does not stick.",
        "discoloration|stain|contamination": "The color does not match the other housings.",
        "dent": "The damaged panel is visible to the buyer.",
    },
    "rubber": {
        "cut|hole": "The mat tears at the opening when it is pulled.",
        "wear": "The grip is lost where the relief is worn.",
        "bubble|pit": "The trapped air weakens the rubber.",
        "contamination|stain|discoloration": "The material may be impure and age early.",
    },
    "mesh": {
        "broken wire": "Large particles pass through the gap.",
        "corrosion": "The wires become thin and break.",
        "contamination|foreign part": "The openings are blocked and the flow drops.",
        "dent": "The openings are deformed and no longer sort by size.",
    },
    "floor covering": {
        "stain|discoloration|contamination": "The spot stays visible on the floor.",
        "cut|hole": "The covering frays and people can trip.",
        "wear": "The worn pile shows the backing.",
        "loose fiber": "The loose yarn is pulled out and leaves a line.",
    },
    "stone": {
        "crack": "The slab breaks when it is mounted.",
        "chip": "The joint between slabs shows a gap.",
        "stain|discoloration|corrosion": "The slab does not match its neighbors.",
        "scratch|pit": "The polish is damaged and dirt collects there.",
    },
    "packaging": {
        "hole|cut": "The goods inside are no longer protected.",
        "crease|dent": "The box collapses when it is stacked.",
        "stain|contamination": "Moisture or dirt may have reached the goods.",
    },
    "perforated metal": {
        "blocked hole": "The flow through the sheet is reduced.",
        "scratch|wear": "The damaged finish starts to corrode.",
        "corrosion": "The rust widens the holes and weakens the sheet.",
        "contamination|foreign part": "Loose matter clogs the holes.",
    },
    "foam": {
        "cut|hole": "The cushion tears at the opening.",
        "discoloration|stain|contamination": "The foam looks aged or may be contaminated.",
        "dent": "The crushed cells no longer spring back.",
    },
    "cable": {
        "cut|wear": "The conductor may be exposed and cause a shock or short circuit.",
        "swapped cables": "The wrong lines are connected and the device fails.",
        "missing cable": "A signal or supply line is not connected.",
        "burn mark": "The insulation has been overheated and may fail.",
        "contamination|stain": "The code or color of the cable cannot be seen.",
    },
    "fastener": {
        "damaged thread": "The thread jams or strips when it is tightened.",
        "missing tip": "It cannot be started in the hole.",
        "crack": "It breaks when it is tightened.",
        "corrosion": "It seizes and cannot be loosened again.",
        "burr": "The sharp edge damages the mating part.",
        "chip": "The tool slips on the damaged edge.",
        "scratch|dent": "The protective plating is opened and rust begins.",
        "off-center hole": "The load is carried on one side only.",
    },
    "drive": {
        "missing ball": "The load is uneven and the bearing soon fails.",
        "broken tooth": "The gear slips, knocks and damages its partner.",
        "missing blade": "The wheel is unbalanced and pumps less.",
        "pit": "The casting pore makes it leak, vibrate or break early.",
        "crack": "It can burst while it is turning.",
        "corrosion": "The rough rust destroys the running surface.",
        "burr": "The flash breaks off and blocks the mechanism.",
        "chip": "The missing material causes imbalance and noise.",
        "scratch|contamination": "The running surface wears and becomes noisy.",
    },
    "pharmacy": {
        "crack|chip|broken tablet": "The patient receives the wrong dose.",
        "missing imprint|missing tablet": "The medicine cannot be identified or counted and is rejected.",
        "stain|contamination|discoloration": "The medicine may be contaminated and must not be sold.",
        "open capsule": "The powder leaks out and the dose is wrong.",
        "wrong color half": "The medicine can be mistaken for another one.",
        "dent|hole": "The medicine is no longer protected from moisture.",
        "foreign part": "A foreign object in the pack endangers the patient.",
    },
    "closure": {
        "missing print": "The brand is not shown and the cap is rejected.",
        "crack|chip": "The bottle is not tight and the content spoils.",
        "dent": "The deformed cap jams on the capping machine.",
        "scratch|stain|discoloration|contamination": "The cap looks used and is sorted out.",
    },
    "circuit": {
        "bridged traces|spurious copper|spur": "Unwanted copper can cause a short circuit.",
        "open trace|mouse bite": "The current path is interrupted or too thin and the circuit fails.",
        "missing hole": "The component lead cannot be inserted.",
        "scratch": "A trace may be cut and the board fails its test.",
        "contamination|stain": "Solder does not wet the dirty area.",
    },
    "connector": {
        "missing pin": "One signal has no contact.",
        "bent pin": "The plug cannot be mated or shorts its neighbor.",
        "crack|chip": "The housing no longer holds the plug.",
        "burn mark": "The housing was overheated and may be deformed.",
        "contamination|scratch": "Dirt or damage at the housing makes the contact unreliable.",
    },
    "joint": {
        "missing screw": "The remaining screws are overloaded and the joint comes loose.",
        "misplaced screw": "The screw does not hold in its place and the joint is weak.",
        "crack": "The block splits around the screws.",
        "scratch|stain": "The visible face looks damaged and is reworked.",
        "foreign part": "A loose object can jam the assembly.",
    },
    "label": {
        "tilted label": "The label looks careless and scanners miss its code.",
        "missing barcode": "The product cannot be scanned at the checkout.",
        "missing print|smeared print": "Legally required text cannot be read.",
        "crease|wear": "The label peels off or cannot be read.",
        "stain|contamination": "The customer takes the product for dirty.",
    },
    "food": {
        "broken|crack": "It crumbles in the pack and cannot be sold whole.",
        "burn mark": "It tastes bitter and is rejected.",
        "mold": "It is spoiled and dangerous to eat.",
        "hole": "Insects or moisture may have reached the inside.",
        "contamination|foreign part": "The eater may swallow foreign matter.",
        "stain|discoloration": "It looks spoiled and customers refuse it.",
        "chip": "A piece is missing and the weight is too low.",
    },
    "toy": {
        "missing limb|missing eye": "The toy is incomplete and is returned.",
        "misplaced limb": "The figure is assembled wrongly and looks odd.",
        "contamination|stain|discoloration": "The color is spoiled and the toy does not sell.",
        "cut|hole|chip": "Sharp or loose pieces endanger children.",
        "burr": "The sharp flash can scratch a child.",
        "scratch": "The surface looks used and the toy does not sell.",
    },
    "seal": {
        "split ring|cut|chip": "The seal leaks under pressure.",
        "burr": "The flash keeps the ring from closing tightly.",
        "bubble|pit": "The weak spot tears and the seal leaks.",
        "contamination|wear": "The sealing face is not smooth and fluid seeps past.",
    },
    "wire section": {
        "missing wire": "One line of the circuit has no connection.",
        "wrong wire color": "The cable is connected wrongly and can be dangerous.",
        "cut|hole": "The insulation is open and can cause a short circuit.",
        "contamination": "Foreign matter in the insulation lowers its strength.",
        "chip": "The jacket is too thin at the damaged edge.",
    },
    "apparel": {
        "missing hole": "The button cannot be sewn on.",
        "crack|chip": "The button breaks in the wash.",
        "scratch|stain|discoloration": "The button does not match the set.",
        "burr": "The rough edge pulls threads from the garment.",
    },
    "component": {
        "bent lead": "The lead misses its hole in the board.",
        "missing band": "The value cannot be read and the wrong part may be fitted.",
        "crack|chip": "The value drifts and the part fails.",
        "burn mark": "The part was overheated and no longer has its value.",
        "contamination": "The dirty body can leak current.",
    },
    "keypad": {
        "missing key": "That input cannot be made and dirt gets inside.",
        "missing print": "The user cannot tell what the key does.",
        "scratch|wear": "The panel looks used before it is sold.",
        "contamination|stain": "The keys stick or look dirty.",
    },
    "battery": {
        "missing terminal": "The cell makes no contact in the device.",
        "missing print": "The cell may be inserted the wrong way round.",
        "dent": "The inner layers may short and overheat.",
        "corrosion": "The cell leaks and damages the device.",
        "scratch|cut": "The sleeve is open and the cell can short.",
        "stain": "Leaking electrolyte is suspected and the cell is rejected.",
    },
}

# What each defect type looks like, for knowledge texts and descriptions.
LOOKS: dict[str, str] = {
    "scratch": "a thin, nearly straight line that differs in brightness", "crack": "a dark, jagged, often branching line",
    "dent": "a smooth hollow with a bright and a dark side", "pit": "a small dark round pore",
    "stain": "an irregular tinted patch", "discoloration": "a wide area of changed color with soft borders",
    "hole": "an opening through which the dark inside or the background shows",
    "contamination": "a patch or drop of foreign color", "loose fiber": "a thin curved thread lying on the surface",
    "chip": "a piece missing at the edge", "burr": "ragged extra material beyond the edge",
    "wear": "a rubbed area full of fine parallel marks", "cut": "a straight slit, wider in the middle",
    "crease": "a long fold with a bright and a dark side", "bubble": "round blisters with a rim and a highlight",
    "corrosion": "grainy brown-orange rust", "burn mark": "a dark brown area that fades outward",
    "mold": "a fuzzy pale growth", "smeared print": "ink that is dragged and blurred",
    "uneven surface": "an area with waves and bumps", "broken thread": "a dark line with loose thread ends",
    "foreign part": "a small object that does not belong there", "missing dots": "a gap in the dot pattern",
    "missing print": "a place where printing is absent", "interrupted busbar": "a gap in one of the busbars",
    "broken wire": "a gap in one wire", "blocked hole": "a hole that is closed", "swapped cables": "two cables in each other's place",
    "missing cable": "an empty place among the cables", "damaged thread": "thread flanks that are flattened",
    "missing tip": "a blunt, shortened end", "off-center hole": "a hole away from the middle",
    "missing ball": "a gap between the balls", "broken tooth": "a gap in the row of teeth",
    "missing blade": "a wider gap between the blades", "broken tablet": "a tablet with a part broken off",
    "missing imprint": "a blank face without the pressed mark", "missing tablet": "an empty pocket",
    "open capsule": "halves pulled apart with powder showing", "wrong color half": "a half of an unexpected color",
    "bridged traces": "copper that joins two traces", "spurious copper": "an island of copper between traces",
    "spur": "a thin spike of copper on a trace", "open trace": "a gap in a trace", "mouse bite": "a small bite at the side of a trace",
    "missing hole": "a place where the hole is filled", "missing pin": "an empty place in the row of pins",
    "bent pin": "a pin that leans to the side", "missing screw": "an empty dark hole instead of a screw",
    "misplaced screw": "a screw away from its place", "tilted label": "a label that stands askew",
    "missing barcode": "a blank area instead of the bars", "broken": "a broken-off piece or a gap with ragged edges",
    "missing limb": "a body without one arm or leg", "missing eye": "a head with one eye only",
    "misplaced limb": "an arm or leg in a wrong direction", "split ring": "a ring that is open at one place",
    "missing wire": "an empty place among the wires", "wrong wire color": "a wire of an unexpected color",
    "bent lead": "a wire end that is bent away", "missing band": "a color band that is absent",
    "missing key": "a dark hole instead of a key", "missing terminal": "an end without its metal cap",
}  # fmt: skip


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


EDGES = ("chip", "burr")
_S = CategorySpec
_SPECS = (
    _S("brushed_metal", "brushed metal plate", "sheet metal", "gray metal with fine parallel brush lines", "a metal plate"),
    _S("screw", "screw", "fastener", "a bright metal shaft with a head and a thread", "a threaded metal fastener",
       (("What runs around the shaft of the object?", "a thread"), ("What sits at one end of the object?", "a wide head")),
       ("off-center hole",)),
    _S("twill", "twill fabric", "textile", "woven threads with diagonal ridges", "a woven fabric",
       (("In which direction do the ridges of the object run?", "diagonally"),)),
    _S("circuit_board", "printed circuit board", "circuit", "traces that end in round pads", "a printed circuit pattern",
       (("What connects the pads of the object?", "conducting traces"),)),
    _S("ground_tile", "ground magnetic tile", "magnet", "dark gray with fine parallel grinding lines", "a ground magnet",
       (), ("chip",)),
    _S("biscuit", "biscuit with chocolate chips", "food", "a golden to brown crumb with dark chips", "a piece of baked food",
       (("What is embedded in the object?", "chocolate chips"), ("What outline does a good object have?", "roughly round and closed")),
       ("hole",), False),
    _S("light_plate", "light guide plate", "optics", "a regular grid of dots", "an optical plate with a dot pattern",
       (("What pattern covers the object?", "a regular grid of dots"),)),
    _S("bearing", "ball bearing", "drive", "two bright rings with balls between them", "a rolling bearing",
       (("What lies between the two rings of the object?", "balls"),), ("broken tooth", "missing blade", "burr", "pit")),
    _S("screw_block", "block with screws", "joint", "a flat block that holds round screw heads", "an assembled block",
       (("What is fastened in the object?", "screws"),)),
    _S("solar_cell", "solar cell", "solar", "an even wafer crossed by straight busbars", "a photovoltaic wafer",
       (("What crosses the object from side to side?", "straight thin busbars"), ("What shape does the object have?", "a square with cut corners"))),
    _S("nut_kernel", "nut in its shell", "food", "a rounded brown shell with fine fibers", "a dry fruit with a shell",
       (("What outline does a good object have?", "a rounded drop"),), ("broken", "foreign part"), False),
    _S("toy_figure", "toy figure", "toy", "smooth colored plastic with a head and four limbs", "a small toy figure with limbs",
       (("How many limbs does a complete object have?", "four"), ("How many eyes does a complete object have?", "two"))),
    _S("impeller", "cast impeller", "drive", "a bright machined ring around dark blades and a hub", "a cast pump part",
       (("What is at the center of the object?", "a round hub"), ("What lies between the hub and the outer ring of the object?", "curved blades")),
       ("missing ball", "broken tooth")),
    _S("glazed_tile", "glazed ceramic tile", "ceramic", "a smooth glossy glaze of one color", "a ceramic tile",
       (("What shape does the object have?", "a rectangle"),)),
    _S("tablet", "tablet", "pharmacy", "a smooth matte face with a pressed mark", "a pressed pill",
       (), ("missing tablet", "broken tablet", "open capsule", "wrong color half", "dent", "hole", "foreign part"), False),
    _S("leather", "leather", "leather", "a fine grain of irregular creases", "a hide"),
    _S("connector", "pin connector", "connector", "a plastic housing with a row of straight metal pins", "an electrical connector",
       (("What stands out of the housing of the object?", "a row of metal pins"),)),
    _S("wood_board", "wooden board", "wood", "brown grain lines along the board", "a piece of timber"),
    _S("hex_nut", "hexagon nut", "fastener", "bright metal with six sides and a round hole", "a six-sided metal fastener",
       (("How many sides does the object have?", "six"), ("What is at the center of the object?", "a round threaded hole")),
       ("damaged thread", "missing tip", "off-center hole")),
    _S("capsule", "medicine capsule", "pharmacy", "a smooth glossy shell in two halves", "a capsule of medicine",
       (("Of how many halves does the object consist?", "two"),),
       ("missing tablet", "broken tablet", "missing imprint", "chip", "foreign part"), False),
    _S("knit", "knitted fabric", "textile", "rows of interlocked loops", "a knitted fabric",
       (("What is the object made of?", "interlocked loops of yarn"),)),
    _S("washer", "washer", "fastener", "a flat bright metal ring", "a flat ring of metal",
       (("What is at the center of the object?", "a round hole"),), ("damaged thread", "missing tip")),
    _S("label", "labeled container", "label", "a printed label with text and a bar code", "a container with a label",
       (("What is printed below the text of the object?", "a bar code"),)),
    _S("frosted_glass", "frosted glass pane", "glass", "even pale glass with a matte face", "a glass pane", (), ("chip",)),
    _S("gear", "gear wheel", "drive", "a round wheel with even teeth around it", "a toothed wheel",
       (("What surrounds the rim of the object?", "even teeth"),), ("missing ball", "missing blade", "pit", "crack")),
    _S("cable_jacket", "set of parallel cables", "cable", "straight round cables side by side", "a bundle of cables",
       (("How do the cables of the object run?", "side by side"),), (), False),
    _S("printed_paper", "printed paper", "print", "lines of printed text on plain paper", "a printed sheet",
       (("What covers the object?", "lines of text"),)),
    _S("bottle_cap", "bottle cap", "closure", "a round plastic cap with ribs and printed letters", "a closure of a bottle",
       (("What is at the rim of the object?", "fine ribs"), ("What is printed on the object?", "a short word"))),
    _S("wire_mesh", "wire mesh", "mesh", "crossing wires with square openings", "a metal screen",
       (("What shape do the openings of the object have?", "square"),)),
    _S("o_ring", "rubber sealing ring", "seal", "a smooth closed ring of rubber", "a seal",
       (("What outline does a good object have?", "a closed ring"),)),
    _S("cast_metal", "cast metal surface", "casting", "gray metal with a fine rough grain", "a rough casting", (), ("burr", "chip")),
    _S("button", "sewing button", "apparel", "a round disc with holes in the middle", "a garment accessory",
       (("What is at the center of the object?", "small round holes"),)),
    _S("plain_weave", "plain woven fabric", "textile", "threads crossing over and under at right angles", "a woven cloth"),
    _S("cable_section", "cable cross-section", "wire section", "insulated wires inside a round jacket", "a cut electrical cable",
       (("What lies inside the jacket of the object?", "insulated wires"),), (), False),
    _S("hammered_paint", "hammered paint panel", "coating", "glossy paint with an even pattern of bumps", "a painted housing",
       (), ("chip", "bubble")),
    _S("resistor", "resistor", "component", "a rounded body with color bands and two wire leads", "an electronic component",
       (("What marks the value of the object?", "color bands"), ("How many wire leads does the object have?", "two")), (), False),
    _S("rubber_mat", "rubber mat", "rubber", "dull rubber with a regular relief", "a molded mat"),
    _S("blister", "blister pack", "pharmacy", "a foil card with tablets in even rows", "a pack of tablets",
       (("How are the tablets of the object arranged?", "in even rows"),),
       ("missing imprint", "open capsule", "wrong color half", "dent", "chip"), False),
    _S("granite", "granite slab", "stone", "speckled grains of several tones", "a slab of stone", (), ("chip",)),
    _S("keypad", "keypad", "keypad", "rows of keys with printed symbols", "an input panel",
       (("How many keys are in one row of the object?", "three"),)),
    _S("carpet", "carpet", "floor covering", "dense short tufts of one color", "a textile floor covering"),
    _S("battery", "battery cell", "battery", "a printed sleeve with a metal terminal", "an electric cell",
       (("What is at one end of the object?", "a metal terminal"),)),
    _S("perforated_sheet", "perforated metal sheet", "perforated metal", "gray metal with rows of round holes", "a sheet with holes",
       (("What shape do the openings of the object have?", "round"),)),
    _S("cardboard", "corrugated cardboard", "packaging", "brown board with faint parallel flutes", "a packaging board", (), ("dent",)),
    _S("foam", "foam pad", "foam", "soft material with small open pores", "a cushion material"),
)  # fmt: skip
CATALOG = Catalog({spec.name: spec for spec in _SPECS})
