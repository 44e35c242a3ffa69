"""Both engines follow motion alike, and the tensor engine never waits for its device."""

import ast
import inspect
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from models import colour_tensors, copies, transfer
from models.colour import PixelFormat
from models.fidelity import (
    change_bound,
    damage_level,
    defect_map,
    judgement,
    on_device,
    predicted_error,
)
from models.frame_state import Decoded, FrameState, OnDevice, number_frames
from models.motion import (
    alignment,
    engine,
    engines,
    exposure_tensors,
    opencv,
    patches,
    temporal_filter,
    tensor_flow,
    tensors,
)
from models.motion.alignment import SPAN, Aligner, FlowFrame
from models.motion.engines import engine_of
from models.motion.opencv import OPENCV
from models.motion.temporal_filter import TemporalFilter
from models.motion.tensors import Tensors
from models.motion.windows import align_windows
from models.network import stage, tiling
from tests.support.media.scenes import scene, sharp_scene

CPU = torch.device("cpu")
TENSORS = Tensors(CPU)
INNER, INNER_PLANES = np.s_[12:-12, 12:-12], np.s_[:, 12:-12, 12:-12]
PRESETS = ("ultrafast", "fast", "coarse", "medium", "fine")


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Small tensors are faster without threads."""
    count = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(count)


def coloured(planes: list[np.ndarray]) -> list[np.ndarray]:
    """Planes (H, W) uint8 as pictures (H, W, 3) in [0, 1], whose channels differ."""
    return [
        np.stack([plane, 255 - plane, plane // 2 + 40], -1).astype(np.float32) / 255
        for plane in planes
    ]


@pytest.fixture(scope="module", params=["soft", "sharp"])
def clean(request: pytest.FixtureRequest) -> list[np.ndarray]:
    """A view that pans, with noise of 4 code values."""
    planes = scene(3, 9, 1.5) if request.param == "soft" else sharp_scene(3, 9)
    planes = [plane[:88, :112] for plane in planes]
    rng = np.random.default_rng(1)
    return [
        (one + rng.normal(0, 4 / 255, one.shape)).astype(np.float32) for one in coloured(planes)
    ]


@pytest.fixture(scope="module")
def pictures(clean: list[np.ndarray]) -> list[np.ndarray]:
    """The same with a scratch in one frame."""
    frames = [image.copy() for image in clean]
    frames[5][:, 70:72] = 1.0
    return frames


def as_tensor(array: np.ndarray) -> torch.Tensor:
    """An array of OpenCV's engine as one of the tensor engine."""
    tensor = torch.from_numpy(np.ascontiguousarray(array)).float()
    return tensor.permute(2, 0, 1).contiguous() if array.ndim == 3 else tensor


def as_array(tensor: torch.Tensor) -> np.ndarray:
    """The reverse."""
    return (tensor.permute(1, 2, 0) if tensor.ndim == 3 else tensor).numpy()


@pytest.mark.parametrize("preset", PRESETS)
def test_flow_finds_the_motion_as_opencv_does(preset: str) -> None:
    """A pan of three pixels, and a picture that turns: endpoint error in pixels."""
    plane = scene(0, 4, 3.0)[0].astype(np.float32)
    turn = cv2.getRotationMatrix2D((80, 60), 2.0, 1.02)
    turn[:, 2] += (2.0, -1.5)
    turned = cv2.warpAffine(plane, turn, (160, 120), borderMode=cv2.BORDER_REFLECT)
    y, x = np.mgrid[:120, :160]
    truth = np.einsum("ij,jhw->hwi", turn, np.stack([x, y, np.ones_like(x)])) - np.stack([x, y], -1)
    pairs = ((plane, turned, truth), (plane, scene(0, 4, 3.0)[1], np.array([-3.0, 0.0])))
    for one, other, moved in pairs:
        lumas = [np.clip(np.rint(cv2.GaussianBlur(p, (0, 0), 1.5)), 0, 255) for p in (one, other)]
        lumas = [luma.astype(np.uint8) for luma in lumas]
        found = (
            OPENCV.search(preset)(*lumas),
            as_array(TENSORS.search(preset)(*(as_tensor(luma) for luma in lumas))),
        )
        errors = [np.linalg.norm(flow - moved, axis=-1)[INNER].mean() for flow in found]
        assert errors[1] < errors[0] + 0.1 and errors[1] < 0.4


@pytest.mark.parametrize("size", [(12, 64), (5, 7), (16, 256), (64, 12), (33, 47)])
def test_a_small_picture_has_a_flow(size: tuple[int, int]) -> None:
    luma = torch.from_numpy(np.random.default_rng(0).uniform(0, 255, size)).float()
    for preset in PRESETS:
        flow = TENSORS.search(preset)(luma, luma.roll(1, 1))
        assert flow.shape == (2, *size) and flow.isfinite().all()


def test_a_still_picture_has_no_flow(pictures: list[np.ndarray]) -> None:
    luma = TENSORS.luma(TENSORS.picture(pictures[0]), 1.5)
    assert TENSORS.search("coarse")(luma, luma).abs().max() < 1e-3


@pytest.mark.parametrize("cubic", [False, True])
def test_pictures_flows_and_planes_are_warped_alike(
    pictures: list[np.ndarray], cubic: bool
) -> None:
    rng = np.random.default_rng(0)
    flow = cv2.GaussianBlur(rng.normal(0, 40, (88, 112, 2)).astype(np.float32), (0, 0), 6)
    flow[:20, :20] += 50  # from beyond the edge
    for array in (pictures[0], flow, pictures[0][..., 0]):
        one = OPENCV.warp(array, flow, cubic)
        other = as_array(TENSORS.warp(as_tensor(array), as_tensor(flow), cubic))
        # OpenCV before 5 samples at whole 1/32 of a pixel
        assert np.abs(one - other).mean() < 0.01 * array.std()
        assert one.shape == other.shape


def test_every_step_of_the_alignment_is_alike(pictures: list[np.ndarray]) -> None:
    here, there = pictures[3], pictures[4]
    ours = [TENSORS.picture(image) for image in (here, there)]
    lumas = [OPENCV.luma(image, 1.5) for image in (here, there)]
    planes = [TENSORS.luma(image, 1.5) for image in ours]
    for luma, plane in zip(lumas, planes, strict=True):
        apart = np.abs(luma - as_array(plane))
        assert apart.max() <= 1 and apart.mean() < 0.01
    flow = OPENCV.search("coarse")(*lumas)
    flow[40:70, 30:60] += 9  # a bad match, to be filled
    filled, trust = OPENCV.matched(*lumas, flow)
    found = TENSORS.matched(*(as_tensor(luma) for luma in lumas), as_tensor(flow))
    assert np.abs(filled - flow).max() > 5
    assert np.abs(filled - as_array(found[0])).mean() < 0.02
    assert np.abs(trust - as_array(found[1])).max() < 0.1
    moved = OPENCV.warp(there, filled, cubic=True)
    moved[:, :3] += 0.2  # a torn line, which fits worse than the still one
    kept = OPENCV.keep_edges(here, moved.copy(), there)
    same = TENSORS.keep_edges(ours[0], as_tensor(moved), ours[1])
    assert np.abs(kept - moved).max() > 0.1
    assert np.abs(kept - as_array(same)).max() < 1e-5


def test_every_step_of_the_filter_is_alike(pictures: list[np.ndarray]) -> None:
    here, there = pictures[4], pictures[5]
    ours = [TENSORS.picture(image) for image in (here, there)]
    trust = OPENCV.agreement(here, there)
    assert np.abs(trust - as_array(TENSORS.agreement(*ours))).max() < 1e-4
    mean, weight = OPENCV.weighted_mean(here, [(there, trust)])
    found = TENSORS.weighted_mean(ours[0], [(ours[1], as_tensor(trust))])
    assert np.abs(mean - as_array(found[0])).max() < 1e-5
    soft = cv2.GaussianBlur(mean, (0, 0), 1.2)
    for image in (mean, soft):
        assert float(tensors.softness(as_tensor(image))) == pytest.approx(
            opencv.softness(image), abs=1e-3
        )
        sharp = TENSORS.sharpened(as_tensor(image), found[1], 0.7)
        assert np.abs(as_array(sharp) - OPENCV.sharpened(image.copy(), weight, 0.7)).max() < 1e-4
    assert opencv.softness(soft) > opencv.softness(mean)
    assert float(tensors.softness(torch.zeros(3, 20, 20))) == opencv.softness(
        np.zeros((20, 20, 3), np.float32)
    )
    blended = OPENCV.blended(here, there, 0.3)
    assert np.abs(blended - as_array(TENSORS.blended(*ours, 0.3))).max() < 1e-5


def aligned(images: list[np.ndarray], which: engine.Engine, preset: str) -> FrameState:
    frames = which.raised(number_frames(images))
    return next(align_windows(frames, preset, (4,), which))


@pytest.mark.parametrize("preset", ["coarse", "fine"])
def test_windows_fit_the_centre_as_those_of_opencv_do(clean: list[np.ndarray], preset: str) -> None:
    found = [aligned(clean, which, preset).window for which in (OPENCV, TENSORS)]
    assert found[0] is not None and found[1] is not None
    fits = []
    for frames, trust, _ in found:
        apart = (frames[1:] - frames[:1]).square().mean(1) * trust
        fits.append(apart[INNER_PLANES].mean((1, 2)) / trust[INNER_PLANES].mean((1, 2)))
    assert (10 * torch.log10(fits[1] / fits[0])).max() < 0.5  # dB
    trusts = [trust[INNER_PLANES].mean((1, 2)) for _, trust, _ in found]
    assert (trusts[1] - trusts[0]).min() > -0.03


def test_pictures_are_filtered_alike(pictures: list[np.ndarray]) -> None:
    made = []
    for which in (OPENCV, TENSORS):
        frames = [
            FrameState(k, image, image, noise_weight=0.5, filter_share=0.8)
            for k, image in enumerate(pictures)
        ]
        filtered = list(TemporalFilter(which).run(which.raised(frames)))
        made.append(which.image(filtered[2]))
    assert 255 * np.abs(made[0] - pictures[2])[INNER].mean() > 0.5
    assert 255 * np.abs(made[0] - as_array(made[1]))[INNER].mean() < 0.4


def test_the_highest_around_a_pixel_is_alike() -> None:
    plane = torch.rand(33, 47, generator=torch.Generator().manual_seed(0))
    size = np.ones((defect_map.DEFECT_SURROUNDINGS,) * 2, np.uint8)
    assert np.array_equal(defect_map.pooled(plane).numpy(), cv2.dilate(plane.numpy(), size))


def test_the_device_chooses_the_engine() -> None:
    assert engine_of(CPU) is OPENCV
    assert isinstance(engine_of(CPU, tensors=True), Tensors)
    assert isinstance(engine_of(torch.device("cuda")), Tensors)
    assert engine_of(torch.device("cuda"), tensors=False) is OPENCV


def test_a_gpu_without_room_leaves_motion_to_the_cpu(caplog: pytest.LogCaptureFixture) -> None:
    assert engines.fits(1080, 1920, 8 << 30) and not caplog.records
    assert not engines.fits(2160, 3840, 8 << 30)
    assert "3840x2160: 8192 MiB" in caplog.text
    assert engines.with_room(TENSORS, 2160, 3840) is TENSORS  # not on a GPU
    assert engines.with_room(OPENCV, 2160, 3840) is OPENCV


# Modules whose functions work on tensors of a device. Left out: what runs on the CPU alone.
ON_DEVICE: dict[ModuleType, set[str]] = {
    tensor_flow: set(),
    patches: set(),
    exposure_tensors: {"_landing", "known"},  # its inner function waits for the copy
    colour_tensors: {"as_planes"},  # after `landed`
    tensors: {"lowered"},  # after `landed`
    alignment: set(),
    temporal_filter: set(),
    damage_level: set(),
    judgement: set(),
    predicted_error: set(),
    defect_map: {"_highest"},  # by dilation, where the plane is on the CPU
    change_bound: {"bound_changes"},  # where pictures are on the CPU
    on_device: {"landed_planes"},  # after `landed`
    copies: {"begin", "_form"},  # what goes up is of the CPU
    transfer: {"sent"},  # the same
    stage: {"run", "_looked"},  # after `landed`; where the frame is on the CPU
    tiling: {"restore_in_tiles"},  # with places, which are found on the CPU
}
HOST_CALLS = {
    "item", "tolist", "cpu", "numpy", "nonzero", "argwhere", "masked_select", "synchronize",
    "unique", "bincount", "from_numpy",
}  # fmt: skip


def host_calls(module: ModuleType, without: set[str]) -> list[str]:
    """Calls of a module's functions that would wait for the device, with their lines."""
    found = []
    for function in ast.walk(ast.parse(inspect.getsource(module))):
        if not isinstance(function, ast.FunctionDef) or function.name in without:
            continue
        for node in ast.walk(function):
            called = node.func if isinstance(node, ast.Call) else None
            if isinstance(called, ast.Attribute) and called.attr in HOST_CALLS:
                found.append(f"{module.__name__}:{called.lineno} {called.attr}")
    return found


@pytest.mark.parametrize("module", ON_DEVICE, ids=lambda module: module.__name__)
def test_no_function_on_the_device_calls_the_host(module: ModuleType) -> None:
    assert host_calls(module, ON_DEVICE[module]) == []


def test_the_kernels_do_not_call_the_host() -> None:
    kernels = pytest.importorskip("models.motion.patch_kernels", reason="no Triton")
    assert host_calls(kernels, set()) == []


def test_host_calls_are_seen() -> None:
    assert len(host_calls(tensors, set())) == 1 and len(host_calls(defect_map, set())) >= 2


class NoHost(torch.overrides.TorchFunctionMode):
    """Fails on what would wait for a GPU: a tensor's value on the host, an index by a mask."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        waits = {"item", "tolist", "__bool__", "__float__", "__int__", "numpy", "cpu", "nonzero"}
        indexed = name == "__getitem__" and isinstance(args[1], torch.Tensor | list)
        assert name not in waits and not indexed, name
        return func(*args, **(kwargs or {}))


def through(which: Tensors, images: list[np.ndarray]) -> None:
    """A window and a filtered picture of an engine, as in the stages, left on the device."""
    frames = [FlowFrame.of(which.picture(image), 1.5, which) for image in images]
    others = {k: frames[SPAN + k] for k in range(-SPAN, SPAN + 1) if k}
    decoded = Decoded((np.zeros((88, 112), np.uint8),) * 3, PixelFormat.of("gbrp", 8, 0, 2, 88))
    lacking = np.zeros(images[0].shape[:2], bool)
    lacking[20:26, 30:34] = lacking[60:64, 80:90] = True
    places = on_device.Places(lacking, FrameState.read(0, images[0]))
    with NoHost():
        window = Aligner("fine", which).window(frames[SPAN], others)
        near = damage_level.Nearest.of(window.frames[None], window.trust[None])
        damage_level.damage_level(near)
        logits = window.trust[0] * 4 - 2
        if window.trust.is_cuda:  # on a CPU it has OpenCV's dilation
            judgement.judge(window.frames[0], logits, logits, window.trust, near)
        damage_level.noise_level(near)
        predicted_error.predicted_error(logits)
        filter_ = TemporalFilter(which)
        filter_._mean({k: frames[SPAN + k] for k in range(-2, 3)}, 0.5)
        raw = 255 * (window.frames[:1] - window.frames[1:3]).mean(1)
        on_device.Beside.of(window.frames[0], window.frames[1], raw)
        places.patched(OnDevice(window.frames[0], window.frames[1]))
        colour_tensors.to_land(decoded, colour_tensors.picture(decoded, which.device)())
        exposure = exposure_tensors.TensorExposure(which)
        seen = [exposure.seen(frame) for frame in which.raised(number_frames(images[:2]))]
        levels = [one.quantiles for one in seen]
        exposure.step(*seen, levels, levels)


def test_no_value_of_a_tensor_comes_to_the_host(pictures: list[np.ndarray]) -> None:
    through(TENSORS, pictures)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.gpu
def test_a_gpu_is_never_waited_for(pictures: list[np.ndarray]) -> None:
    which = Tensors(torch.device("cuda"))
    through(which, pictures)  # grids and kernels are made once
    torch.cuda.set_sync_debug_mode("error")
    try:
        through(which, pictures)
    finally:
        torch.cuda.set_sync_debug_mode("default")
