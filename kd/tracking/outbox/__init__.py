"""What a tracking store could not be told when it happened: kept on disk, and sent later."""
