"""The ``parts`` section of params.yaml."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from sightline.params import Count, Fraction, Section, Share


class Synthetic(Section):
    """The drawn videos: seconds of each split, those of train in ``train_videos``, and what falls in them.

    ``parts_per_second`` start to fall, ``train_parts_per_second`` in videos of train; ``nuts`` of them are nuts, the
    others bolts.
    """

    train_seconds: float = Field(gt=0)
    train_videos: Count
    val_seconds: float = Field(gt=0)
    test_seconds: float = Field(gt=0)
    frame_size: Annotated[int, Field(ge=64, multiple_of=2)]
    fps: Annotated[int, Field(ge=1)]
    parts_per_second: float = Field(gt=0)
    train_parts_per_second: float = Field(gt=0)
    nuts: Fraction
    seed: int = Field(ge=0)


class Official(Section):
    """The published challenge; ``digest`` is the archive's SHA-256, null until it is known."""

    url: str
    digest: str | None


class Data(Section):
    """Which videos to use. ``first_image_id`` is the ``image_id`` that annotations give to the first frame."""

    source: Literal["synthetic", "path", "official"]
    path: Path
    first_image_id: Annotated[int, Field(ge=0)]
    synthetic: Synthetic
    official: Official


class Audit(Section):
    """How annotations are checked: a frame offset of up to ``max_shift`` frames either way is looked for."""

    max_shift: Annotated[int, Field(ge=1, le=30)]


Side = Annotated[int, Field(ge=32, multiple_of=32)]


class Frames(Section):
    """Which frames the detector learns from, and how it sees them.

    ``input_size`` is the side in px of the square that a frame is fitted into. Of a video every ``every``-th frame is
    taken, and of those without objects the share ``empty``, evenly spread.
    """

    input_size: Side
    every: Count
    empty: Share


class Views(Section):
    """How training frames are varied, see :func:`sightline.parts.views.draw_view`; 0 is off.

    ``scale`` 0.3 zooms by 1 / 1.3 to 1.3; a view may lie outside the frame by the share ``shift`` of its side;
    ``elsewhere`` is the share of views that need not show an object; ``flip``, ``flip_vertical`` and ``transpose`` are
    probabilities, the others change by up to that share.
    """

    scale: float = Field(ge=0)
    shift: Annotated[float, Field(ge=0, lt=0.5)]
    elsewhere: Share
    flip: Share
    flip_vertical: Share
    transpose: Share
    brightness: Share
    contrast: Share
    saturation: Share


class Train(Section):
    """How the detector is trained.

    ``architecture`` is ``detector`` (ours) or one of ultralytics', such as ``yolo11n``; ``weights`` a file to start
    from (.pt or .safetensors), or no such file to start from scratch. ``gains`` weigh the losses for boxes, classes and
    the distributions of box sides. An epoch has a view of each frame; so many ``val_frames`` are looked at whole after
    it, for the learning curve. ``side`` is that of the views in px: cut out around the few objects of
    a frame, small ones teach as much in a part of the time.
    ``lr`` is for convolutions, which Muon teaches, ``lr_others`` for all else, which AdamW does.
    """

    architecture: str
    weights: Path
    seed: int = Field(ge=0)
    epochs: Count
    side: Side
    batch_size: Count
    lr: float = Field(gt=0)
    lr_others: float = Field(gt=0)
    weight_decay: float = Field(ge=0)
    warmup_epochs: float = Field(ge=0)
    ema_decay: Share
    gains: tuple[float, float, float]
    val_frames: Count
    views: Views


class Track(Section):
    """How detections are linked; lists are tried on validation, the first is taken where nothing can be tried.

    ``motion`` 'falling' gives a new track the speed that parts have at its place, 'constant' is the tracker's own.
    ``new_score`` is what a detection needs to begin a track, ``high_score`` what it needs to be linked first, both as
    shares of the detector's own threshold; of a lower score than ``low_score`` it is not looked at. ``lost_frames`` is
    how long a track waits for its next box; gaps of up to ``fill`` frames are filled in afterwards. Where the frames of
    validation do not follow each other, ``draws`` simulations of detections are tried instead.
    """

    tracker: Literal["sort", "bytetrack", "ocsort", "botsort"]
    motion: Literal["falling", "constant"]
    low_score: Fraction
    high_score: list[Annotated[float, Field(gt=0)]] = Field(min_length=1)
    new_score: list[Annotated[float, Field(gt=0)]] = Field(min_length=1)
    min_iou: list[Share] = Field(min_length=1)
    lost_frames: list[Annotated[int, Field(ge=0)]] = Field(min_length=1)
    fill: Annotated[int, Field(ge=0)]
    draws: Count
    seed: int = Field(ge=0)


class Line(Section):
    """What is counted.

    ``line`` is where parts are counted, as a share of their way through the frame; tried on validation. A track is a
    part once it has ``confirm`` boxes that reach the detector's own threshold. A part that was lost is found again by a
    track that begins up to ``refind_frames`` later where the part would be. ``direction`` null: as the true tracks go.
    """

    line: list[Fraction] = Field(min_length=1)
    direction: Literal["down", "up", "right", "left"] | None
    confirm: Annotated[int, Field(ge=2)]
    refind_frames: Annotated[int, Field(ge=0)]


class Video(Section):
    """The annotated video: x264's ``preset`` and ``crf``, and the frames of a trace."""

    preset: Literal["ultrafast", "superfast", "veryfast", "faster", "fast", "medium"]
    crf: Annotated[int, Field(ge=0, le=51)]
    trace: Annotated[int, Field(ge=0)]


class Evaluate(Section):
    """How figures get their intervals, over stretches of video of at least ``stretch_seconds``.

    ``pictures`` is how many frames with errors of the detector are drawn at most.
    """

    stretch_seconds: float = Field(gt=0)
    pictures: int = Field(ge=0)
    resamples: Annotated[int, Field(ge=100)]
    seed: int = Field(ge=0)


class Parts(Section):
    """All parameters of this task."""

    data: Data
    audit: Audit
    frames: Frames
    train: Train
    track: Track
    count: Line
    video: Video
    evaluate: Evaluate
