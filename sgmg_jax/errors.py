"""The exception for bad input, which is shown to users in one line."""


class UserError(ValueError):
  """Bad input: names the file or field and what was expected, in one line.

  The command line prints it without a traceback and exits with code 2.
  """


def first_line(error: BaseException, length: int | None = None) -> str:
  """The first line of an error's message, cut to a length: libraries write
  pages."""
  return str(error).strip().partition("\n")[0][:length]
