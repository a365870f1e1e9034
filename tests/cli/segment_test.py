"""`sgmg segment` as users run it: results, and one line for bad input."""

import json
import os
import pathlib
import subprocess
import sys

import av
import numpy as np
import PIL.Image
import pytest

from sgmg_jax.cli import main as cli
from sgmg_jax.inference import results
from sgmg_jax.pictures import video_writer


# Sizes and lengths are those of the predictor's tests: compiled only once.
def _write_video(path, num_frames, height=150, width=160):
  ramp = np.linspace(0, 200, width, dtype=np.uint8)
  with video_writer.VideoWriter(path, fps=8) as writer:
    for index in range(num_frames):
      frame = np.broadcast_to(ramp[None, :, None], (height, width, 3)).copy()
      frame[8:24, index % width : index % width + 16] = (255, 0, 0)
      writer.write(frame)
  return path


@pytest.fixture(scope="module")
def video(tmp_path_factory):
  return _write_video(tmp_path_factory.mktemp("video") / "v.mp4", 8)


@pytest.fixture
def command(mu_checkpoint, video, tmp_path):
  """Arguments by name; the test changes what it is about."""
  return {
    "checkpoint": str(mu_checkpoint),
    "video": str(video),
    "expression": ["a red square", "the dog"],
    "out": str(tmp_path / "out"),
  }


def _run(command, *more):
  arguments = ["segment"]
  for name, value in command.items():
    for item in value if isinstance(value, list) else [value]:
      arguments += [f"--{name}", item]
  return cli.main([*arguments, *more])


def test_segment_writes_results(command, tmp_path, capsys):
  assert _run(command) == 0
  saved = json.loads((tmp_path / "out" / "results.json").read_text())
  assert saved["video"]["name"] == "v.mp4"
  assert saved["video"]["num_frames"] == 8
  assert [e["text"] for e in saved["expressions"]] == command["expression"]
  mask = results.decode_rle(saved["expressions"][1]["frames"][7]["rle"])
  path = tmp_path / "out" / saved["expressions"][1]["masks"] / "00007.png"
  np.testing.assert_array_equal(np.asarray(PIL.Image.open(path)), mask)
  with av.open(str(tmp_path / "out" / "overlay.mp4")) as overlay:
    assert sum(1 for _ in overlay.decode(video=0)) == 8
  output = capsys.readouterr()
  assert "8 frames" in output.out and "contact_sheet.png" in output.out
  assert "8/8 frames" in output.err


def test_a_linked_folder_gets_the_results(command, tmp_path):
  (tmp_path / "disk").mkdir()
  (tmp_path / "out").symlink_to("disk")
  assert _run(command, "--quiet") == 0
  assert (tmp_path / "out").is_symlink()
  assert (tmp_path / "disk" / "results.json").exists()
  assert _run(command, "--quiet", "--overwrite") == 0
  assert (tmp_path / "out").is_symlink()


def test_damage_ends_the_run_on_request(command, tmp_path, capsys):
  cases = pathlib.Path(__file__).parents[1] / "video_cases"
  command["video"] = str(cases / "one_bad_packet.mp4")
  assert _run(command, "--on_error", "error", "--quiet") == 2
  error = capsys.readouterr().err
  assert error.startswith("sgmg: error: ") and error.count("\n") == 1
  assert "one_bad_packet.mp4: damaged after" in error
  assert not (tmp_path / "out").exists()


def test_options_reach_the_predictor(command, tmp_path, capsys):
  assert _run(command, "--threshold", "0.9", "--quiet", "--fps", "4") == 0
  strict = json.loads((tmp_path / "out" / "results.json").read_text())
  assert strict["threshold"] == 0.9 and strict["video"]["fps"] == 4
  assert capsys.readouterr() == ("", "")
  assert _run(command) == 2
  assert "not empty" in capsys.readouterr().err
  assert _run(command, "--overwrite", "--window", "4") == 0
  windowed = json.loads((tmp_path / "out" / "results.json").read_text())
  assert windowed["threshold"] == 0.5


@pytest.mark.parametrize(
  "name, value, message",
  [
    ("video", "none.mp4", "no such file"),
    ("video", "corrupt.mp4", "not a readable video"),
    ("video", "empty.mp4", "is empty"),
    ("video", "frameless.mp4", "no video stream"),
    ("video", "folder", "no images"),
    ("expression", [" "], "is empty"),
    ("expression", ["caf\udce9"], "is not text in UTF-8"),
    ("checkpoint", "no-such-model", "no checkpoint 'no-such-model'"),
    ("checkpoint", "folder", "no native checkpoint"),
    ("threshold", "1.5", "threshold 1.5"),
    ("window", "0", "window 0"),
    ("fps", "0", "fps 0.0"),
    ("out", "corrupt.mp4", "a file"),
    ("out", "full", "not empty"),
    ("out", "/dev/null/out", "cannot write /dev/null/out"),
  ],
)
def test_bad_input_is_one_line_and_code_2(
  command, tmp_path, monkeypatch, capsys, name, value, message
):
  monkeypatch.chdir(tmp_path)
  (tmp_path / "corrupt.mp4").write_bytes(b"\0" * 5000)
  (tmp_path / "empty.mp4").touch()
  with av.open(str(tmp_path / "frameless.mp4"), "w") as container:
    container.add_stream("libx264", rate=8).pix_fmt = "yuv420p"
    container.start_encoding()
  (tmp_path / "folder").mkdir()
  (tmp_path / "full").mkdir()
  (tmp_path / "full" / "file").touch()
  before = sorted(tmp_path.rglob("*"))
  assert _run(command | {name: value}) == 2
  output = capsys.readouterr()
  assert output.out == "" and output.err.count("\n") == 1
  assert output.err.startswith("sgmg: error: ") and message in output.err
  assert sorted(tmp_path.rglob("*")) == before, "nothing is left behind"


def test_damage_in_the_middle_leaves_nothing(command, tmp_path, capsys):
  folder = tmp_path / "frames"
  folder.mkdir()
  noise = np.random.RandomState(0).randint(0, 255, (6, 150, 160, 3), np.uint8)
  for index, frame in enumerate(noise):
    PIL.Image.fromarray(frame).save(folder / f"{index}.png")
  data = (folder / "5.png").read_bytes()
  (folder / "5.png").write_bytes(data[: len(data) // 2])
  assert _run(command | {"video": str(folder)}, "--window", "4") == 2
  assert "5.png: damaged" in capsys.readouterr().err
  assert [path.name for path in tmp_path.iterdir()] == ["frames"]


_MEASURE = """
import pathlib, re, sys
from sgmg_jax.cli import main
def peak(video, out):
  # Resets the peak: compiling needs more than running, and would hide it.
  pathlib.Path("/proc/self/clear_refs").write_text("5")
  code = main.main(["segment", "--checkpoint", sys.argv[1], "--video", video,
                    "--expression", "the dog", "--out", out, "--quiet",
                    "--window", "36"])
  assert code == 0
  status = pathlib.Path("/proc/self/status").read_text()
  return int(re.search(r"VmHWM:\\s+(\\d+)", status)[1]) // 1024
# The allocator, too, needs some windows to settle.
peak(sys.argv[2], "warm")
print(peak(sys.argv[2], "short"), peak(sys.argv[3], "long"))
"""


@pytest.mark.slow
@pytest.mark.skipif(
  not os.access("/proc/self/clear_refs", os.W_OK), reason="needs Linux"
)
def test_memory_does_not_grow_with_the_video(mu_checkpoint, tmp_path):
  """252 frames more would be 163 MB decoded, and 54 MB of masks on top.

  The model sees them as small as those of the other tests.
  """
  short = _write_video(tmp_path / "short.mp4", 72, 450, 480)
  long = _write_video(tmp_path / "long.mp4", 324, 450, 480)
  process = subprocess.run(
    [sys.executable, "-c", _MEASURE, str(mu_checkpoint), short, long],
    cwd=tmp_path,
    stdout=subprocess.PIPE,
    text=True,
    check=True,
  )
  peak_short, peak_long = map(int, process.stdout.split())
  print(f"peak MiB: {peak_short} for 72 frames, {peak_long} for 324")
  assert len(list((tmp_path / "long" / "masks").rglob("*.png"))) == 324
  # 25 to 60 come from the allocators; the frames alone would be more.
  assert peak_long - peak_short < 100
