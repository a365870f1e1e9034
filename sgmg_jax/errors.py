"""The exception for bad input, which is shown to users in one line."""


class UserError(ValueError):
  """Bad input: names the file or field and what was expected, in one line.

  The command line prints it without a traceback and exits with code 2.
  """
