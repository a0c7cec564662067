"""What this package offers to translatekit."""

from __future__ import annotations

from collections.abc import Iterable

from translatekit.hookspecs import hookimpl
from translatekit.requirements import NETWORKS, TRAINING, VIDEO, of_extra
from translatekit.specs import BackendSpec, CommandSpec, DatasetSpec, LoggerSpec, MethodSpec, MetricSpec

_PREPARING = of_extra("prepare", "cv2", "imagehash", "sklearn")


@hookimpl
def register_backends() -> Iterable[BackendSpec]:
    """What runs model files."""
    yield BackendSpec(
        name="torch",
        target="translatekit_tools.backends.torch.translator:load",
        summary="PyTorch, on model files as they come from training",
        suffixes=(".safetensors",),
        devices=("cpu", "cuda", "mps"),
        reader="translatekit.model_file:read_info",
        requires=NETWORKS,
    )
    yield BackendSpec(
        name="onnxruntime",
        target="translatekit_tools.backends.onnxruntime.translator:load",
        summary="ONNX Runtime, on .onnx files, which other tools read too",
        suffixes=(".onnx",),
        devices=("cpu", "cuda"),
        compiler="translatekit_tools.backends.onnxruntime.compiler:compile",
        compiler_options=(),
        reader="translatekit_tools.graphs.onnx_file:read_info",
        writer="translatekit_tools.graphs.onnx_file:write_info",
        requires=of_extra("onnx", "onnxruntime"),
        compiler_requires=of_extra("compile", "onnx"),
    )
    yield BackendSpec(
        name="openvino",
        target="translatekit_tools.backends.openvino.translator:load",
        summary="OpenVINO, the quickest on most CPUs; fp32, bf16 and int8",
        suffixes=(".xml",),
        also_runs=(".onnx",),
        devices=("cpu",),
        compiler="translatekit_tools.backends.openvino.compiler:compile",
        compiler_options=("calibrate",),
        reader="translatekit_tools.backends.openvino.ir_file:read_info",
        writer="translatekit_tools.backends.openvino.ir_file:write_info",
        requires=of_extra("openvino", "openvino"),
        compiler_requires=of_extra("compile", "onnx"),
    )
    yield BackendSpec(
        name="tensorrt",
        target="translatekit_tools.backends.tensorrt.translator:load",
        summary="TensorRT and TensorRT-RTX, on engines built for the NVIDIA GPU they run on",
        suffixes=(".engine",),
        devices=("cuda",),
        compiler="translatekit_tools.backends.tensorrt.compiler:compile",
        compiler_options=("calibrate", "batch", "shapes", "flavour", "target", "workspace", "timing_cache"),
        reader="translatekit_tools.backends.tensorrt.engine_file:read_info",
        writer="translatekit_tools.backends.tensorrt.engine_file:write_info",
        checker="translatekit_tools.backends.tensorrt.checker:load",
        machine="translatekit_tools.backends.tensorrt.cuda.driver:find_gpus",
        requires=of_extra("tensorrt-rtx", "tensorrt|tensorrt_rtx"),
        compiler_requires=of_extra("tensorrt-rtx", "onnx"),
    )
    yield BackendSpec(
        name="coreml",
        target="translatekit_tools.backends.coreml.translator:load",
        summary="Core ML, on .mlpackage folders for iOS and macOS; written on any system, run on macOS",
        suffixes=(".mlpackage",),
        folders=True,
        devices=("cpu", "mps"),
        compiler="translatekit_tools.backends.coreml.compiler:compile",
        compiler_options=("shapes",),
        reader="translatekit_tools.backends.coreml.package:read_info",
        writer="translatekit_tools.backends.coreml.package:write_info",
        checker="translatekit_tools.backends.coreml.checker:load",
        machine="translatekit_tools.backends.coreml.translator:find_core_ml",
        requires=of_extra("coreml", "coremltools"),
    )
    yield BackendSpec(
        name="litert",
        target="translatekit_tools.backends.litert.translator:load",
        summary="LiteRT (TensorFlow Lite), on .tflite files for phones and small devices",
        suffixes=(".tflite",),
        devices=("cpu",),
        compiler="translatekit_tools.backends.litert.compiler:compile",
        compiler_options=("calibrate", "shapes"),
        reader="translatekit_tools.backends.litert.tflite_file:read_info",
        writer="translatekit_tools.backends.litert.tflite_file:write_info",
        requires=of_extra("litert", "ai_edge_litert"),
        compiler_requires=of_extra("litert-compile", "litert_torch", "ai_edge_quantizer"),
    )


@hookimpl
def register_metrics() -> Iterable[MetricSpec]:
    """Metrics of videos."""
    yield MetricSpec(
        name="warp_error",
        target="translatekit_tools.evaluate.video:WarpError",
        summary="flicker of a translated video (Lai et al., 2018)",
        compares="video",
        better="lower",
        minimum=0,
        maximum=1,
        requires=VIDEO,
    )


@hookimpl
def register_loggers() -> Iterable[LoggerSpec]:
    """Where runs are kept beside their folders."""
    yield LoggerSpec(
        name="mlflow",
        target="translatekit_tools.loggers.mlflow:MLflow",
        summary="MLflow: a tracking server, or a database on this machine",
        requires=of_extra("mlflow", "mlflow"),
    )
    yield LoggerSpec(
        name="wandb",
        target="translatekit_tools.loggers.wandb:WandB",
        summary="Weights & Biases, online or offline (mode=offline)",
        requires=of_extra("wandb", "wandb"),
    )
    yield LoggerSpec(
        name="trackio",
        target="translatekit_tools.loggers.trackio:Trackio",
        summary="Trackio: on this machine, or in a Hugging Face Space",
        requires=of_extra("trackio", "trackio"),
    )


@hookimpl
def register_methods() -> Iterable[MethodSpec]:
    """Learning from a trained model."""
    yield MethodSpec(
        name="distill",
        target="translatekit_tools.distill.method:Distill",
        options="translatekit_tools.distill.options:DistillOptions",
        summary="a small network learns from a trained one; translatekit distill chooses it and measures it, too",
        data="paired",
        generator="resnet",
        discriminator="patch",
        dataset="taught",
        requires=of_extra("train", "torchmetrics"),
    )


@hookimpl
def register_datasets() -> Iterable[DatasetSpec]:
    """Images for a student."""
    yield DatasetSpec(
        name="taught",
        target="translatekit_tools.distill.dataset:Taught",
        summary="inputs of another dataset; what a trained model makes of them is learned (teacher=FILE)",
        provides="paired",
        folder=None,
        stores=True,
    )


@hookimpl
def register_commands() -> Iterable[CommandSpec]:
    """Commands of the tools."""
    yield CommandSpec(
        name="run",
        target="translatekit_tools.cli.run:run",
        summary="translate files and folders with a trained model",
        api="translatekit_tools.bulk:translate",
    )
    yield CommandSpec(
        name="train-on",
        target="translatekit_tools.cli.train_on:train_on",
        summary="train on the processes of a Ray cluster",
        requires=TRAINING,
    )
    yield CommandSpec(
        name="compile",
        target="translatekit_tools.cli.compile:compile",
        summary="compile a trained model for ONNX Runtime, OpenVINO, LiteRT, Core ML or TensorRT",
        api="translatekit_tools.compile:compile_model",
    )
    yield CommandSpec(
        name="bench",
        target="translatekit_tools.cli.bench:bench",
        summary="measure how fast each installed backend translates with a model",
        api="translatekit_tools.bench:bench",
    )
    yield CommandSpec(
        name="distill",
        target="translatekit_tools.cli.distill:distill",
        summary="make a small and fast model that does what a trained one does",
        api="translatekit_tools.distill:distill",
        requires=(*TRAINING, *of_extra("evaluate", "torchmetrics")),
    )
    yield CommandSpec(
        name="tune",
        target="translatekit_tools.cli.tune:tune",
        summary="search for training options: many short runs, compared by their validations",
        api="translatekit_tools.tune:tune",
        requires=(*TRAINING, *of_extra("tune", "optuna")),
    )
    yield CommandSpec(
        name="import",
        target="translatekit_tools.cli.import_checkpoint:import_checkpoint",
        summary="turn a .pth checkpoint of the reference implementation into a model file",
        api="translatekit_tools.importer:import_checkpoint",
        requires=NETWORKS,
    )
    yield CommandSpec(
        name="demo",
        target="translatekit_tools.cli.demo:demo",
        summary="train on drawn facades, translate new ones, and show the result: about a minute",
        requires=(*TRAINING, *_PREPARING),
    )
    yield CommandSpec(
        name="paint",
        target="translatekit_tools.cli.paint:paint",
        summary="a page to draw on and to drop photographs in, with the translation beside it",
        requires=of_extra("paint", "starlette", "uvicorn", "python_multipart"),
    )
    yield CommandSpec(
        name="publish",
        target="translatekit_tools.cli.publish:publish",
        summary="a model as a page that runs in any browser, or as a folder for a hub or a server",
        api="translatekit_tools.publish:publish",
    )
    yield CommandSpec(
        name="sample",
        target="translatekit_tools.cli.sample:sample",
        summary="draw new images from a model that makes them from noise, by class or by text",
        api="translatekit_tools.sample:sample",
        requires=NETWORKS,
    )
    yield CommandSpec(
        name="watch",
        target="translatekit_tools.cli.watch:watch",
        summary="follow runs in a page: curves, samples, and what is wrong with them",
        requires=of_extra("train", "jinja2", "uplot"),
    )
    yield CommandSpec(
        name="evaluate",
        target="translatekit_tools.cli.evaluate:evaluate",
        summary="measure models on images: metrics with confidence intervals, and a report",
        api="translatekit_tools.evaluate:evaluate",
        requires=of_extra("evaluate", "torch", "torchmetrics"),
    )
    yield CommandSpec(
        name="prepare",
        target="translatekit_tools.cli.prepare:prepare",
        summary="make training data: pairs, label maps, edges, slices, tiles, splits, frames; and check it",
        requires=_PREPARING,
    )
    yield CommandSpec(
        name="data",
        target="translatekit_tools.cli.data:data",
        summary="download well-known data sets: facades, maps, horse2zebra, MNIST",
    )
