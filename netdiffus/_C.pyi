compiler: str
openmp: bool
cuda_built: bool
cuda_architectures: str

def isa() -> str: ...
def isas() -> list[str]: ...
def set_isa(name: str) -> None: ...
def gasf(x: int, batch: int, n: int, field: int, double: bool, threads: int) -> None: ...
def gasf_image(
    x: int, batch: int, n: int, size: int, gamma: float, image: int, double: bool, threads: int
) -> None: ...
def normal(
    draw: tuple[int, int, int],
    shape: tuple[int, int, int, int, bool],
    noise: int,
    double: bool,
    threads: int,
) -> None: ...
def q_sample(
    x0: int,
    signal: int,
    sigma: int,
    draw: tuple[int, int, int],
    shape: tuple[int, int, int, int, bool],
    target: int,
    xt: int,
    goal: int,
    double: bool,
    threads: int,
) -> None: ...
def denoise_step(
    factors: tuple[float, float, float, float, float, float],
    xt: int,
    out: int,
    x0_prev: int,
    draw: tuple[int, int, int],
    shape: tuple[int, int, int, int, bool],
    x_next: int,
    x0: int,
    double: bool,
    threads: int,
) -> None: ...
def gasf_decode(
    image: int,
    batch: int,
    m: int,
    gamma: float,
    iterations: int,
    exact: float,
    x: int,
    residual: int,
    double: bool,
    threads: int,
) -> None: ...
def cached_attention(
    qkv: int,
    batch: int,
    heads: int,
    length: int,
    width: int,
    place: int,
    keys: int,
    values: int,
    out: int,
    double: bool,
    threads: int,
) -> None: ...
def linear(
    map: tuple[int, int, int, int, int, int, float, bool],
    x: int,
    added: int,
    rows: int,
    out: int,
    threads: int,
) -> None: ...
def draw_tokens(
    logits: int, uniforms: int, batch: int, size: int, tokens: int, double: bool, threads: int
) -> None: ...

# Only where cuda_built.
_Draw = tuple[int, int, int]
_Shape = tuple[int, int, int, int, bool]

def gasf_cuda(x: int, batch: int, n: int, field: int, dtype: str, stream: int) -> None: ...
def gasf_image_cuda(
    x: int, batch: int, n: int, size: int, gamma: float, image: int, dtype: str, stream: int
) -> None: ...
def gasf_decode_cuda(
    image: int,
    batch: int,
    m: int,
    gamma: float,
    iterations: int,
    exact: float,
    x: int,
    residual: int,
    dtype: str,
    stream: int,
) -> None: ...
def normal_cuda(draw: _Draw, shape: _Shape, noise: int, dtype: str, stream: int) -> None: ...
def q_sample_cuda(
    x0: int,
    signal: int,
    sigma: int,
    draw: _Draw,
    shape: _Shape,
    target: int,
    xt: int,
    goal: int,
    dtype: str,
    stream: int,
) -> None: ...
def denoise_step_cuda(
    factors: tuple[float, float, float, float, float, float],
    xt: int,
    out: int,
    x0_prev: int,
    draw: _Draw,
    shape: _Shape,
    x_next: int,
    x0: int,
    dtype: str,
    stream: int,
) -> None: ...
def cached_attention_cuda(
    qkv: int,
    batch: int,
    heads: int,
    length: int,
    width: int,
    place: int,
    keys: int,
    values: int,
    out: int,
    dtype: str,
    stream: int,
) -> None: ...
def draw_tokens_cuda(
    logits: int, uniforms: int, batch: int, size: int, tokens: int, dtype: str, stream: int
) -> None: ...
