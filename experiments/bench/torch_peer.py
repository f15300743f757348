"""Time PyTorch training of the paper's network on a CPU: the peer of `experiments/bench.py train`.

Stand-alone (imports torch only), so that a benchmark can run it with another python. Prints one
JSON line: {"images_per_second": ..., "torch": version, "threads": n, "compiled": bool, "bfloat16":
bool}.
"""

import argparse
import json
import statistics
import time

import torch
from torch import nn
from torch.nn import functional

WIDTHS = (64, 128, 256, 512, 512)


class Network(nn.Module):
    """One 3x3 convolution, ReLU and 2x2 max-pool per group, two FC layers, codes, classes."""

    def __init__(self, width: float, image_size: int):
        super().__init__()
        widths = [max(1, round(width * channels)) for channels in WIDTHS]
        self.convolutions = nn.ModuleList(
            nn.Conv2d(c_in, c_out, 3, padding=1)
            for c_in, c_out in zip([3, *widths[:-1]], widths, strict=True)
        )
        side = image_size >> len(widths)
        hidden = max(1, round(width * 1024))
        self.fc1 = nn.Linear(widths[-1] * side * side, hidden)
        self.fc2 = nn.Linear(hidden, hidden)
        self.codes = nn.Linear(hidden, 48)
        self.classes = nn.Linear(48, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for convolution in self.convolutions:
            x = functional.max_pool2d(torch.relu(convolution(x)), 2)
        x = torch.relu(self.fc1(x.flatten(1)))
        x = torch.relu(self.fc2(x))
        return self.classes(torch.sigmoid(2 * self.codes(x)))


def seconds_per_step(step, warmup: int, steps: int) -> float:
    """Median wall time of one step, after `warmup` untimed ones."""
    for _ in range(warmup):
        step()
    times = []
    for _ in range(steps):
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--warmup", type=int, default=3)
    parser.add_argument("--width", type=float, default=1.0, help="multiplier of all widths")
    parser.add_argument("--image-size", type=int, default=32)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--compile", action="store_true", help="torch.compile the step's network")
    parser.add_argument("--bfloat16", action="store_true", help="autocast the forward pass")
    args = parser.parse_args()

    torch.manual_seed(0)
    torch.set_num_threads(args.threads)
    network = Network(args.width, args.image_size).to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9, nesterov=True)
    images = torch.randn(args.batch, 3, args.image_size, args.image_size)
    images = images.to(memory_format=torch.channels_last)
    labels = torch.randint(10, (args.batch,))
    forward = torch.compile(network) if args.compile else network

    def step() -> float:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=args.bfloat16):
            loss = functional.cross_entropy(forward(images), labels)
        loss.backward()
        optimizer.step()
        return loss.item()

    seconds = seconds_per_step(step, args.warmup, args.steps)
    report = {
        "images_per_second": round(args.batch / seconds, 1),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "compiled": args.compile,
        "bfloat16": args.bfloat16,
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
