"""Sentences about a clip, each of which identifies one object.

A sentence is a noun phrase and a key: looks, size, place, relation, motion
or order of appearance. Each part brings its words and its predicates; the
sentence is used only if the judge finds that the predicates together
identify the object. Where possible the noun phrase alone does not, so that
the key matters.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Iterator, Sequence

from sgmg_jax.input_pipeline.refshapes import facts as facts_lib
from sgmg_jax.input_pipeline.refshapes import lexicon, predicates

Predicate = predicates.Predicate
Meaning = predicates.Meaning

KINDS = ("appearance", "size", "place", "relation", "motion", "order")
MAX_WORDS = 14
PER_OBJECT = 4
# Attribute sets a noun phrase may name, with their weights.
_NOUNS = {
  (): 0.8,
  ("shape",): 2.2,
  ("colour",): 1.0,
  ("colour", "shape"): 2.2,
  ("texture", "shape"): 0.8,
  ("texture", "colour", "shape"): 0.6,
}
# Attribute sets that describe by looks alone.
_LOOKS = {
  ("shape",): 2.0,
  ("colour",): 1.0,
  ("colour", "shape"): 2.0,
  ("texture",): 0.6,
  ("texture", "shape"): 1.2,
  ("texture", "colour"): 0.8,
  ("texture", "colour", "shape"): 1.6,
}
# How much a kind is wanted among an object's sentences.
_KIND_WEIGHTS = {
  "appearance": 1.2,
  "size": 0.9,
  "place": 0.9,
  "relation": 1.0,
  "motion": 1.5,
  "order": 1.4,
}


@dataclasses.dataclass(frozen=True)
class Expression:
  """A sentence, the object it identifies, its kind, and what it says."""

  text: str
  object_index: int
  kind: str
  meaning: Meaning


@dataclasses.dataclass(frozen=True)
class _Noun:
  """Words of a noun phrase without article, and what they say."""

  head: str
  tail: str
  meaning: Meaning

  def phrase(self, article: str, before: str = "") -> str:
    head = f"{before} {self.head}" if before else self.head
    if article == "a" and head[0] in "aeiou":
      article = "an"
    return " ".join(filter(None, (article, head, self.tail)))

  def plural(self) -> str:
    first, _, last = self.head.rpartition(" ")
    last = lexicon.PLURALS.get(last, last + "s")
    return " ".join(filter(None, (first, last, self.tail)))


def describe(facts: facts_lib.Facts, rng: random.Random) -> list[Expression]:
  """Up to `PER_OBJECT` sentences for every object that can be singled out.

  Kinds are mixed; an object that is hardly seen gets none. No text occurs
  twice.
  """
  judge = predicates.Judge(facts)
  speaker = _Speaker(judge, rng)
  expressions: list[Expression] = []
  for index in range(facts.num_objects):
    if 4 * int(facts.num_seen[index]) < facts.num_frames:
      continue
    expressions += speaker.sentences(index, PER_OBJECT)
  return expressions


class _Speaker:
  """Makes sentences about one clip."""

  def __init__(self, judge: predicates.Judge, rng: random.Random):
    self.judge = judge
    self.rng = rng
    self.bodies = judge.facts.bodies
    self.makers = {kind: getattr(self, f"_{kind}") for kind in KINDS}

  def sentences(self, index: int, count: int) -> list[Expression]:
    kinds = self._shuffled(_KIND_WEIGHTS)
    made: dict[str, Expression] = {}
    for _ in range(2):  # A second round only where kinds were too few.
      for kind in kinds:
        if len(made) == count:
          break
        for text, meaning in self.makers[kind](index):
          fits = len(text.split()) <= MAX_WORDS and text not in made
          if fits and self.judge.identifies(meaning, index):
            made[text] = Expression(text, index, kind, meaning)
            break
      if len(made) >= min(count, 2):
        break
    return list(made.values())

  # Each maker yields (text, meaning) in the order of preference; whether the
  # meaning identifies the object is the caller's question.

  def _appearance(self, index: int) -> Iterator[tuple[str, Meaning]]:
    for names in self._shuffled(_LOOKS):
      noun = self._noun(index, names)
      yield noun.phrase(self._article()), noun.meaning

  def _size(self, index: int):
    for noun in self._vague_first(index):
      group = self.judge.verdict(noun.meaning)
      forms = ["word", "most", "least"]
      self.rng.shuffle(forms)
      for form in forms:
        if form == "word":
          size = self.bodies[index].size
          word = self._choice(lexicon.SIZE_WORDS[size])
          predicate = Predicate("size", size)
          text = noun.phrase(self._article(), word)
        else:
          predicate = Predicate(form, "size", noun.meaning)
          pair = group.yes.bit_count() == 2
          text = self._compare_size(noun, form == "most", pair)
        if self.judge.holds(predicate, index):
          yield text, noun.meaning + (predicate,)

  def _compare_size(self, noun: _Noun, largest: bool, pair: bool) -> str:
    if pair and self.rng.random() < 0.7:
      word = self._choice(("larger", "bigger") if largest else ("smaller",))
      return f"the {word} of the two {noun.plural()}"
    word = self._choice(("largest", "biggest") if largest else ("smallest",))
    return noun.phrase("the", word)

  def _place(self, index: int):
    keys = self._held(index, _PLACES)
    sides = [p.value for p in keys if p.name == "side"]
    for noun in self._vague_first(index):
      options: list[tuple[str, Meaning]] = []
      for key in keys:
        if key.name in ("starts", "ends"):
          clauses = lexicon.START_CLAUSES
          if key.name == "ends":
            clauses = lexicon.END_CLAUSES
          clause = f"that {self._choice(clauses[key.value])}"
          options.append((self._attach(noun, clause), (key,)))
        else:
          tails = lexicon.MIDDLE_TAILS
          if key.name == "side":
            tails = lexicon.SIDE_TAILS[key.value]
          options.append((self._attach(noun, self._choice(tails)), (key,)))
      if len(sides) == 2:
        across, along = sides if sides[0] in ("left", "right") else sides[::-1]
        tail = self._choice(lexicon.CORNER_TAILS).format(along, across)
        both = tuple(Predicate("side", side) for side in sides)
        options.append((self._attach(noun, tail), both))
      for (name, axis), words in lexicon.EXTREMES.items():
        key = Predicate(name, axis, noun.meaning)
        if self.judge.holds(key, index):
          options.append((self._extreme(noun, words), (key,)))
      self.rng.shuffle(options)
      for text, key_meaning in options:
        yield text, noun.meaning + key_meaning

  def _extreme(self, noun: _Noun, words) -> str:
    before, after, comparative = words
    u = self.rng.random()
    if u < 0.5:
      return noun.phrase("the", self._choice(before))
    group = self.judge.verdict(noun.meaning)
    if u < 0.75 and group.yes.bit_count() == 2:
      return f"the {comparative} one of the two {noun.plural()}"
    return f"{noun.phrase('the')} {self._choice(after)}"

  def _relation(self, index: int):
    others = [i for i in range(len(self.bodies)) if i != index]
    self.rng.shuffle(others)
    named = [n for n in map(self._reference, others) if n is not None]
    keys = []
    for other in named:
      for (name, value), tails in lexicon.RELATION_TAILS.items():
        key = Predicate(name, value, other.meaning)
        if self.judge.holds(key, index):
          keys.append((key, tails, other))
    self.rng.shuffle(keys)
    # Occlusion is rarer than the rest: it goes first more often than not.
    keys.sort(key=lambda k: k[0].name == "depth" and self.rng.random() < 0.6)
    for noun in self._vague_first(index):
      for key, tails, other in reversed(keys):
        tail = self._choice(tails).format(other.phrase("the"))
        yield self._attach(noun, tail), noun.meaning + (key,)

  def _reference(self, index: int) -> _Noun | None:
    """A short phrase that identifies the other object of a relation."""
    for names in self._shuffled(_LOOKS):
      noun = self._noun(index, names)
      if len(names) < 3 and self.judge.identifies(noun.meaning, index):
        return noun
    return None

  def _motion(self, index: int):
    keys = self._held(index, _MOTIONS)
    fastest = self._choice(lexicon.FASTEST_TAILS)
    for noun in self._vague_first(index):
      options = [(key, self._move(noun, index, key)) for key in keys]
      key = Predicate("most", "speed", noun.meaning)
      if self.judge.holds(key, index):
        if self.judge.verdict(noun.meaning).yes.bit_count() == 2:
          text = f"the faster of the two {noun.plural()}"
        else:
          text = f"{noun.phrase('the')} {fastest}"
        options.append((key, text))
      # That a thing merely moves comes last: its direction says more.
      self.rng.shuffle(options)
      options.sort(key=lambda option: option[0].name == "moves")
      for key, text in options:
        yield text, noun.meaning + (key,)

  def _move(self, noun: _Noun, index: int, key: Predicate) -> str:
    if key.name != "heads":
      finite, participle = self._choice(
        lexicon.MOTION_PHRASES[key.name, key.value]
      )
    else:
      verb = self._choice(lexicon.MOVE_VERBS)
      sideways = key.value in ("left", "right")
      if self.bodies[index].motion.rolls and sideways:
        verb = lexicon.ROLL_VERB if self.rng.random() < 0.5 else verb
      where = self._choice(lexicon.DIRECTIONS[key.value])
      finite, participle = f"{verb[0]} {where}", f"{verb[1]} {where}"
    return self._clause(noun, finite, participle)

  def _order(self, index: int):
    keys = self._held(index, _ORDERS)
    # Most objects stay: left alone, that would be most of what is said.
    if self.rng.random() < 0.6:
      keys = [key for key in keys if key.name != "stays"]
    for noun in self._vague_first(index):
      options = []
      for key in keys:
        words = self._choice(lexicon.ORDER_CLAUSES[key.name])
        options.append((self._clause(noun, *words), (key,)))
      for (name, value), words in lexicon.ORDER_SUPERLATIVES.items():
        # To enter first or leave last one has to enter or leave at all.
        event = {
          ("least", "entry"): (Predicate("enters"),),
          ("most", "exit"): (Predicate("leaves"),),
        }.get((name, value), ())
        key = Predicate(name, value, noun.meaning + event)
        if self.judge.holds(key, index):
          before, after = self._choice(words)
          text = f"{noun.phrase('the', before)} {after}"
          options.append((text, event + (key,)))
      self.rng.shuffle(options)
      for text, key_meaning in options:
        yield text, noun.meaning + key_meaning

  # Building blocks.

  def _held(self, index: int, keys: Sequence[Predicate]) -> list[Predicate]:
    return [key for key in keys if self.judge.holds(key, index)]

  def _vague_first(self, index: int) -> list[_Noun]:
    """Noun phrases, mostly those first that leave several candidates."""
    nouns = [self._noun(index, names) for names in self._shuffled(_NOUNS)]
    if self.rng.random() < 0.85:
      nouns.sort(key=lambda n: self.judge.identifies(n.meaning, index))
    return nouns

  def _noun(self, index: int, names: tuple[str, ...]) -> _Noun:
    body = self.bodies[index]
    words, tail = [], ""
    for name in names:
      value = getattr(body, name)
      if name == "colour":
        words.append(self._choice(lexicon.COLOUR_WORDS.get(value, (value,))))
      elif name == "texture":
        tails = lexicon.TEXTURE_TAILS.get(value)
        if tails and self.rng.random() < 0.25:
          tail = self._choice(tails)
        else:
          words.append(self._choice(lexicon.TEXTURE_WORDS[value]))
    nouns = lexicon.ANY_NOUNS
    if "shape" in names:
      nouns = lexicon.SHAPE_NOUNS[body.shape]
    words.append(self._choice(nouns))
    meaning = tuple(Predicate(name, getattr(body, name)) for name in names)
    return _Noun(" ".join(words), tail, meaning)

  def _attach(self, noun: _Noun, tail: str) -> str:
    return f"{noun.phrase(self._article())} {tail}"

  def _clause(self, noun: _Noun, finite: str, participle: str) -> str:
    phrase = noun.phrase(self._article())
    u = self.rng.random()
    if u < 0.5:
      return f"{phrase} {participle}"
    return f"{phrase} that {finite}" if u < 0.85 else f"{phrase} {finite}"

  def _article(self) -> str:
    return "the" if self.rng.random() < 0.7 else "a"

  def _choice(self, options: Sequence[str]):
    return self.rng.choice(options)

  def _shuffled(self, weights: dict) -> list:
    """Keys in random order, heavy ones tend to come early."""
    rank = {k: self.rng.random() ** (1.0 / w) for k, w in weights.items()}
    return sorted(weights, key=rank.__getitem__, reverse=True)


_PLACES = (
  *(Predicate("side", side) for side in lexicon.SIDE_TAILS),
  Predicate("middle"),
  *(Predicate("starts", side) for side in lexicon.START_CLAUSES),
  *(Predicate("ends", side) for side in lexicon.END_CLAUSES),
)
_MOTIONS = (
  *(Predicate("heads", heading) for heading in lexicon.DIRECTIONS),
  *(Predicate(*key) for key in lexicon.MOTION_PHRASES),
)
_ORDERS = tuple(Predicate(name) for name in lexicon.ORDER_CLAUSES)
