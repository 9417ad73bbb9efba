"""What is below the trade: device, memory, signals, progress, files."""
