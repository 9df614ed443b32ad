compiler: str
openmp: bool
cuda_built: bool
cuda_architectures: str

def isa() -> str: ...
def isas() -> list[str]: ...
def set_isa(name: str) -> None: ...

# The kernels are called by name, in ops/_backend.py; csrc/kernels.h says what they take.
