"""Results on a screen: as HTML in a notebook, or in the system's viewer."""

from __future__ import annotations

import base64
import html
import io
import itertools
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import PIL.Image

from sgmg_jax.pictures import overlay

if TYPE_CHECKING:
  from sgmg_jax.inference import results

# Frames of a sheet.
_COLUMNS = 5


def contact_sheet(found: results.Segmentation) -> PIL.Image.Image:
  """A few frames and every sentence's masks.

  Where the frames are gone, as those of an iterator are, the masks lie on grey.
  """
  num_frames = found.masks.shape[1]
  chosen = np.linspace(0, num_frames - 1, min(_COLUMNS, num_frames))
  chosen = set(np.round(chosen).astype(int).tolist())
  sheet = overlay.ContactSheet(
    *found.video.shown_size, found.expressions, columns=_COLUMNS
  )
  if found.video.rereadable:
    frames = iter(found.video)
  else:
    size = found.video.height, found.video.width
    frames = itertools.repeat(np.full((*size, 3), 110, np.uint8))
  for index, frame in zip(range(num_frames), frames):
    if index in chosen:
      sheet.add(
        frame, found.masks[:, index], found.scores[:, index], found.times[index]
      )
  return sheet.image(f"{found.video.name}, {num_frames} frames")


def page(
  sheet: PIL.Image.Image, expressions: Sequence[str], scores: Sequence[float]
) -> str:
  """HTML with the picture inside, for `_repr_html_`."""
  data = io.BytesIO()
  sheet.save(data, "JPEG", quality=85)
  encoded = base64.b64encode(data.getvalue()).decode("ascii")
  rows = "".join(
    f"<tr><td>{score:.2f}</td><td>{html.escape(text)}</td></tr>"
    for text, score in zip(expressions, scores)
  )
  return (
    f'<img src="data:image/jpeg;base64,{encoded}">'
    f"<table><tr><th>score</th><th>sentence</th></tr>{rows}</table>"
  )


def show(picture: PIL.Image.Image) -> None:
  """Show a picture in the notebook, or else in the system's viewer."""
  ipython = sys.modules.get("IPython")
  if ipython is not None and ipython.get_ipython() is not None:
    ipython.display.display(picture)
  else:
    picture.show()
