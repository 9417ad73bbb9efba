"""The machine under the library: device, memory, signals, progress, files."""
