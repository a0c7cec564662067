"""The core's own networks, losses, datasets and commands, offered through the same hooks as everyone's."""

from __future__ import annotations

from collections.abc import Iterable

from translatekit.hookspecs import hookimpl
from translatekit.requirements import TRAINING, of_extra
from translatekit.specs import (
    CommandSpec,
    DatasetSpec,
    DiscriminatorSpec,
    FormatSpec,
    GeneratorSpec,
    LoggerSpec,
    LossSpec,
    MetricSpec,
)

_MEASURING = of_extra("train", "torch", "torchmetrics")


@hookimpl
def register_generators() -> Iterable[GeneratorSpec]:
    """Generators of the core."""
    yield GeneratorSpec(
        name="unet",
        target="translatekit.networks.unet:UNet",
        summary="U-Net with skip connections, as in Pix2Pix (depth 8 for 256 pixels)",
        size_multiple=256,
        students="translatekit.networks.unet:students",
    )
    yield GeneratorSpec(
        name="encoder_decoder",
        target="translatekit.networks.unet:EncoderDecoder",
        summary="the U-Net without its skip connections",
        size_multiple=256,
        students="translatekit.networks.unet:students",
    )
    yield GeneratorSpec(
        name="resnet",
        target="translatekit.networks.resnet:ResNet",
        summary="residual blocks between two strided convolutions, as in CycleGAN (blocks=6 or 9)",
        size_multiple=4,
        students="translatekit.networks.resnet:students",
    )
    yield GeneratorSpec(
        name="timm_unet",
        target="translatekit.networks.timm_unet:TimmUNet",
        summary="U-Net whose encoder is any timm backbone (encoder=resnet34 pretrained=true)",
        requires=of_extra("train", "timm"),
        size_multiple=32,
    )


@hookimpl
def register_discriminators() -> Iterable[DiscriminatorSpec]:
    """Discriminators of the core."""
    yield DiscriminatorSpec(
        name="pixel",
        target="translatekit.networks.discriminators:PixelGAN",
        summary="judges each pixel by itself (receptive field 1)",
    )
    yield DiscriminatorSpec(
        name="patch",
        target="translatekit.networks.discriminators:PatchGAN",
        summary="judges overlapping patches (layers=3: receptive field 70; layers=1: 16)",
    )
    yield DiscriminatorSpec(
        name="image",
        target="translatekit.networks.discriminators:ImageGAN",
        summary="judges the whole image (receptive field 286)",
    )


@hookimpl
def register_losses() -> Iterable[LossSpec]:
    """Losses of the core."""
    for name, target, summary in (
        ("vanilla", "Vanilla", "binary cross-entropy on logits, non-saturating"),
        ("minimax", "Minimax", "binary cross-entropy, the generator minimizing log(1 - D): saturates"),
        ("lsgan", "LeastSquares", "least squares"),
        ("hinge", "Hinge", "hinge"),
        ("wgangp", "WassersteinGP", "Wasserstein distance with gradient penalty"),
    ):
        yield LossSpec(
            name=name, target=f"translatekit.losses.adversarial:{target}", summary=summary, role="adversarial"
        )
    yield LossSpec(name="l1", target="translatekit.losses.reconstruction:L1", summary="mean absolute error")
    yield LossSpec(name="l2", target="translatekit.losses.reconstruction:L2", summary="mean squared error")
    yield LossSpec(
        name="perceptual",
        target="translatekit.losses.perceptual:Perceptual",
        summary="distance between features of any timm model",
        requires=of_extra("train", "timm"),
    )


@hookimpl
def register_datasets() -> Iterable[DatasetSpec]:
    """Datasets of the core."""
    yield DatasetSpec(
        name="aligned",
        target="translatekit.datasets.aligned:Aligned",
        summary="pairs: side by side in one file, or folders A and B matched by name",
        provides="paired",
        stores=True,
        folds=True,
    )
    yield DatasetSpec(
        name="unaligned",
        target="translatekit.datasets.unaligned:Unaligned",
        summary="two unpaired sets: trainA and trainB",
        provides="unpaired",
        stores=True,
        folds=True,
    )
    yield DatasetSpec(
        name="labelled",
        target="translatekit.datasets.labelled:Labelled",
        summary="images by class: a folder a class, or MNIST's idx files",
        provides="labelled",
        stores=True,
        folds=True,
    )
    yield DatasetSpec(
        name="colorization",
        target="translatekit.datasets.colorization:Colorization",
        directed=False,
        summary="colour images in; learns gray to RGB, or L to ab (mode=rgb or lab)",
        provides="paired",
        stores=True,
        folds=True,
    )
    yield DatasetSpec(
        name="single",
        target="translatekit.datasets.single:Single",
        directed=False,
        summary="one folder of images, which are input and target alike",
        provides="paired",
        stores=True,
        folds=True,
    )
    yield DatasetSpec(
        name="demo",
        target="translatekit.datasets.demo:Demo",
        summary="procedural facades and their label maps, drawn from a seed",
        provides="paired",
        folder=False,
    )


@hookimpl
def register_formats() -> Iterable[FormatSpec]:
    """Formats of the core."""
    raster, encode = "translatekit.images.reading:RasterReader", "translatekit.images.writing:encode_raster"
    yield FormatSpec(
        name="png",
        target=raster,
        writer=encode,
        summary="PNG of up to 16 bits, with palettes",
        suffixes=(".png", ".apng"),
        written=(".png",),
        signatures=((0, b"\x89PNG"),),
        dtypes=("uint8", "uint16"),
        channels=(1, 2, 3, 4),
        alpha=True,
        profile=True,
    )
    yield FormatSpec(
        name="tiff",
        target=raster,
        writer=encode,
        volume_writer="translatekit.images.tiff:write_volume",
        keeps=("resolution", "description", "names of channels", "coordinates", "nodata"),
        summary="TIFF and BigTIFF of any number of channels, in all layouts, with pages",
        suffixes=(".tif", ".tiff"),
        signatures=((0, b"II*\0"), (0, b"MM\0*"), (0, b"II+\0"), (0, b"MM\0+")),
        dtypes=("uint8", "uint16", "int16", "float32"),
        alpha=True,
        profile=True,
        volumes=True,
    )
    for name, summary, suffixes, written in (
        ("jpeg", "JPEG", (".jpg", ".jpeg", ".jpe", ".jfif"), (".jpg", ".jpeg")),
        ("bmp", "Windows bitmaps", (".bmp", ".dib"), (".bmp",)),
        ("webp", "WebP", (".webp",), (".webp",)),
        ("avif", "AVIF of 8, 10 and 12 bits", (".avif",), (".avif",)),
    ):
        yield FormatSpec(
            name=name,
            target=raster,
            writer=encode,
            summary=summary,
            suffixes=suffixes,
            written=written,
            takes=("uint16", "float32") if name == "avif" else (),
            channels=(1, 3),
            lossless=name == "bmp",
            alpha=name in ("webp", "avif"),
            profile=name != "bmp",
        )
    yield FormatSpec(
        name="npy",
        target="translatekit.images.arrays:ArrayReader",
        writer="translatekit.images.arrays:encode_array",
        summary="a NumPy array: (H, W), (H, W, C) or (C, H, W)",
        suffixes=(".npy",),
        signatures=((0, b"\x93NUMPY"),),
        dtypes=("uint8", "uint16", "int16", "float32"),
    )
    yield FormatSpec(
        name="npz",
        target="translatekit.images.arrays:ArrayReader",
        writer="translatekit.images.arrays:encode_array",
        volume_writer="translatekit.images.arrays:write_stack",
        summary="a NumPy array that says its axes, slices among them",
        suffixes=(".npz",),
        signatures=((0, b"PK\x03\x04"),),
        dtypes=("uint8", "uint16", "int16", "float32"),
        volumes=True,
    )
    yield FormatSpec(
        name="nifti",
        target="translatekit.images.nifti:NiftiReader",
        writer="translatekit.images.nifti:encode_slice",
        volume_writer="translatekit.images.nifti:write_volume",
        summary="NIfTI volumes, slice by slice",
        suffixes=(".nii.gz", ".nii"),
        signatures=((344, b"n+1\0"), (4, b"n+2\0"), (0, b"\x1f\x8b")),
        dtypes=("uint8", "uint16", "int16", "float32"),
        keeps=("affine", "header"),
        volumes=True,
        any_axis=True,
        requires=of_extra("medical", "nibabel"),
    )
    yield FormatSpec(
        name="dicom",
        target="translatekit.images.dicom:DicomReader",
        writer="translatekit.images.dicom:encode_file",
        volume_writer="translatekit.images.dicom:write_series",
        summary="DICOM files, and folders of a series as volumes",
        suffixes=(".dcm", ".dicom"),
        signatures=((128, b"DICM"),),
        dtypes=("uint8", "uint16", "int16"),
        takes=("float32",),
        channels=(1, 3),
        keeps=("unit", "tags of patient, study and place"),
        volumes=True,
        folders=True,
        requires=of_extra("medical", "pydicom"),
    )
    for name, summary, suffix, channels in (
        ("pgm", "portable graymaps of up to 16 bits", ".pgm", (1,)),
        ("ppm", "portable pixmaps of up to 16 bits", ".ppm", (3,)),
        ("pnm", "portable anymaps of up to 16 bits", ".pnm", (1, 3)),
    ):
        yield FormatSpec(
            name=name,
            target=raster,
            writer="translatekit.images.writing:encode_netpbm",
            summary=summary,
            suffixes=(suffix,),
            dtypes=("uint8", "uint16"),
            channels=channels,
        )
    yield FormatSpec(
        name="jpeg2000",
        target=raster,
        writer="translatekit.images.writing:encode_jpeg2000",
        summary="JPEG 2000 of up to 16 bits, written without loss",
        suffixes=(".jp2", ".j2k", ".j2c", ".jpc", ".jpx", ".jpf"),
        written=(".jp2", ".j2k"),
        dtypes=("uint8", "uint16"),
        channels=(1, 3),
    )
    yield FormatSpec(
        name="exr",
        target="translatekit.images.hdr:ExrReader",
        writer="translatekit.images.hdr:encode_exr",
        summary="OpenEXR: floats of channels of any names",
        suffixes=(".exr",),
        signatures=((0, b"v/1\x01"),),
        dtypes=("float32",),
        takes=("uint8", "uint16", "int16"),
        alpha=True,
        requires=of_extra("exr", "OpenEXR"),
    )
    yield FormatSpec(
        name="hdr",
        target="translatekit.images.hdr:RadianceReader",
        writer="translatekit.images.hdr:encode_radiance",
        summary="Radiance HDR: floats of 8 bits and a common exponent",
        suffixes=(".hdr", ".pic"),
        written=(".hdr",),
        signatures=((0, b"#?RADIANCE"), (0, b"#?RGBE")),
        dtypes=("float32",),
        channels=(1, 3),
        lossless=False,
    )
    others = "translatekit.images.others"
    yield FormatSpec(
        name="raw",
        target=f"{others}:RawReader",
        summary="raw files of cameras, developed with the camera's white balance",
        suffixes=(".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf", ".rw2", ".pef", ".srw"),
        requires=of_extra("raw", "rawpy"),
    )
    yield FormatSpec(
        name="slide",
        target=f"{others}:SlideReader",
        summary="whole slides, by parts",
        suffixes=(".svs", ".ndpi", ".scn"),
        keeps=("resolution",),
        requires=of_extra("slides", "tiffslide"),
    )
    yield FormatSpec(
        name="gdal",
        target=f"{others}:GdalReader",
        summary="rasters that GDAL knows: virtual ones that stack bands, Erdas Imagine",
        suffixes=(".vrt", ".img"),
        keeps=("coordinates", "nodata", "names of bands"),
        requires=of_extra("geo", "rasterio"),
    )
    yield FormatSpec(
        name="imageio",
        target=f"{others}:ImageioReader",
        summary="what imageio reads and nobody else: PCX, SGI, PSD, DDS, icons, Sun rasters",
        suffixes=(
            *(
                ".pcx",
                ".sgi",
                ".bw",
                ".rgb",
                ".rgba",
                ".psd",
                ".dds",
                ".icns",
                ".xbm",
                ".xpm",
                ".msp",
                ".ras",
            ),
            *(".cur", ".mpo"),
        ),
        fallback=True,
        requires=("imageio",),
    )
    more: tuple[tuple[str, str, tuple[str, ...]], ...] = (
        ("gif", "GIF", (".gif",)),
        ("heif", "HEIC and HEIF", (".heic", ".heif", ".hif")),
        ("pbm", "portable bitmaps", (".pbm",)),
        ("tga", "Truevision TGA", (".tga",)),
        ("ico", "icons, of which the largest size is read", (".ico",)),
    )
    for name, summary, read in more:
        yield FormatSpec(
            name=name,
            target=raster,
            summary=summary,
            suffixes=read,
            requires=of_extra("heif", "pillow_heif") if name == "heif" else (),
        )


@hookimpl
def register_metrics() -> Iterable[MetricSpec]:
    """Metrics of the core."""
    yield MetricSpec(
        name="l1",
        target="translatekit.metrics.pairs:L1",
        summary="mean absolute error: on [-1, 1], or in the images' unit",
        compares="pairs",
        better="lower",
        label="L1",
        unit="image",
        minimum=0,
        perfect=0.0,
        validation=True,
        requires=_MEASURING,
    )
    yield MetricSpec(
        name="psnr",
        target="translatekit.metrics.pairs:PSNR",
        summary="peak signal-to-noise ratio in dB, at most 100",
        compares="pairs",
        better="higher",
        label="PSNR",
        unit="dB",
        maximum=100.01,
        perfect=100.0,
        validation=True,
        requires=_MEASURING,
    )
    yield MetricSpec(
        name="ssim",
        target="translatekit.metrics.pairs:SSIM",
        summary="structural similarity (Wang et al., 2004)",
        compares="pairs",
        better="higher",
        label="SSIM",
        minimum=-1,
        maximum=1.001,
        perfect=1.0,
        validation=True,
        requires=_MEASURING,
    )
    yield MetricSpec(
        name="ms_ssim",
        target="translatekit.metrics.pairs:MultiScaleSSIM",
        summary="the same over up to five scales (Wang, Simoncelli and Bovik, 2003)",
        compares="pairs",
        better="higher",
        label="MS-SSIM",
        minimum=-1,
        maximum=1.001,
        perfect=1.0,
        requires=_MEASURING,
    )
    yield MetricSpec(
        name="lpips",
        target="translatekit.metrics.pairs:LPIPS",
        summary="distance between features of AlexNet (Zhang et al., 2018)",
        compares="pairs",
        better="lower",
        label="LPIPS",
        minimum=0,
        perfect=0.0,
        channels=(1, 3),
        requires=_MEASURING,
    )
    yield MetricSpec(
        name="fid",
        target="translatekit.metrics.sets:FID",
        summary="Frechet distance between features of all outputs and of all targets (Heusel et al., 2017)",
        compares="sets",
        better="lower",
        label="FID",
        minimum=-0.01,
        channels=(1, 3),
        requires=_MEASURING,
    )
    yield MetricSpec(
        name="kid",
        target="translatekit.metrics.sets:KID",
        summary="kernel distance between the same, unbiased (Binkowski et al., 2018)",
        compares="sets",
        better="lower",
        label="KID",
        channels=(1, 3),
        requires=_MEASURING,
    )
    for name, target, summary in (
        ("pixel_accuracy", "PixelAccuracy", "label maps: pixels of the right class"),
        ("class_accuracy", "ClassAccuracy", "label maps: the same as a mean over the classes"),
        ("mean_iou", "MeanIoU", "label maps: intersection over union as a mean over the classes"),
    ):
        yield MetricSpec(
            name=name,
            target=f"translatekit.metrics.labels:{target}",
            summary=summary,
            compares="labels",
            better="higher",
            minimum=0,
            maximum=1,
            perfect=1.0,
        )


@hookimpl
def register_loggers() -> Iterable[LoggerSpec]:
    """Loggers of the core."""
    yield LoggerSpec(
        name="tensorboard",
        target="translatekit.training.loggers.tensorboard:TensorBoard",
        summary="event files in the run's folder: tensorboard --logdir runs",
        requires=of_extra("train", "torch", "tensorboard"),
    )


@hookimpl
def register_commands() -> Iterable[CommandSpec]:
    """Commands of the core."""
    yield CommandSpec(
        name="train",
        target="translatekit.cli.train:train",
        summary="train a translator on your images",
        requires=TRAINING,
        api="translatekit.training:train",
    )
    yield CommandSpec(
        name="plugins", target="translatekit.cli.plugins:plugins", summary="list, check and start plugins"
    )
    yield CommandSpec(
        name="info", target="translatekit.cli.info:info", summary="show what a model file holds"
    )
