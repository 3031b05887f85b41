"""The journal mirrored to a tracking server."""
