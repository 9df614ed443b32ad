compiler: str
openmp: bool
cuda_built: bool
cuda_architectures: str

def isa() -> str: ...
def isas() -> list[str]: ...
def set_isa(name: str) -> None: ...
def linear(
    map: tuple[int, int, int, int, int, int, float, bool],
    x: int,
    added: int,
    rows: int,
    out: int,
    threads: int,
) -> None: ...

# Other kernels are called by name, in ops/_backend.py; csrc/kernels.h says what they take.
