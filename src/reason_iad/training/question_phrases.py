"""How questions are worded, and which answers may not stand against each other."""

from __future__ import annotations

REPORT = ("Describe the image as an inspector.", "Write a short inspection report.", "What do you see in the image?")

# Defect types that no one could tell apart from the image alone are never offered against each other.
CONFUSABLE = (
    {"stain", "discoloration", "contamination", "burn mark", "mold"},
    {"loose fiber", "broken thread", "scratch"},
    {"missing imprint", "missing print"},
    {"spur", "spurious copper", "bridged traces"},
    {"hole", "pit", "missing dots"},
    {"chip", "broken", "broken tablet", "mouse bite", "broken tooth"},
    {"crack", "cut", "open trace", "broken wire"},
    {"dent", "uneven surface", "bubble"},
    {"open trace", "mouse bite", "interrupted busbar"},
    {"crease", "cut"},
    {"foreign part", "contamination", "spurious copper"},
    {"cut", "scratch"},
    {"wear", "scratch"},
    {"wrong color half", "discoloration"},
    {"hole", "missing screw", "missing key"},
    {"burr", "spur"},
    {"missing cable", "missing wire"},
    {"missing hole", "blocked hole"},
    {"crack", "scratch"},
    {"corrosion", "stain", "discoloration", "contamination"},
    {"hole", "cut"},
    {"missing terminal", "missing tip"},
    {"patch", "anomalous patch", "stain", "contamination", "foreign part", "discoloration"},
)
NEAR_COLORS = (
    {"white", "gray", "beige"},
    {"gray", "black"},
    {"orange", "yellow", "red", "brown", "beige"},
    {"red", "pink"},
    {"pink", "beige", "white"},
    {"brown", "black"},
    {"blue", "black"},
    {"yellow", "white"},
    {"green", "black"},
)
COLORS = ("white", "gray", "black", "red", "blue", "green", "yellow", "orange", "brown", "beige", "pink")
# Visible facts of a line: what is asked, and among which answers; a number where none are listed.
FACTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "color": ("What color is the object?", COLORS),
    "ink": ("What color is the print on the object?", COLORS),
    "label": ("What color is the paper of the label?", COLORS),
    "container": ("What color is the container?", COLORS),
    "eyes": ("What color are the eyes of the object?", COLORS),
    "jacket": ("What color is the jacket of the object?", COLORS),
    "left": ("What color is the left half of the object?", COLORS),
    "body": ("What color is the body of the object?", COLORS),
    "right": ("What color is the right half of a good object?", COLORS),
    "keys": ("How many keys does a complete object have?", ()),
    "sleeve": ("What color is the larger part of the sleeve?", COLORS),
    "band": ("What color is the band near the terminal?", COLORS),
    "key color": ("What color are the keys of the object?", COLORS),
    "look": (
        "What does the image of the object show?",
        ("green with light traces", "white with black traces", "black with white traces"),
    ),
    "relief": ("What relief covers the object?", ("ribs", "studs", "diagonal threads", "loops of yarn")),
    "outline": ("What outline does a good object have?", ("round", "oval", "a star", "a triangle")),
    "screws": ("How many screws does a complete object hold?", ()),
    "pins": ("How many pins does a complete object have?", ()),
    "balls": ("How many balls does a complete object have?", ()),
    "teeth": ("How many teeth does a complete object have?", ()),
    "busbars": ("How many busbars cross the object?", ()),
    "cables": ("How many cables does a complete object have?", ()),
    "wires": ("How many wires does a complete object have?", ()),
    "holes": ("How many holes does a complete object have?", ()),
    "bands": ("How many color bands does a complete object have?", ()),
    "blades": ("How many blades does a complete object have?", ()),
    "tablets": ("How many tablets does a complete object hold?", ()),
    "lines": ("How many lines of text does a complete object have?", ()),
}
NUMBERS = (
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
)

# Wrong answers of the same sort for facts of structure, by the first words of the question.
POOLS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("What outline", ("a star", "a long thin strip", "a sharp square", "a triangle", "a zigzag")),
    ("What shape does", ("a rectangle", "a square with cut corners", "a star", "a ring", "a triangle")),
    ("What shape do ", ("square", "round", "long and thin", "like a star")),
    ("In which direction", ("diagonally", "in circles", "nowhere; there are none", "in a zigzag")),
    ("How many", NUMBERS[1:9]),
    ("Of how many", NUMBERS[1:7]),
    ("How do", ("side by side", "in a spiral", "crossing each other", "in a knot")),
    ("How are", ("in even rows", "in a circle", "loosely in a heap", "in one spiral")),
)
POOL_WORDS = tuple(words for words, _ in POOLS)
