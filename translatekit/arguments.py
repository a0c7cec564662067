"""The keyword arguments of the public functions, made from the options of the commands by docs/make_cli.py.

They are for type checkers and editors; what each means, its default and its range are in docs/cli.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypedDict


class TrainArguments(TypedDict, total=False):
    """Of `translatekit.train`; a method takes its own beside them."""

    recipe: str | None
    dataset: str | None
    dataset_options: Mapping[str, Any]
    direction: Literal["AtoB", "BtoA"]
    range: str | None
    unit: str | None
    slices: int | None
    slice_axis: Literal["axial", "coronal", "sagittal"]
    labels: str | None
    load_size: int | None
    crop_size: int
    flip: bool
    augment: str | None
    fold: str | tuple[int, int] | None
    strict: bool
    generator: str | None
    generator_options: Mapping[str, Any]
    discriminator: str | None
    discriminator_options: Mapping[str, Any]
    spectral_norm: bool
    init: Literal["normal", "xavier", "kaiming", "orthogonal"]
    init_gain: float
    norm_inference: Literal["running", "per_image"]
    start_from: str | None
    freeze: str | None
    epochs: int
    epochs_decay: int
    schedule: Literal["linear", "cosine"]
    warmup: int
    batch_size: int
    accumulate: int
    sync_batchnorm: bool
    lr: float
    lr_discriminator: float | None
    beta1: float
    beta2: float
    diff_augment: Sequence[str] | str | None
    ema: float | None
    best_by: str
    patience: int | None
    features: str | None
    seed: int
    max_steps: int | None
    output: str | Path | None
    log_every: int
    log_to: Sequence[str] | str | None
    log_options: Mapping[str, Any]
    sample_every: int | None
    checkpoint_every: int | None
    checkpoint_minutes: float
    keep_checkpoints: int
    validate_every: int
    workers: int | None
    cache: Literal["none", "memory", "disk"]
    precision: Literal["auto", "fp32", "bf16", "fp16"]
    accelerator: str
    devices: str
    strategy: Literal["auto", "ddp"]
    process_timeout: float
    num_nodes: int
    channels_last: bool | None
    compile: bool


class TranslateArguments(TypedDict, total=False):
    """Of `translatekit.translate`."""

    direction: str | None
    best: bool
    noise: int | None
    passes: int | None
    size: int | str | tuple[int, int] | None
    fit: Literal["pad", "resize", "crop"]
    tile: int | None
    overlap: int | None
    format: Literal["keep", "png", "jpg", "webp", "tiff"]
    suffix: str | None
    quality: int
    compression: int
    force: bool
    verify: bool
    dry_run: bool
    shard: str | None
    stats: bool
    container: (
        Literal[
            "mp4",
            "mov",
            "mkv",
            "webm",
            "avi",
            "ts",
            "m2ts",
            "mpg",
            "mxf",
            "flv",
            "wmv",
            "3gp",
            "nut",
            "y4m",
            "raw",
        ]
        | None
    )
    fps: str | None
    raw: str | None
    codec: str | None
    crf: int | None
    preset: str | None
    pix_fmt: str | None
    start: float
    end: float | None
    every: int
    frames: str | None
    side_by_side: bool
    smooth: float
    deinterlace: bool
    hdr: Literal["keep", "sdr"]
    even: bool
    audio: bool
    map: str | None
    skip_damaged: bool
    slice_axis: Literal["axial", "coronal", "sagittal"] | None
    batch_size: int | None
    memory: float | str
    backend: str | None
    devices: str | None
    device: str
    precision: Literal["auto", "fp32", "bf16", "fp16", "int8"]


class CompileArguments(TypedDict, total=False):
    """Of `translatekit.compile`."""

    precision: Literal["fp32", "bf16", "fp16", "int8"]
    dtype: Literal["uint8", "float32"] | None
    calibrate: str | None
    tolerance: float | None
    check: str | None
    direction: str | None
    best: bool
    batch: str
    shapes: str | None
    flavour: Literal["auto", "tensorrt", "tensorrt-rtx"]
    target: str | None
    workspace: float | None
    timing_cache: str | None
    backend: str | None
    device: str
    force: bool


class EvaluateArguments(TypedDict, total=False):
    """Of `translatekit.evaluate`."""

    split: str
    fold: str | tuple[int, int] | None
    dataset: str | None
    dataset_options: Mapping[str, Any]
    size: int | None
    mask: str | None
    max_images: int | None
    metrics: Sequence[str] | str | None
    protocol: str | None
    features: str | None
    download: bool
    palette: str | None
    segmenter: str | None
    discriminator: bool
    resamples: int
    seed: int
    direction: str | None
    backend: str | None
    device: str
    precision: Literal["auto", "fp32", "bf16", "fp16", "int8"]
    passes: int | None
    batch_size: int
    report: str | None
    examples: int
