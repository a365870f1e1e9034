"""Parts that config files share."""

from ml_collections import ConfigDict

# Padded sizes of training batches, each compiled when first met. A clip goes
# into the smallest that holds what comes out of the transforms. They are
#   sgmg data buckets refer_ytvos --frames 720x1280
# of which 89 % are valid pixels (96 % in the released batches of one clip), and
# the same of COCO's images, roughly,
#   sgmg data buckets refcoco --frames 480x640:5 --frames 427x640:3 \
#       --frames 640x480:2 --frames 640x427:1
# of which 91 % are.
VIDEO_BUCKETS = (
  (384, 352),
  (288, 512),
  (352, 448),
  (320, 576),
  (416, 480),
  (512, 448),
  (448, 544),
  (384, 640),
  (480, 576),
  (512, 640),
  (640, 512),
  (672, 672),
)
IMAGE_BUCKETS = (
  (384, 384),
  (448, 416),
  (416, 512),
  (544, 480),
  (480, 640),
  (640, 512),
  (512, 704),
  (544, 800),
  (800, 544),
  (608, 800),
  (800, 608),
  (832, 832),
)

# Names of what the paper never trains from nothing (Kinetics, RoBERTa), and of
# everything.
ENCODERS = ("backbone_0/.*", "text_encoder/.*")
WHOLE = (".*",)


def parse_arg(arg, **defaults):
  """The defaults, with what the text behind the colon of `--config=name:text`
  sets.

  Args:
    arg: "key=value,flag,...", or None. A key alone means True; "help" names
      the keys.
    **defaults: every key there is; a value takes its default's type.

  Raises:
    ValueError: unknown key, or a value of another type; says what is known.
  """
  known = ", ".join(
    key if value is False else f"{key}={value or 'NAME'}"
    for key, value in defaults.items()
  )
  if arg == "help":
    raise ValueError(f"takes {known}; several with commas between them")
  settings = dict(defaults)
  for part in filter(None, (arg or "").split(",")):
    key, _, value = part.partition("=")
    if key not in defaults:
      raise ValueError(f"unknown config argument {key!r}; known: {known}")
    kind = type(defaults[key])
    try:
      if kind is bool:
        settings[key] = {"": True, "True": True, "False": False}[value]
      else:
        settings[key] = kind(value)
    except (KeyError, ValueError):
      expected = "True or False" if kind is bool else f"{key}={defaults[key]}"
      raise ValueError(
        f"config argument {part!r}: expected {expected}"
      ) from None
  return settings


def training(*, model):
  """What every training sets beside its data, its length and its export, as
  the paper does; `model` is the variant."""
  config = ConfigDict()
  config.seed = 0
  # Auxiliary losses, modules by name; the paper has none.
  config.auxiliary = ()
  config.tokenizer = ConfigDict()
  # A folder or a hub name; empty: learn one from sentences of this many
  # RefShapes clips.
  config.tokenizer.source = "FacebookAI/roberta-base"
  config.tokenizer.vocab_clips = 0
  config.tokenizer.max_tokens = 64
  add_logs(config, checkpoint_every=2000)

  # Model. Single sizes may be overridden: --config.model.width=64.
  config.model = ConfigDict(dict(name=model))
  # Of computation; "bfloat16" is faster and smaller on TPUs and GPUs.
  config.dtype = "float32"
  # Of float32 products on accelerators: "highest" as on a CPU, "default" with
  # operands rounded (TPU: bfloat16; GPU: TF32), which is faster.
  config.precision = "highest"
  # What is computed again in the backward pass, for less memory and more time:
  # "none", "blocks" (all that blocks compute) or "dots" (all but products with
  # weights).
  config.remat = "none"
  # Native checkpoints, whole or part, to start from: "a,b", the later wins.
  config.init_from = ""
  # Names of parameters, as regular expressions: those that init_from must
  # give, and those that are drawn anew all the same.
  config.init_required = ENCODERS
  config.reinitialise = ()
  # Whether groups may freeze parameters that no checkpoint gave.
  config.freeze_random = False
  # The released code leaves the dropout of a frozen text encoder on.
  config.frozen_text_dropout = False

  # Optimiser.
  config.optimizer = ConfigDict()
  # The paper's; "muon" suits a model that starts from nothing.
  config.optimizer.name = "adamw"
  # (regular expression on the parameter's name, multiplier of the learning rate
  # or None to freeze); the first match wins.
  config.optimizer.groups = ()
  config.optimizer.weight_decay = 5e-4
  config.optimizer.grad_clip = 0.1
  config.schedule = ConfigDict()
  config.schedule.learning_rate = 5e-5
  # Clips in a step that it is meant for, with more it grows; 0: it does not.
  config.schedule.batch_size = 0
  config.schedule.warmup_steps = 0
  config.schedule.drop_steps = ()
  # In epochs, beside those in steps.
  config.schedule.drop_epochs = ()
  config.schedule.drop_factor = 0.1
  # Moving average of the parameters, evaluated and exported; 0 is off.
  config.ema_decay = 0.0
  # Parts of a batch that are computed one after the other, for less memory.
  config.accumulation = 1
  add_devices(config)

  # The checkpoint that the run leaves behind is also written along the way.
  config.eval = ConfigDict(dict(every=10_000))
  # Evaluations that run before it is written, by name, see `evaluation`; and
  # the number whose best checkpoint is kept as `best/`, such as "davis/J&F".
  config.evals = ConfigDict()
  config.best = ""
  return config


def add_logs(config, checkpoint_every):
  config.log_every = 50
  config.checkpoint_every = checkpoint_every
  config.keep_checkpoints = 2
  # A folder of a bucket, "gs://bucket/run", that holds the checkpoints and what
  # else a run needs that loses its workdir; empty: the workdir holds them.
  config.checkpoint_dir = ""
  # Steps to be profiled, "first:count", such as "20:5"; empty: none.
  config.profile = ""
  # Steps in a row whose loss or gradient is infinite or NaN, which are skipped,
  # that end the run.
  config.max_skipped = 10


def paper(*, name, sets, num_frames, batch_size, buckets, model):
  """What the stages of the paper have in common (SgMg, ICCV 2023, section
  4.2; two GPUs). A stage sets `total_epochs`, `schedule` and the text
  encoder's group.

  `name` is that of the checkpoint that the run leaves behind, `sets` are (name,
  folder below data.root, how often it is listed) of the data sets, `batch_size`
  counts the clips in a step, over all devices, and `buckets` are padded sizes.
  """
  config = training(model=model)
  config.schedule.batch_size = batch_size
  # The run ends with the last epoch, or before if this is less; 0 epochs: no
  # limit.
  config.total_steps = 10_000_000
  config.total_epochs = 0

  # Clips and sentences.
  config.data = ConfigDict()
  config.data.kind = "sets"
  config.data.split = "train"
  config.data.root = "data"
  config.data.sets = sets
  config.data.num_frames = num_frames
  # Sentences of a training clip, about the same frames. With more than one a
  # clip has any number of them up to this.
  config.data.expressions_per_clip = 1
  config.data.batch_size = batch_size
  config.data.buckets = buckets
  # Of the readers, by data set.
  config.data.options = ConfigDict()
  # Probability that a training clip runs backwards, its sentence unchanged:
  # only for sentences that do not speak of motion or order.
  config.data.reverse = ConfigDict(
    dict(refer_ytvos=0.0, refer_davis=0.0, mevis=0.0, own=0.0)
  )
  # Whether images become clips.
  config.data.pseudo_video = False
  # Errors of the released pipeline, off unless it is to be reproduced.
  config.data.quirks = ConfigDict(
    dict(
      substring_caption_flip=False,
      flipped_box_offset=False,
      photometric_wraparound=False,
    )
  )
  # Whether sentences that refer to no object (MeViS, version 2) are trained
  # on; the released rule draws other samples in their place.
  config.data.no_target = True
  # Other sizes for the resizing transform.
  config.data.sizes = ConfigDict()
  config.data.num_threads = 8
  # Processes that load instead, for data that take much time in Python.
  config.data.num_workers = 0
  config.data.prefetch = 2
  # Records that cannot be read: "error" ends the run, "skip" takes others.
  config.data.on_error = "error"
  config.data.max_errors = 100
  # tf.data services that load instead, such as ("host:5050",).
  config.data.service = ()

  config.export = ConfigDict()
  config.export.name = name
  # Weights trained on a data set come under its terms.
  config.export.licence = "see the data sets' terms"
  config.export.dtype = "float32"
  # By task; videos have no longest side, as in the released evaluations.
  frames = dict(short_side=360, long_side=640)
  config.export.preprocess = ConfigDict(
    dict(
      video=dict(short_side=360, long_side=None),
      annotated_frames=frames,
      images=frames,
      window=36,
    )
  )
  return config


def evaluation(*, name, folder, split, window=0, options=None):
  """An evaluation, of `sgmg evaluate` or as an entry of `config.evals`.

  Args:
    name: of the data set.
    folder: of it, below data.root.
    split: to be predicted.
    window: frames that the model sees at once; 0: the whole video, or the
      checkpoint's window where memory lacks; of annotated frames, that frame.
    options: of the data set's reader.
  """
  config = ConfigDict()
  config.data = ConfigDict()
  config.data.name = name
  config.data.root = "data"
  config.data.folder = folder
  config.data.split = split
  config.data.options = ConfigDict(options or {})
  # Only the first so many videos; 0: all.
  config.data.num_videos = 0
  config.window = window
  # Sentences that go through the model together; 0: as many as it takes. Those
  # about the same frames may, "video", or one about each object, "objects".
  # Only what Fast SgMg answers depends on it.
  config.group = 0
  config.grouping = "video"
  # Probability that a mask pixel exceeds.
  config.threshold = 0.5
  # Of computation, as in training.
  config.dtype = "float32"
  config.precision = "highest"
  # That score; 0: one for each core.
  config.processes = 0
  return config


def add_evaluation(config, **arguments):
  """Evaluates a training along the way on a data set below its data.root, see
  `evaluation`; by the name of the set."""
  added = evaluation(**arguments)
  added.data.root = config.data.get_ref("root")
  config.evals[arguments["name"]] = added


def add_devices(config):
  """How a training lies on the devices, see docs/training.md."""
  # Sizes of the mesh; -1 takes what the other leaves. A batch is shared over
  # all devices, the state over those of fsdp.
  config.mesh = ConfigDict(dict(data=-1, fsdp=1))
  # (expression on names such as params/backbone_0/..., rule): "replicate",
  # "fsdp", or an axis of the mesh or None for every axis of the array.
  config.sharding = ((".*", "fsdp"),)


def groups(text, model):
  """Multipliers of the learning rate; None freezes.

  Args:
    text: of the text encoder.
    model: variant; of a ResNet the first convolution and stage are frozen, as
      in DETR and ReferFormer (its batch norm always is).
  """
  frozen = ()
  if model.startswith("resnet"):
    frozen = ((r"backbone_0/body/(conv1|layer1_\d+)/.*", None),)
  rest = (("backbone_0/.*", 0.5), ("text_encoder/.*", text), (".*", 1.0))
  return frozen + rest


def shorten(config):
  """A few steps of any size, at an even learning rate: a smoke test that is
  made longer by `total_steps` alone."""
  config.total_steps = 3
  config.total_epochs = 0
  config.data.num_frames = min(2, config.data.num_frames)
  config.data.num_threads = 2
  config.log_every = 1
  config.checkpoint_every = 2
  config.schedule.drop_epochs = ()
  config.schedule.drop_steps = ()
  config.eval.every = 3


def shrink(config):
  """A smoke test of a stage on miniature data, on a CPU, from nothing."""
  shorten(config)
  config.init_required = ()
  config.freeze_random = True
  config.data.buckets = ((160, 224), (224, 160))
  config.data.sizes = ConfigDict(
    dict(
      shorts=(144, 160),
      recrop_shorts=(144, 160),
      longest=224,
      crop_shorts=(160, 200),
      min_side=144,
      max_side=200,
    )
  )
  config.tokenizer.source = ""
  config.tokenizer.vocab_clips = 50
  config.tokenizer.max_tokens = 32
  # Every byte has a token, more than the smallest model has.
  config.model.vocab_size = 320
  for task in ("video", "annotated_frames", "images"):
    config.export.preprocess[task] = dict(short_side=144, long_side=320)
  config.export.preprocess.window = 8
