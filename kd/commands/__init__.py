"""The commands, one file each: thin callers of the library, in tracked runs."""
