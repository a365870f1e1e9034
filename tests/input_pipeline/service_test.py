"""A service is reached from where it was told to be, and nowhere else."""

import signal
import socket
import subprocess
import sys

import pytest

from sgmg_jax import errors
from sgmg_jax.input_pipeline import service


def bound_to(listening):
  option = listening.getsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, 16)
  return option.rstrip(b"\0").decode()


linux = pytest.mark.skipif(sys.platform != "linux", reason="Linux only")


@linux
def test_sockets_of_the_context_are_tied_to_loopback():
  with socket.create_server(("", 0)) as before:
    with service._on_loopback():
      inside = socket.create_server(("", 0))
    with inside:
      assert (bound_to(before), bound_to(inside)) == ("", "lo")
      with socket.create_connection(inside.getsockname(), 5):
        pass


@linux
def test_what_cannot_be_restricted_is_refused(monkeypatch):
  with pytest.raises(errors.UserError, match="found no listening socket"):
    with service._on_loopback():
      pass
  monkeypatch.delattr(socket, "SO_BINDTODEVICE")
  with pytest.raises(errors.UserError, match="all network interfaces.*--host"):
    with service._on_loopback(), socket.create_server(("", 0)):
      server = socket.create_server(("", 0))
  server.close()


def test_ctrl_c_ends_a_service_that_waits(monkeypatch):
  class Service:
    address = "localhost:5050"

    def __init__(self, port, host):
      pass

    def join(self):
      handlers.append(signal.getsignal(signal.SIGINT))

  handlers = []
  monkeypatch.setattr(service, "Service", Service)
  monkeypatch.setattr(sys, "argv", ["service"])
  before = signal.getsignal(signal.SIGINT)
  try:
    service.main()
  finally:
    signal.signal(signal.SIGINT, before)
  assert handlers == [signal.SIG_DFL]


CHECK = """
import socket, sys
from sgmg_jax.input_pipeline import service
served = service.Service(host=sys.argv[1])
for fd in service._listening().values():
  with socket.socket(fileno=fd) as s:
    print(s.getsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, 16)[:2])
    s.detach()
"""


@linux
@pytest.mark.slow
def test_a_service_listens_on_loopback_unless_told_otherwise():
  pytest.importorskip("tensorflow")
  for host, device in (("localhost", b"lo"), (socket.gethostname(), b"")):
    printed = subprocess.run(
      [sys.executable, "-c", CHECK, host],
      stdout=subprocess.PIPE,
      check=True,
      text=True,
    ).stdout.split()
    # The dispatcher and its worker.
    assert printed == [repr(device)] * 2
