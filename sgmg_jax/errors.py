"""The one exception that means "what you gave us is wrong"."""


class UserError(ValueError):
  """Bad input: names the file or field and what was expected, in one line.

  The command line prints it without a traceback and exits with code 2.
  """
