"""Rolls out a new version of the `apply` function by weight: some of the posts go to it, the others to the old one."""

import argparse
import io
import zipfile

from deploy import ALIAS, HERE, Application


def archive(version: str) -> bytes:
    """The function's code, which says in its answers which version it is."""
    code = (HERE / "functions" / "apply" / "index.py").read_text()
    code = code.replace('VERSION = "1"', f"VERSION = {version!r}")
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as zipped:
        zipped.writestr("index.py", code)
    return packed.getvalue()


def start(application: Application, weight: float) -> str:
    """Publishes the code as it is now, and sends `weight` of the calls to it."""
    functions, function = application.client("lambda"), f"{application.prefix}-apply"
    old = functions.get_alias(FunctionName=function, Name=ALIAS)["FunctionVersion"]
    functions.update_function_code(FunctionName=function, ZipFile=archive(f"{int(old) + 1}"))
    functions.get_waiter("function_updated").wait(FunctionName=function, WaiterConfig={"Delay": 1})
    new = functions.publish_version(FunctionName=function)["Version"]
    functions.update_alias(
        FunctionName=function,
        Name=ALIAS,
        FunctionVersion=old,
        RoutingConfig={"AdditionalVersionWeights": {new: weight}},
    )
    return new


def end(application: Application, is_kept: bool) -> str:
    """Sends all calls to the new version, or none."""
    functions, function = application.client("lambda"), f"{application.prefix}-apply"
    alias = functions.get_alias(FunctionName=function, Name=ALIAS)
    new = next(iter(alias.get("RoutingConfig", {}).get("AdditionalVersionWeights", {})), alias["FunctionVersion"])
    version = new if is_kept else alias["FunctionVersion"]
    functions.update_alias(
        FunctionName=function,
        Name=ALIAS,
        FunctionVersion=version,
        RoutingConfig={"AdditionalVersionWeights": {}},
    )
    return version


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--prefix", default="conference")
    arguments.add_argument("--weight", type=float, default=0.5)
    arguments.add_argument("--finish", action="store_true", help="all calls to the new version")
    arguments.add_argument("--back", action="store_true", help="all calls to the old version")
    given = arguments.parse_args()
    application = Application(prefix=given.prefix)
    if given.finish or given.back:
        print("all calls go to version", end(application, given.finish))
    else:
        print(f"{given.weight:.0%} of the calls go to version", start(application, given.weight))


if __name__ == "__main__":
    main()
