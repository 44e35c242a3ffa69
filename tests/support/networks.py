"""Networks and aligned windows for tests."""

import torch

from models.network.unet import RestorationNet

HEIGHT, WIDTH = 96, 160


def window(height: int = 48, width: int = 64) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(0)
    return torch.rand(1, 5, 3, height, width, generator=rng), torch.ones(1, 4, height, width)


def randomised(net: RestorationNet) -> RestorationNet:
    """A network whose zero-initialised layers are randomised."""
    torch.manual_seed(0)
    for parameter in net.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.05)
    net.vae.fit(torch.rand(8, 3, 64, 64))
    return net.eval()


def moving(sigma: float, bars: bool = False, soft: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """Five aligned frames of texture (``soft`` pixels wide) with grey noise of ``sigma`` code
    values, all matches believed.
    """
    rng = torch.Generator().manual_seed(0)
    rough = torch.rand(3, HEIGHT, WIDTH, generator=rng)
    scene = 0.3 + 0.4 * torch.nn.functional.avg_pool2d(rough, soft, 1, soft // 2)
    noise = torch.randn(5, 1, HEIGHT, WIDTH, generator=rng) * sigma / 255
    window = scene + noise
    if bars:  # 4:3 in 16:9, wider still
        window[..., : WIDTH // 5], window[..., -WIDTH // 5 :] = 0.0, 0.0
    return window, torch.ones(4, HEIGHT, WIDTH)


def noisy_window(sigma: float, match: bool = True) -> tuple[torch.Tensor, torch.Tensor]:
    """Five frames of one textured picture with independent noise, or of five pictures."""
    rng = torch.Generator().manual_seed(5)
    scenes = torch.rand(5, 3, 96, 128, generator=rng)
    if match:
        scenes = scenes[:1].expand(5, -1, -1, -1)
    scenes = 0.3 + 0.4 * scenes
    noise = sigma / 255 * torch.randn(scenes.shape, generator=rng)
    return (scenes + noise)[None], torch.full((1, 4, 96, 128), 1.0 if match else 0.0)
