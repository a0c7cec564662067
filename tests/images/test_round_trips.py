"""Array -> file -> array is exact for every kind of file that is written without loss; damage is told in a sentence."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from translatekit.errors import TranslatekitError
from translatekit.images import Image, encode_image, read_header, read_image
from translatekit.images.image import file_spec, white_of
from translatekit.registry import registry
from translatekit.specs import FormatSpec
from translatekit.testing.formats import samples

PROFILE = settings(derandomize=True, database=None, max_examples=12, deadline=None)
WRITTEN = [
    pytest.param(entry.spec, suffix, id=suffix)
    for entry in registry("format").entries()
    for suffix in entry.spec.written_suffixes
    if not entry.spec.missing()
]
LOSSLESS = [case for case in WRITTEN if case.values[0].lossless]  # type: ignore[union-attr]


def images(spec: FormatSpec) -> st.SearchStrategy[Image]:
    """Any image that a format says it keeps."""

    def of(values: np.ndarray) -> Image:
        white = white_of(values.dtype)
        return Image(
            pixels=values, spec=file_spec(values.shape[2], values.dtype.name, white is not None), white=white
        )

    counts = st.sampled_from(spec.channels or (1, 2, 3, 4, 5, 13))
    if spec.alpha and spec.channels:
        counts = counts.filter(lambda count: count in (1, 3))  # others are read as gray or RGB with alpha
    shapes = st.tuples(st.integers(1, 20), st.integers(1, 20), counts)
    if spec.name == "npy":  # whose shape must tell which axis is which
        shapes = st.tuples(st.integers(14, 20), st.integers(14, 20), counts)
    finite = {"allow_nan": False, "allow_infinity": False, "width": 32, "allow_subnormal": False}
    return st.sampled_from(spec.dtypes).flatmap(
        lambda dtype: hnp.arrays(
            dtype,
            shapes,
            elements=st.floats(**finite) if dtype == "float32" else None,  # type: ignore[arg-type]
        ).map(of)
    )


@pytest.mark.parametrize(("spec", "suffix"), LOSSLESS)
def test_every_number_comes_back(spec: FormatSpec, suffix: str) -> None:
    @PROFILE
    @given(images(spec))
    def check(image: Image) -> None:
        data = encode_image(image, suffix)
        again, header = read_image(data, suffix=suffix), read_header(data, suffix=suffix)
        assert again.pixels.dtype == image.pixels.dtype
        np.testing.assert_array_equal(again.pixels, image.pixels)
        assert (header.height, header.width, header.spec) == (*again.pixels.shape[:2], again.spec)

    check()


@pytest.mark.parametrize(("spec", "suffix"), WRITTEN)
def test_damaged_bytes_are_read_or_refused_in_a_sentence(spec: FormatSpec, suffix: str) -> None:
    if spec.name == "exr":
        pytest.skip("its library checks files by itself, in C++: it is cut off only, by the contracts")
    whole = bytearray(encode_image(next(samples(spec)), suffix))
    rng = np.random.default_rng(0)
    for attempt in range(40):
        data = bytearray(whole)
        places = rng.integers(0, min(len(data), 600 if attempt % 2 else len(data)), 1 + attempt % 8)
        for place in places:
            data[int(place)] = int(rng.integers(0, 256))
        said = None
        try:
            image = read_image(bytes(data), suffix=suffix)
        except TranslatekitError as error:
            said = str(error)
        if said is None:
            assert image.pixels.nbytes < 2**30
        else:
            assert "\n" not in said
            assert len(said) < 600
