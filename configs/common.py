"""What config files share."""


def parse_arg(arg, **defaults):
  """Settings from the text behind the colon of `--config=file.py:text`.

  Args:
    arg: "key=value,flag,...", or None. A key alone means True.
    **defaults: every key there is; a value takes its default's type.

  Returns:
    The defaults with what `arg` sets.

  Raises:
    ValueError: unknown key, or a value of another type.
  """
  settings = dict(defaults)
  for part in filter(None, (arg or "").split(",")):
    key, _, value = part.partition("=")
    if key not in defaults:
      known = ", ".join(defaults)
      raise ValueError(f"unknown config argument {key!r}; known: {known}")
    kind = type(defaults[key])
    if kind is bool:
      if value not in ("", "True", "False"):
        raise ValueError(f"config argument {part!r}: expected True or False")
      settings[key] = value != "False"
    else:
      settings[key] = kind(value)
  return settings
