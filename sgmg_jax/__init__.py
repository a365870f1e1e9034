"""Referring video object segmentation in JAX: SgMg."""

from importlib import import_module as _import_module

from sgmg_jax.errors import UserError as UserError

__version__ = "0.1.0"

# Loaded on first use, so that `import sgmg_jax` stays fast and light.
_LAZY = {
  "load": "sgmg_jax.inference.predictor",
  "Predictor": "sgmg_jax.inference.predictor",
  "SgMg": "sgmg_jax.model.sgmg",
}

__all__ = ["UserError", "__version__", *_LAZY]


def __getattr__(name: str):
  if name in _LAZY:
    return getattr(_import_module(_LAZY[name]), name)
  raise AttributeError(f"module 'sgmg_jax' has no attribute {name!r}")


def __dir__() -> list[str]:
  return sorted({*globals(), *_LAZY})
