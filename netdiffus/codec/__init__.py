"""Codecs: from traces to tokens or GASF images, and back."""

from netdiffus.codec.gasf_codec import GasfCodec, Images
from netdiffus.codec.series import default_size
from netdiffus.codec.token_codec import TokenCodec

__all__ = ["GasfCodec", "Images", "TokenCodec", "default_size"]
