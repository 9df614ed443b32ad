compiler: str
isa: str
openmp: bool
cuda_built: bool
cuda_architectures: str

def gasf_image(
    x: int, batch: int, n: int, size: int, gamma: float, image: int, double: bool, threads: int
) -> None: ...
def gasf_image_cuda(
    x: int, batch: int, n: int, size: int, gamma: float, image: int, double: bool, stream: int
) -> None: ...
def normal(
    seed: int,
    index: int,
    batch: int,
    step: int,
    count: int,
    noise: int,
    double: bool,
    threads: int,
) -> None: ...
