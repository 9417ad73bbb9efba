"""A net for colour images, on grey ones."""

from torch import Tensor, nn

from kd.nets.notes import note


class RepeatedChannels(nn.Module):
    """A net that expects more channels than the images have: the one of a grey image is repeated."""

    def __init__(self, net: nn.Module, channels: int) -> None:
        """Take a net that expects so many channels."""
        super().__init__()
        self.net = net
        self.channels = channels
        note(self, f"grey images are repeated into {channels} channels")

    def forward(self, images: Tensor) -> Tensor:
        """Map (B, 1, H, W) to the net's answer to (B, channels, H, W)."""
        answer: Tensor = self.net(images.expand(-1, self.channels, -1, -1))
        return answer
