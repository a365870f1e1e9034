"""Words and turns of phrase of RefShapes sentences."""

from __future__ import annotations

SHAPE_NOUNS = {
  "circle": ("ball", "ball", "circle", "disc"),
  "square": ("square", "square", "box"),
  "triangle": ("triangle",),
  "star": ("star",),
  "ring": ("ring", "ring", "donut"),
  "cross": ("cross", "plus sign"),
  "heart": ("heart",),
  "diamond": ("diamond",),
  "crescent": ("crescent", "moon"),
}
ANY_NOUNS = ("object", "object", "shape", "thing")
PLURALS = {"box": "boxes", "cross": "crosses"}

COLOUR_WORDS = {
  "purple": ("purple", "violet"),
  "turquoise": ("turquoise", "cyan"),
}
SIZE_WORDS = {
  "small": ("small", "little", "tiny"),
  "medium": ("medium", "medium sized"),
  "large": ("large", "big", "huge"),
}
TEXTURE_WORDS = {
  "plain": ("plain",),
  "striped": ("striped",),
  "dotted": ("dotted", "spotted"),
  "checkered": ("checkered",),
}
TEXTURE_TAILS = {
  "striped": ("with stripes",),
  "dotted": ("with dots", "with spots"),
  "checkered": ("with a checkered pattern",),
}

# By predicate value.
SIDE_TAILS = {
  "left": ("on the left", "on the left side", "at the left of the frame"),
  "right": ("on the right", "on the right side", "at the right of the frame"),
  "top": ("at the top", "in the upper half", "at the top of the frame"),
  "bottom": (
    "at the bottom",
    "in the lower half",
    "at the bottom of the frame",
  ),
}
# By (vertical, horizontal) sides.
CORNER_TAILS = (
  "in the {} {} corner",
  "at the {} {}",
  "in the {} {} of the frame",
)
MIDDLE_TAILS = (
  "in the middle",
  "in the center",
  "near the center of the frame",
)
# By (predicate, value); superlatives of place.
EXTREMES = {
  ("least", "x"): (("leftmost",), ("furthest to the left",), "left"),
  ("most", "x"): (("rightmost",), ("furthest to the right",), "right"),
  ("least", "y"): (("topmost", "highest"), ("closest to the top",), "upper"),
  ("most", "y"): (("lowest",), ("closest to the bottom",), "lower"),
}
START_CLAUSES = {
  "left": ("starts on the left", "begins on the left"),
  "right": ("starts on the right", "begins on the right"),
  "top": ("starts at the top", "begins at the top"),
  "bottom": ("starts at the bottom", "begins at the bottom"),
}
END_CLAUSES = {
  "left": ("ends up on the left", "ends on the left"),
  "right": ("ends up on the right", "ends on the right"),
  "top": ("ends up at the top", "ends at the top"),
  "bottom": ("ends up at the bottom", "ends at the bottom"),
}

# Verbs as (finite, participle).
MOVE_VERBS = (
  ("moves", "moving"),
  ("moves", "moving"),
  ("goes", "going"),
  ("travels", "traveling"),
  ("slides", "sliding"),
)
ROLL_VERB = ("rolls", "rolling")
DIRECTIONS = {
  "left": ("left", "to the left", "towards the left", "leftwards"),
  "right": ("right", "to the right", "towards the right", "rightwards"),
  "up": ("up", "upwards", "towards the top"),
  "down": ("down", "downwards", "towards the bottom"),
  "up left": ("up and left", "to the upper left"),
  "up right": ("up and right", "to the upper right"),
  "down left": ("down and left", "to the lower left"),
  "down right": ("down and right", "to the lower right"),
}
# By (predicate, value): (finite, participle) phrases.
MOTION_PHRASES = {
  ("still", ""): (
    ("stands still", "standing still"),
    ("does not move", "not moving"),
    ("stays in place", "staying in place"),
  ),
  ("moves", ""): (("moves", "moving"), ("changes place", "changing place")),
  ("path", "curve"): (
    ("moves in a curve", "moving in a curve"),
    ("follows a curved path", "following a curved path"),
  ),
  ("path", "circle"): (
    ("moves in a circle", "moving in a circle"),
    ("goes around in a circle", "going around in a circle"),
  ),
  ("path", "bounce"): (
    ("bounces", "bouncing"),
    ("bounces up and down", "bouncing up and down"),
    ("hops along", "hopping along"),
  ),
  ("path", "shuttle"): (
    ("moves back and forth", "moving back and forth"),
    ("turns around and comes back", "turning around and coming back"),
  ),
  ("spins", ""): (
    ("rotates", "rotating"),
    ("spins", "spinning"),
    ("turns around itself", "turning around itself"),
  ),
  ("grows", ""): (
    ("grows", "growing"),
    ("gets bigger", "getting bigger"),
    ("becomes larger", "becoming larger"),
  ),
  ("shrinks", ""): (
    ("shrinks", "shrinking"),
    ("gets smaller", "getting smaller"),
    ("becomes smaller", "becoming smaller"),
  ),
}
FASTEST_TAILS = (
  "moving fastest",
  "that moves the fastest",
  "that is the fastest",
)

# Order of appearance, by predicate.
ORDER_CLAUSES = {
  "enters": (
    ("enters", "entering"),
    ("comes into view", "coming into view"),
    ("enters the frame", "entering the frame"),
    ("appears later", "appearing later"),
  ),
  "leaves": (
    ("leaves", "leaving"),
    ("goes out of view", "going out of view"),
    ("leaves the frame", "leaving the frame"),
    ("disappears", "disappearing"),
  ),
  "stays": (
    ("is always in view", "always in view"),
    ("stays in view", "staying in view"),
    ("is visible the whole time", "visible the whole time"),
  ),
}
# By (predicate, value): (before the noun, after the noun).
ORDER_SUPERLATIVES = {
  ("least", "entry"): (
    ("first", "to enter"),
    ("first", "to appear"),
    ("", "that enters first"),
  ),
  ("most", "entry"): (
    ("last", "to appear"),
    ("last", "to enter"),
    ("", "that appears last"),
    ("", "that comes last"),
  ),
  ("least", "exit"): (
    ("first", "to leave"),
    ("first", "to disappear"),
    ("", "that leaves first"),
  ),
  ("most", "exit"): (
    ("last", "to leave"),
    ("last", "to disappear"),
    ("", "that leaves last"),
  ),
}

# Relations, by (predicate, value); "{}" is the other object.
RELATION_TAILS = {
  ("beside", "left"): ("left of {}", "to the left of {}"),
  ("beside", "right"): ("right of {}", "to the right of {}"),
  ("beside", "top"): ("above {}", "higher than {}"),
  ("beside", "bottom"): ("below {}", "under {}", "lower than {}"),
  ("near", ""): ("next to {}", "close to {}", "beside {}"),
  ("depth", "front"): (
    "in front of {}",
    "passing in front of {}",
    "covering part of {}",
  ),
  ("depth", "behind"): (
    "behind {}",
    "passing behind {}",
    "partly hidden by {}",
  ),
  ("exceeds", "larger"): ("bigger than {}", "larger than {}"),
  ("exceeds", "smaller"): ("smaller than {}",),
}
