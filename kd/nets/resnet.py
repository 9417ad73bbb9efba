"""CIFAR ResNets after He, Zhang, Ren and Sun (2015), section 4.2, of any width, depth and input."""

from torch import Tensor, nn
from torch.nn import functional as F

STAGES = 3


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut without parameters (He et al., option A): subsampled, padded with zeros."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.added_channels = out_channels - in_channels
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, in, H, W) to (B, out, ceil(H / stride), ceil(W / stride))."""
        out = F.relu(self.norm1(self.conv1(x)), inplace=True)
        out = self.norm2(self.conv2(out))
        if self.stride > 1:
            x = x[:, :, :: self.stride, :: self.stride]
        if self.added_channels:
            x = F.pad(x, (0, 0, 0, 0, 0, self.added_channels))
        return F.relu(out + x, inplace=True)


class ResNet(nn.Module):
    """A 3x3 stem, three stages of ``depth`` blocks with ``width``, 2 and 4 times ``width`` channels, a linear head."""

    def __init__(self, num_classes: int, in_channels: int, depth: int, width: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(in_channels, width, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        blocks: list[nn.Module] = []
        channels = width
        for stage in range(STAGES):
            for block in range(depth):
                stride = 2 if stage > 0 and block == 0 else 1
                blocks.append(ResidualBlock(channels, width * 2**stage, stride))
                channels = width * 2**stage
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(channels, num_classes)
        initialise_convolutions(self)

    def forward(self, x: Tensor) -> Tensor:
        """Map normalised images (B, in_channels, H, W) to logits (B, num_classes)."""
        x = F.relu(self.norm(self.stem(x)), inplace=True)  # (B, width, H, W)
        x = self.blocks(x)  # (B, 4 width, H / 4, W / 4)
        logits: Tensor = self.head(x.mean(dim=(2, 3)))  # (B, num_classes)
        return logits


def initialise_convolutions(net: nn.Module) -> None:
    """Draw the weights of all convolutions after He et al. (2015), "Delving Deep into Rectifiers"."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
