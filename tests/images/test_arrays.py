"""NumPy's files as images: exactly, with axes that are said or told by the shape, and never by running code."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from translatekit.images import (
    Image,
    UnreadableImageError,
    encode_image,
    open_image,
    read_header,
    read_image,
    write_volume,
)
from translatekit.images.image import file_spec, white_of

PROFILE = settings(derandomize=True, database=None, max_examples=40, deadline=None)


def npy(values: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, values, allow_pickle=True)
    return buffer.getvalue()


def npz(**arrays: object) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


@PROFILE
@example(np.zeros((1, 1, 2), np.uint8), ".tif")
@given(
    hnp.arrays(
        st.sampled_from([np.uint8, np.uint16, np.int16, np.float32]),
        hnp.array_shapes(min_dims=3, max_dims=3, max_side=9),
        elements={"allow_subnormal": False},  # which a network that was run here may have turned off
    ),
    st.sampled_from([".npz", ".tif"]),
)
def test_every_array_comes_back(values: np.ndarray, suffix: str) -> None:
    white = white_of(values.dtype)
    spec = file_spec(values.shape[2], values.dtype.name, white is not None)
    data = encode_image(Image(pixels=values, spec=spec, white=white), suffix)
    again = read_image(data, suffix=suffix)
    assert again.pixels.dtype == values.dtype
    np.testing.assert_array_equal(again.pixels, values)
    assert again.spec == read_header(data, suffix=suffix).spec == spec


@pytest.mark.parametrize(
    ("shape", "size", "channels"),
    [
        ((20, 30), (20, 30), 1),
        ((20, 30, 3), (20, 30), 3),
        ((13, 20, 30), (20, 30), 13),
        ((5, 30, 20), (30, 20), 5),
        ((1, 20, 30), (20, 30), 1),
    ],
)
def test_channels_are_the_shortest_axis(shape: tuple[int, ...], size: tuple[int, int], channels: int) -> None:
    values = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    image = read_image(npy(values))
    assert image.pixels.shape == (*size, channels)
    wanted = values if len(shape) == 2 else values if shape[-1] == channels else values.transpose(1, 2, 0)
    np.testing.assert_array_equal(image.pixels, wanted.reshape(image.pixels.shape))


@pytest.mark.parametrize("shape", [(8, 8, 8), (3, 20, 3), (300, 512, 512), (64, 48, 300), (2, 3, 4, 5)])
def test_what_the_shape_does_not_tell_is_never_guessed(shape: tuple[int, ...]) -> None:
    with pytest.raises(UnreadableImageError, match=r"does not tell which axis.*axes='CYX'"):
        read_header(npy(np.zeros(shape, np.uint8)))


def test_axes_that_are_said_are_obeyed(tmp_path: Path) -> None:
    values = np.arange(3 * 20 * 3, dtype=np.uint16).reshape(3, 20, 3)
    for axes, wanted in (
        ("CYX", values.transpose(1, 2, 0)),
        ("YXC", values),
        ("XYC", values.transpose(1, 0, 2)),
    ):
        np.testing.assert_array_equal(read_image(npz(image=values, axes=axes)).pixels, wanted)
    volume = np.arange(4 * 5 * 6 * 2, dtype=np.int16).reshape(4, 5, 6, 2)
    path = tmp_path / "v.npz"
    path.write_bytes(npz(image=volume, axes="ZYXC"))
    with open_image(path) as image:
        assert image.header().pages == 4
        np.testing.assert_array_equal(image.read(3).pixels, volume[3])
        with pytest.raises(UnreadableImageError, match="no slice 5"):
            image.read(4)
    for wrong in ("YXQ", "YYX", "YC"):
        with pytest.raises(UnreadableImageError, match="axes"):
            read_image(npz(image=values, axes=wrong))


def test_a_part_of_a_large_array_is_read_alone(tmp_path: Path) -> None:
    path = tmp_path / "large.npy"
    large = np.lib.format.open_memmap(
        path, "w+", np.uint16, (30_000, 20_000)
    )  # 1.2 GB, hardly any of it on disk
    large[25_000, 7] = 41
    with open_image(path) as image:
        assert (image.header().height, image.header().width) == (30_000, 20_000)
        assert image.read_region(25_000, 0, 1, 8).pixels[0, 7, 0] == 41
        with pytest.raises(UnreadableImageError, match="pixels"):
            image.read()


def test_no_code_is_run() -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, ...]:
            raise AssertionError("unpickled")

    data = npy(np.zeros((4, 4), object))
    with pytest.raises(UnreadableImageError, match="would have to be unpickled"):
        read_image(data)
    with pytest.raises(UnreadableImageError, match="unpickled"):
        read_image(npz(image=np.zeros((4, 4), object)))


def test_absurd_and_contradictory_headers_are_refused_before_memory_is_taken() -> None:
    buffer = io.BytesIO()
    header = {"descr": "<f4", "fortran_order": False, "shape": (10**6, 10**6, 3)}
    np.lib.format.write_array_header_1_0(buffer, header)
    with pytest.raises(UnreadableImageError, match="its header says"):
        read_header(buffer.getvalue(), suffix=".npy")
    with pytest.raises(UnreadableImageError, match="holds 2 arrays"):
        read_image(npz(a=np.zeros((4, 4)), b=np.zeros((4, 4))))
    with pytest.raises(UnreadableImageError, match="records"):
        read_image(npy(np.zeros((4, 4), [("a", "f4")])))
    with pytest.raises(UnreadableImageError, match="neither integers nor real"):
        read_image(npy(np.zeros((4, 4), complex)))
    bomb = io.BytesIO()
    with (
        zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("image.npy", "w") as member,
    ):
        np.lib.format.write_array_header_1_0(
            member, {"descr": "|u1", "fortran_order": False, "shape": (40_000, 20_000)}
        )
        for _ in range(800):
            member.write(bytes(10**6))
    with pytest.raises(UnreadableImageError, match="pixels"):
        read_image(bomb.getvalue())


def test_integers_of_other_sizes_are_kept_exactly_or_refused() -> None:
    for dtype in (np.int8, np.int32, np.int64, np.uint32, np.bool_):
        values = np.array([[0, 1], [1, 0]], dtype)
        np.testing.assert_array_equal(read_image(npy(values)).pixels[:, :, 0], values)
    with pytest.raises(UnreadableImageError, match="24 bits"):
        read_image(npy(np.array([[0, 2**30 + 1]])))


def test_a_volume_comes_back_slice_by_slice(tmp_path: Path) -> None:
    slices = [np.full((5, 6, 2), page, np.float32) for page in range(3)]
    images = (Image(pixels=s, spec=file_spec(2, "float32", False)) for s in slices)
    write_volume(tmp_path / "v.npz", images, pages=3)
    assert np.load(tmp_path / "v.npz")["image"].shape == (3, 5, 6, 2)
    with open_image(tmp_path / "v.npz") as image:
        assert [float(image.read(page).pixels.mean()) for page in range(3)] == [0, 1, 2]


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_levels_of_fewer_than_16_bits_stay_as_bright(suffix: str) -> None:
    white = Image(pixels=np.full((4, 5, 1), 1023, np.uint16), spec=file_spec(1, "uint16", True), white=1023.0)
    again = read_image(encode_image(white, suffix), suffix=suffix)
    assert again.pixels.min() == again.white
