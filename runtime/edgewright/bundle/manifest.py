"""What a bundle says about itself: the contract between workstation and device.

Frozen dataclasses, no I/O. ``edgewright.bundle.codec`` turns them into JSON and back and checks them;
``extra`` holds fields of a newer minor schema, so that rewriting a bundle loses nothing (see ADR 0002).

Invariants (checked by the codec):

- Paths are relative, use forward slashes, and name files listed in ``Manifest.files``.
- Every variant's file, digest and size agree with its entry in ``files``.
- Variant names are unique.
"""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003 - the codec reads these annotations at run time
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

__all__ = [
    "SCHEMA_MAJOR",
    "SCHEMA_MINOR",
    "Box",
    "Calibration",
    "ClassifyDecode",
    "ColorOrder",
    "Decode",
    "FileEntry",
    "Format",
    "Golden",
    "Latency",
    "Layout",
    "Manifest",
    "Metric",
    "Precision",
    "Preprocess",
    "Provenance",
    "ResizeMode",
    "ScoreActivation",
    "SsdDecode",
    "Task",
    "TensorSpec",
    "Variant",
]

SCHEMA_MAJOR = 1
SCHEMA_MINOR = 1


class Task(str, Enum):
    """What the model answers."""

    DETECT = "detect"
    CLASSIFY = "classify"


class Format(str, Enum):
    """File format of a variant."""

    ONNX = "onnx"
    TFLITE = "tflite"


class Precision(str, Enum):
    """Arithmetic of a variant."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"
    INT8 = "int8"


class Layout(str, Enum):
    """Order of an image tensor's axes."""

    NCHW = "NCHW"
    NHWC = "NHWC"


class ResizeMode(str, Enum):
    """How a frame of any shape becomes the network's input size."""

    STRETCH = "stretch"  # both axes scaled on their own
    LETTERBOX = "letterbox"  # aspect kept, the rest padded
    CROP = "crop"  # aspect kept, shorter side fitted to `crop_from`, centre cut out


class ColorOrder(str, Enum):
    """Channel order that the network expects."""

    RGB = "RGB"
    BGR = "BGR"


class Box(str, Enum):
    """Order of the four box codes an SSD-type head emits."""

    YXHW = "yxhw"
    XYWH = "xywh"


class ScoreActivation(str, Enum):
    """What turns the score output into probabilities."""

    NONE = "none"
    SIGMOID = "sigmoid"
    SOFTMAX = "softmax"


@dataclass(frozen=True)
class TensorSpec:
    """One input or output of a variant.

    Attributes:
        name: Name in the model file.
        shape: Sizes; all fixed.
        dtype: NumPy name, such as ``float32`` or ``uint8``.
        layout: Axis order of an image tensor, None for others.
        scale: Quantization step of an integer tensor, None for a float one. An 8-bit input without one takes pixels as
            the camera gives them: ``uint8`` as they are, ``int8`` less 128; the network prepares them itself.
        zero_point: Integer that stands for 0.0, None for a float tensor.
        color: Channel order of an image tensor where it is not the one of ``Preprocess``, else None.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    layout: Layout | None = None
    scale: float | None = None
    zero_point: int | None = None
    color: ColorOrder | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Latency:
    """Measured time of one variant on one machine, preprocessing to decoded result.

    Attributes:
        machine: Which processor, in words.
        threads: Threads given to the engine.
        runs: Number of timed frames.
        p50_ms: Median.
        p95_ms: 95th percentile.
        p99_ms: 99th percentile.
        speedup: Median ratio float time / this time in alternating processes, None for float itself.
        speedup_low: Lower end of the median's 95 % interval; 0 when nothing is known of the spread.
        speedup_high: Upper end; 1,000,000 when nothing is known.
    """

    machine: str
    threads: int
    runs: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    speedup: float | None = None
    speedup_low: float | None = None
    speedup_high: float | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Variant:
    """One executable form of the model.

    Attributes:
        name: Unique in the bundle, for example ``int8-onnx``.
        format: File format.
        precision: Arithmetic.
        file: Path in the bundle.
        bytes: Size of the file.
        sha256: Digest of the file, lower-case hex.
        inputs: Input tensors in order.
        outputs: Output tensors in order.
        engine: Options the engine needs to run this file right, such as disabled graph optimizers.
        latency: What was measured, one entry a machine and thread count.
    """

    name: str
    format: Format
    precision: Precision
    file: str
    bytes: int
    sha256: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    engine: Mapping[str, Any] = field(default_factory=dict)
    latency: tuple[Latency, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Preprocess:
    """From a camera frame (H, W, 3) uint8 BGR to the network's input values.

    ``value = (pixel * scale - mean) / std``, per channel in ``color`` order; padding happens before, in pixels.

    Attributes:
        resize: How the frame is fitted.
        width: Network input width in pixels.
        height: Network input height in pixels.
        color: Channel order the network expects.
        scale: Factor on the 0..255 pixel.
        mean: Subtracted after scaling, per channel.
        std: Divisor after that, per channel.
        pad_value: Grey level 0..255 of letterbox bars.
        crop_from: For ``CROP``: the shorter side is resized to this many pixels before the cut.
    """

    resize: ResizeMode
    width: int
    height: int
    color: ColorOrder = ColorOrder.RGB
    scale: float = 1.0 / 255.0
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    pad_value: int = 114
    crop_from: int | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class SsdDecode:
    """Anchors plus codes to boxes, as SSD and RetinaFace heads need (Liu et al. 2016, section 2.2).

    ``cx = code_x * var_xy * anchor_w + anchor_cx``, ``w = exp(code_w * var_wh) * anchor_w``; same for y and h,
    in fractions of the network's input picture.

    Attributes:
        boxes: Name of the output holding codes, reshaped to (n, 4).
        scores: Name of the output holding class scores, reshaped to (n, classes).
        anchors: Path in the bundle of a float32 ``.npy`` array (n, 4): cx, cy, w, h as fractions.
        order: Order of the four codes.
        variance_xy: Factor on centre codes.
        variance_wh: Factor on size codes.
        activation: What turns scores into probabilities.
        background: Column that means "nothing", or None when there is none.
        score_threshold: Boxes below are dropped.
        iou_threshold: Boxes of one class overlapping a better one by more are dropped.
        max_detections: At most so many boxes are kept, best first.
    """

    boxes: str
    scores: str
    anchors: str
    order: Box = Box.XYWH
    variance_xy: float = 0.1
    variance_wh: float = 0.2
    activation: ScoreActivation = ScoreActivation.SIGMOID
    background: int | None = 0
    score_threshold: float = 0.5
    iou_threshold: float = 0.6
    max_detections: int = 100
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ClassifyDecode:
    """Scores to the best classes.

    Attributes:
        scores: Name of the output, reshaped to (classes,).
        activation: What turns it into probabilities.
        top_k: How many classes a result carries.
    """

    scores: str
    activation: ScoreActivation = ScoreActivation.SOFTMAX
    top_k: int = 5
    extra: Mapping[str, Any] = field(default_factory=dict)


Decode = SsdDecode | ClassifyDecode


@dataclass(frozen=True)
class Calibration:
    """The samples that set the integer ranges.

    Attributes:
        digest: SHA-256 over the pixel content of the samples, in order.
        count: How many.
        method: Range method, such as ``minmax``.
        source: Where they came from, in words.
    """

    digest: str
    count: int
    method: str
    source: str
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Metric:
    """One measured quality figure.

    Attributes:
        name: ``ap50``, ``ap50_drop``, ``boxes_kept``, ``mean_iou``, ``top1_agreement``, ...
        variant: Which variant, or ``float`` for the float model.
        value: The figure; shares are 0..1.
        low: Lower end of the interval.
        high: Upper end of the interval.
        confidence: Of the interval, 0..1.
        samples: Frames it rests on.
        dataset: SHA-256 of the frames' pixels and labels.
    """

    name: str
    variant: str
    value: float
    low: float
    high: float
    confidence: float
    samples: int
    dataset: str
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Golden:
    """Real inputs and the outputs each variant gave, to be repeated on the device.

    Attributes:
        file: Path of the ``.npz`` in the bundle.
        count: Number of frames in it.
        tolerance: Largest allowed absolute difference, keyed by ``variant/output``.
    """

    file: str
    count: int
    tolerance: Mapping[str, float]
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Provenance:
    """Where the bundle came from.

    Attributes:
        source: The model as the user named it.
        source_sha256: Digest of the source weights or file.
        recipe: Everything that determined the result, JSON values only.
        tools: Package name to version.
        created: UTC time, ISO 8601.
        verdict: PASS, FAIL, INCONCLUSIVE, or UNJUDGED when no contract was given.
    """

    source: str
    source_sha256: str
    recipe: Mapping[str, Any]
    tools: Mapping[str, str]
    created: str
    verdict: str
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class FileEntry:
    """One payload file of the bundle.

    Attributes:
        path: Relative path with forward slashes.
        bytes: Size.
        sha256: Digest, lower-case hex.
    """

    path: str
    bytes: int
    sha256: str
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Manifest:
    """The whole description. See the module docstring for what must hold."""

    name: str
    version: str
    task: Task
    variants: tuple[Variant, ...]
    preprocess: Preprocess
    decode: Decode
    labels: tuple[str, ...]
    provenance: Provenance
    files: tuple[FileEntry, ...]
    calibration: Calibration | None = None
    metrics: tuple[Metric, ...] = ()
    golden: Golden | None = None
    schema_major: int = SCHEMA_MAJOR
    schema_minor: int = SCHEMA_MINOR
    extra: Mapping[str, Any] = field(default_factory=dict)

    def variant(self, name: str) -> Variant:
        """The variant called ``name``.

        Raises:
            KeyError: There is none.
        """
        for variant in self.variants:
            if variant.name == name:
                return variant
        raise KeyError(name)
