"""Local film defects: drifting scratches, dust and hairs, blotches of lost emulsion, stains.

Every defect is laid over the clip with an opacity in [0, 1]. Opacities below `FAINT` become zero,
so that a defect has an outline and its mask is exactly the set of changed pixels. Clips are float32
(T, H, W, 3) in 0..255 and are changed in place; lengths are in pixels.
"""

import cv2
import numpy as np

from models.damage.processes import ar1, smooth_noise

FAINT = 0.05  # opacity below which a defect is not drawn
DUST_AREA = 256 * 256  # pixels of the frame that dust rates refer to


def overlay(frame: np.ndarray, alpha: np.ndarray, paint: np.ndarray, top: int, left: int) -> None:
    """Blend `paint` over one frame (H, W, 3) at (top, left); `alpha` and `paint` are (h, w)."""
    height, width = frame.shape[:2]
    y0, x0 = max(top, 0), max(left, 0)
    y1, x1 = min(top + alpha.shape[0], height), min(left + alpha.shape[1], width)
    if y0 >= y1 or x0 >= x1:
        return
    window = np.s_[y0 - top : y1 - top, x0 - left : x1 - left]
    opacity = np.where(alpha[window] < FAINT, 0, alpha[window])[..., None]
    patch = frame[y0:y1, x0:x1]
    patch += opacity * (paint[window][..., None] - patch)


def scratches(
    clip: np.ndarray,
    rng: np.random.Generator,
    lines: float = 3,
    contrast: tuple[float, float] = (18, 95),
    width_px: tuple[float, float] = (1, 3),
    drift_px: float = 0.8,
    jitter_px: float = 0.6,
    multiply_share: float = 0.2,
) -> np.ndarray:
    """Vertical lines that wander over the frames; `contrast` is in grey levels, of either sign.

    A share of them multiplies the picture instead, by 1 + contrast / 128.
    """
    for _ in range(round(lines)):
        strength = rng.uniform(*contrast) * rng.choice((-1, 1), p=(0.4, 0.6))
        scratch(
            clip,
            rng,
            strength,
            multiply=bool(rng.random() < multiply_share),
            width_px=rng.uniform(*width_px),
            drift_px=rng.uniform(-drift_px, drift_px),
            jitter_px=rng.uniform(0, jitter_px),
        )
    return clip


def scratch(
    clip: np.ndarray,
    rng: np.random.Generator,
    strength: float,
    multiply: bool,
    width_px: float,
    drift_px: float,
    jitter_px: float,
) -> None:
    """Draw one line over 60-100 % of the height on at least 60 % of the frames."""
    count, height, width = clip.shape[:3]
    frames = np.arange(count)
    centre = rng.uniform(0, width) + drift_px * frames + jitter_px * ar1(count, 0.5, rng)
    wobble = 0.6 * smooth_noise((height,), height / 4, rng)  # film is never quite straight
    wear = np.clip(0.85 + 0.25 * smooth_noise((height,), 9, rng), 0, 1)
    length = rng.uniform(0.6, 1) if rng.random() < 0.5 else 1.0
    start = rng.uniform(0, 1 - length)
    rows = np.arange(height) / height
    wear[(rows < start) | (rows > start + length)] = 0
    on = max(1, round(count * rng.uniform(0.6, 1)))
    first = int(rng.integers(0, count - on + 1))
    breath = np.clip(1 + 0.15 * ar1(count, 0.6, rng), 0.5, 1.2)
    for t in range(first, first + on):
        left = int(np.floor(centre[t] - width_px - 2))
        columns = np.arange(left, left + int(2 * width_px) + 6)
        inside = (columns >= 0) & (columns < width)
        if not inside.any():
            continue
        columns = columns[inside]
        distance = np.abs(columns[None] - (centre[t] + wobble)[:, None])  # (H, columns)
        profile = np.clip(width_px / 2 + 0.5 - distance, 0, 1) * wear[:, None]
        profile = np.where(profile < FAINT, 0, profile)[..., None] * breath[t]
        strip = clip[t, :, columns[0] : columns[-1] + 1]
        if multiply:
            strip *= 1 + profile * (strength / 128)
        else:
            strip += profile * strength


def dust(
    clip: np.ndarray,
    rng: np.random.Generator,
    rate: float = 4,
    radius_px: tuple[float, float] = (1, 8),
    hair_share: float = 0.12,
    white_share: float = 0.5,
    soft_share: float = 0.3,
    least_opacity: float = 0.7,
) -> np.ndarray:
    """Specks, flakes and hairs, new in every frame: Poisson(`rate`) per 256 x 256 pixels.

    Opacities are from `least_opacity` to 1.
    """
    height, width = clip.shape[1:3]
    for frame in clip:
        for _ in range(rng.poisson(rate * height * width / DUST_AREA)):
            y, x = rng.uniform(0, height), rng.uniform(0, width)
            radius = np.exp(rng.uniform(*np.log(radius_px)))
            hair = rng.random() < hair_share
            alpha = hair_shape(radius, rng) if hair else flake_shape(radius, rng)
            if rng.random() < soft_share:
                alpha = cv2.GaussianBlur(alpha, (0, 0), rng.uniform(0.4, 0.4 + 0.15 * radius))
            alpha *= rng.uniform(least_opacity, 1)
            paint = rng.uniform(205, 255) if rng.random() < white_share else rng.uniform(0, 45)
            shade = np.full_like(alpha, paint)
            overlay(frame, alpha, shade, int(y) - len(alpha) // 2, int(x) - len(alpha) // 2)
    return clip


def flake_shape(radius: float, rng: np.random.Generator) -> np.ndarray:
    """Opacity (n, n) of an ellipse or, half the time, of a ragged polygon, of this radius."""
    angle = np.linspace(0, 2 * np.pi, 17)[:-1]
    ragged = 0.3 * smooth_noise((16,), 1, rng) if rng.random() < 0.5 else 0
    reach = radius * np.clip(1 + ragged, 0.4, 1.8)
    aspect = rng.uniform(0.4, 1)
    points = np.stack([reach * np.cos(angle), aspect * reach * np.sin(angle)], 1)
    return _fill(points @ _rotation(rng.uniform(0, np.pi)), radius)


def hair_shape(radius: float, rng: np.random.Generator) -> np.ndarray:
    """Opacity (n, n) of a curved fibre, 5 to 10 times longer than `radius`, 1-2 pixels thick."""
    steps = 24
    length = radius * rng.uniform(5, 10)
    turn = rng.normal(0, 0.12) + 0.12 * ar1(steps, 0.8, rng)
    heading = rng.uniform(0, 2 * np.pi) + np.cumsum(turn)
    points = np.cumsum(np.stack([np.cos(heading), np.sin(heading)], 1), 0) * length / steps
    points -= points.mean(0)
    side = 2 * int(np.abs(points).max() + 4) + 1
    canvas = np.zeros((side, side), np.uint8)
    fixed = np.round((points + side // 2) * 16).astype(np.int32)  # 4 fractional bits
    thickness = 1 if radius < 4 else 2
    cv2.polylines(canvas, [fixed], False, 255, thickness, cv2.LINE_AA, 4)
    return canvas.astype(np.float32) / 255


def blotches(
    clip: np.ndarray,
    rng: np.random.Generator,
    rate: float = 0.3,
    radius_px: tuple[float, float] = (4, 45),
    white_share: float = 0.5,
) -> np.ndarray:
    """Large patches of lost emulsion, each on one frame: Poisson(`rate`) per frame."""
    height, width = clip.shape[1:3]
    for frame in clip:
        for _ in range(rng.poisson(rate)):
            y, x = rng.uniform(0, height), rng.uniform(0, width)
            radius = np.exp(rng.uniform(*np.log(radius_px)))
            alpha = blotch_shape(radius, rng) * rng.uniform(0.55, 1)
            paint = rng.uniform(195, 255) if rng.random() < white_share else rng.uniform(0, 60)
            shade = np.full_like(alpha, paint)
            if rng.random() < 0.5:
                grit = smooth_noise(alpha.shape, rng.uniform(0.8, 3), rng)
                shade = np.clip(shade + 22 * grit, 0, 255)
                alpha *= np.clip(0.8 + 0.2 * smooth_noise(alpha.shape, radius / 6 + 1, rng), 0, 1)
            overlay(frame, alpha, shade, int(y) - len(alpha) // 2, int(x) - len(alpha) // 2)
    return clip


def stains(
    clip: np.ndarray,
    rng: np.random.Generator,
    rate: float = 2,
    radius_px: tuple[float, float] = (3, 20),
    depth: tuple[float, float] = (0.15, 0.7),
    white_share: float = 0.4,
) -> np.ndarray:
    """Marks that one sees through, each on one frame: Poisson(`rate`) per 256 x 256 pixels.

    Dried drops, glue, oil. Inside, the picture is darker or lighter by a share drawn from `depth`,
    with a texture and often with a darker or lighter rim.
    """
    height, width = clip.shape[1:3]
    for frame in clip:
        for _ in range(rng.poisson(rate * height * width / DUST_AREA)):
            y, x = rng.uniform(0, height), rng.uniform(0, width)
            radius = np.exp(rng.uniform(*np.log(radius_px)))
            alpha = blotch_shape(radius, rng)
            if rng.random() < 0.4:  # most of it is at the rim
                alpha = np.clip(4 * alpha * (1 - alpha) + rng.uniform(0, 0.5) * alpha, 0, 1)
            alpha *= np.clip(1 + 0.35 * smooth_noise(alpha.shape, radius / 5 + 0.8, rng), 0, 1.3)
            alpha = np.clip(alpha * rng.uniform(*depth), 0, 1)
            paint = rng.uniform(180, 255) if rng.random() < white_share else rng.uniform(0, 50)
            shade = np.full_like(alpha, paint)
            overlay(frame, alpha, shade, int(y) - len(alpha) // 2, int(x) - len(alpha) // 2)
    return clip


def crumbs(
    clip: np.ndarray,
    rng: np.random.Generator,
    rate: float = 0.5,
    count: tuple[float, float] = (3, 14),
    reach_px: tuple[float, float] = (4, 22),
    white_share: float = 0.3,
) -> np.ndarray:
    """Heaps of small specks and short fibres, new in every frame: `rate` per 256 x 256 pixels."""
    height, width = clip.shape[1:3]
    for frame in clip:
        for _ in range(rng.poisson(rate * height * width / DUST_AREA)):
            centre, reach = rng.uniform(0, (height, width)), rng.uniform(*reach_px)
            paint = rng.uniform(200, 255) if rng.random() < white_share else rng.uniform(0, 60)
            for _ in range(round(rng.uniform(*count))):
                radius = np.exp(rng.uniform(0, np.log(3.5)))
                draw = hair_shape if rng.random() < 0.3 else flake_shape
                alpha = draw(radius, rng) * rng.uniform(0.3, 1)
                top, left = np.rint(centre + rng.normal(0, reach / 2, 2)).astype(int)
                overlay(frame, alpha, np.full_like(alpha, paint), top, left)
    return clip


def blotch_shape(radius: float, rng: np.random.Generator) -> np.ndarray:
    """Opacity (n, n) of a patch; its rim follows low-pass noise and has a random softness."""
    side = 2 * int(1.9 * radius + 3) + 1
    axis = np.arange(side, dtype=np.float32) - side // 2
    across, down = np.meshgrid(axis, axis)
    points = np.stack([across, down], -1) @ _rotation(rng.uniform(0, np.pi)).astype(np.float32)
    stretch = rng.uniform(0.6, 1)
    depth = radius - np.hypot(points[..., 0], points[..., 1] / stretch)  # pixels inside the rim
    depth += 0.28 * radius * smooth_noise(depth.shape, radius / 3, rng)
    depth += 0.06 * radius * smooth_noise(depth.shape, max(radius / 12, 0.7), rng)
    soft_px = rng.uniform(0.5, 1 + 0.25 * radius)
    edge = np.clip((side // 2 - np.hypot(across, down)) / 3, 0, 1)  # fades out before the border
    alpha: np.ndarray = np.clip(depth / soft_px, 0, 1) * edge
    return alpha.astype(np.float32)


def _rotation(angle: float) -> np.ndarray:
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def _fill(points: np.ndarray, radius: float) -> np.ndarray:
    """Opacity of a filled polygon (n, 2) around the origin, drawn at 4x the size: soft edges."""
    half = int(1.8 * radius + 3)
    side = 2 * half + 1
    canvas = np.zeros((4 * side, 4 * side), np.uint8)
    cv2.fillPoly(canvas, [np.round((points + half + 0.5) * 4).astype(np.int32)], 255)
    return cv2.resize(canvas, (side, side), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
