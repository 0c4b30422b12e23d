"""What pytest leaves out: modules of a framework that is not installed cannot be imported."""

from importlib.util import find_spec

collect_ignore_glob = [
    f"src/infeed/trainers/{name}/*.py"
    for name in ("tensorflow", "torch")
    if find_spec(name) is None
]
