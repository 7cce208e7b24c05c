"""Packs the libraries of the badge function into a layer: Pillow and qrcode, as wheels for Lambda's Linux."""

import os
import pathlib
import platform
import shutil
import subprocess
import sys
import zipfile

PACKAGES = ["pillow==11.3.0", "qrcode==8.2"]
HERE = pathlib.Path(__file__).resolve().parent


def build(out: pathlib.Path, python: str = "3.12", machine: str = "") -> pathlib.Path:
    """Makes `layer.zip` in `out`, unless one of the same contents is there; `machine` is `x86_64` or `arm64`."""
    machine = machine or ("arm64" if platform.machine() in ("arm64", "aarch64") else "x86_64")
    tag = f"{'_'.join(PACKAGES)}_{python}_{machine}"
    archive, mark = out / "layer.zip", out / "layer.txt"
    if archive.exists() and mark.exists() and mark.read_text() == tag:
        return archive
    target = out / "layer" / "python"
    shutil.rmtree(target, ignore_errors=True)
    wheels = "manylinux2014_aarch64" if machine == "arm64" else "manylinux2014_x86_64"
    fetched = subprocess.run(
        [
            sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
            "--target", str(target), "--only-binary", ":all:", "--implementation", "cp",
            "--python-version", python, "--platform", wheels, *PACKAGES,
        ],
        env={**os.environ, "PIP_ROOT_USER_ACTION": "ignore"},
    )  # fmt: skip
    if fetched.returncode != 0:
        raise SystemExit(f"pip could not fetch {' and '.join(PACKAGES)}: is the package index reachable?")
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as zipped:
        for path in sorted(target.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                zipped.write(path, path.relative_to(out / "layer"))
    mark.write_text(tag)
    return archive


if __name__ == "__main__":
    print(build(HERE / "build"))
