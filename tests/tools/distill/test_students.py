"""Smaller forms of networks: which there are, and how they start with a larger one's weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from translatekit_tools.distill.candidates import Candidate, Timing, candidate_of, choose, smaller_forms
from translatekit_tools.distill.method import matching_layers

from translatekit.errors import OptionError, PluginError
from translatekit.model_info import ModelInfo
from translatekit.networks.factory import make_generator
from translatekit.registry import registry

TEACHERS: list[tuple[str, dict[str, Any]]] = [
    ("resnet", {"width": 8, "blocks": 3}),
    ("resnet", {"width": 8, "blocks": 3, "norm": "batch", "separable": True}),
    ("unet", {"width": 8, "depth": 5, "dropout": 0.0}),
    ("encoder_decoder", {"width": 8, "depth": 5, "dropout": 0.0}),
]


def make(name: str, options: dict[str, Any]) -> Any:
    torch.manual_seed(0)
    return make_generator(name, options, in_channels=3, out_channels=3).eval()


@pytest.mark.parametrize(("name", "options"), TEACHERS)
def test_a_student_of_its_teachers_shape_starts_as_its_teacher(name: str, options: dict[str, Any]) -> None:
    teacher = make(name, options)
    torch.manual_seed(1)
    student = make_generator(name, options, in_channels=3, out_channels=3).eval()
    x = torch.rand(1, 3, 32, 32) * 2 - 1
    assert not torch.equal(student(x), teacher(x))
    student.start_from(teacher)
    assert torch.equal(student(x), teacher(x))


def test_channels_that_weigh_nothing_are_the_first_to_go() -> None:
    narrow, wide, student = (make("resnet", {"width": width, "blocks": 2}) for width in (4, 8, 4))
    weights = wide.state_dict()
    for tensor in weights.values():
        tensor.zero_()
    wide.load_state_dict(_embedded(narrow.state_dict(), weights))
    for parameter in student.parameters():
        torch.nn.init.constant_(parameter, 7.0)
    student.start_from(wide)
    x = torch.rand(1, 3, 32, 32) * 2 - 1
    assert torch.allclose(student(x), narrow(x), atol=1e-5)


def test_layers_of_another_kind_than_the_teachers_keep_their_weights() -> None:
    teacher = make("resnet", {"width": 8, "blocks": 1})
    student = make("resnet", {"width": 8, "blocks": 1, "upsampling": "nearest"})
    own = student.decoder[0][0].weight.clone()
    student.start_from(teacher)
    assert torch.equal(student.decoder[0][0].weight, own)
    assert torch.equal(student.encoder[1][0].weight, teacher.encoder[1][0].weight)


def _embedded(small: dict[str, Any], large: dict[str, Any]) -> dict[str, Any]:
    """A narrow network's weights as the first channels of a wide one's, the rest zero."""
    for key, tensor in small.items():
        large[key][tuple(slice(0, side) for side in tensor.shape)] = tensor
    return large


@pytest.mark.parametrize(("name", "options"), TEACHERS)
def test_smaller_forms_can_be_made_and_start_from_their_teacher(name: str, options: dict[str, Any]) -> None:
    teacher = make(name, options)
    forms = list(registry("generator").get(name).load_students()(teacher.arguments))
    assert forms
    for form in forms[:: max(1, len(forms) // 4)]:
        student = make_generator(name, form).eval()
        student.start_from(teacher)
        assert student(torch.zeros(1, 3, 32, 32)).isfinite().all()
        assert sum(p.numel() for p in student.parameters()) < sum(p.numel() for p in teacher.parameters())


def test_multiplications_are_counted_without_making_weights() -> None:
    options = {"in_channels": 3, "out_channels": 3, "width": 64, "blocks": 9}
    teacher = candidate_of("resnet", options, options, 256)
    assert teacher.parameters == 11_378_179
    assert teacher.multiplications == pytest.approx(49.55e9, rel=1e-3)
    assert candidate_of("resnet", {**options, "width": 16}, options, 256).multiplications < 4e9


def test_forms_keep_to_the_size_that_was_asked_for() -> None:
    info = ModelInfo(
        method="cyclegan",
        generator="resnet",
        generator_options=make_generator("resnet", {}, in_channels=3, out_channels=3).arguments,
    )
    forms = smaller_forms(info, 256, 15, 500_000)
    assert forms
    assert all(item.bytes <= 500_000 for item in forms)
    counts = [item.multiplications for item in forms]
    assert counts == sorted(counts, reverse=True)
    with pytest.raises(
        OptionError, match=r"no smaller form of resnet .* in 10 bytes: ask for a smaller --faster"
    ):
        smaller_forms(info, 256, 15, 10)


def test_a_generator_without_smaller_forms_says_so() -> None:
    with pytest.raises(
        PluginError, match="'timm_unet' offers no smaller forms of itself: name one with --student"
    ):
        registry("generator").get("timm_unet").load_students()


def test_the_most_capable_of_the_fast_enough_is_chosen() -> None:
    def item(name: str, multiplications: int, *faster: float) -> Candidate:
        timings = {
            str(number): Timing(median=1, low=1, high=1, faster=value) for number, value in enumerate(faster)
        }
        return Candidate(
            name=name, options={}, parameters=1, multiplications=multiplications, timings=timings
        )

    forms = [item("a", 9, 20, 3), item("b", 5, 11, 12), item("c", 7, 10, 10), item("d", 1, 30, 30)]
    assert [found.name for found in choose(forms, 10, 1)] == ["c"]
    assert [found.name for found in forms if found.chosen] == ["c"]
    with pytest.raises(
        OptionError, match=r"the fastest, d, reaches 30.0x in 0, 30.0x in 1: ask for a smaller"
    ):
        choose(forms, 50, 1)


def test_features_are_compared_at_the_same_resolutions() -> None:
    x = torch.zeros(1, 3, 32, 32)
    pairs = matching_layers(
        make("resnet", {"width": 2, "blocks": 3}), make("resnet", {"width": 4, "blocks": 9}), x
    )
    assert ("blocks.2", "blocks.8", 8, 16) in pairs
    assert ("blocks.0", "blocks.4", 8, 16) in pairs
    assert not any(name.startswith("head") for name, *_ in pairs)
    unets = matching_layers(make("unet", {"width": 2, "depth": 4}), make("unet", {"width": 4, "depth": 5}), x)
    assert ("encoder.0", "encoder.0", 2, 4) in unets
    assert all(one.partition(".")[0] == other.partition(".")[0] for one, other, _, _ in unets)
