"""`python -m sgmg_jax`, the same as `sgmg`."""

import sys

from sgmg_jax.cli import main

if __name__ == "__main__":
  sys.exit(main.main())
