"""Traces to what a network learns, and back: tokens, or GASF images."""

from netdiffus.codec.gasf_codec import GasfCodec, Images
from netdiffus.codec.series import default_size
from netdiffus.codec.token_codec import TokenCodec

__all__ = ["GasfCodec", "Images", "TokenCodec", "default_size"]
