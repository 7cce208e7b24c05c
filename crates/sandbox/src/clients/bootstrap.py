"""The runtime client for Python: takes invocations from the Runtime API and gives them to the handler.

It imports little, because every import is part of a cold start, and speaks HTTP on a bare socket for the same reason.
With `--wait` it is started before its function is known: descriptor 3 then brings the variables, and ends.
"""

import sys

WAITS = "--wait" in sys.argv[1:]
RECORD = b"\x1ePLR"


def await_function(os, json):
    """Blocks until a function is given to this interpreter, then makes its variables our own."""
    text = b""
    while True:
        part = os.read(3, 65536)
        if not part:
            break
        text += part
    if not text:
        os._exit(0)  # the environment was not needed
    os.close(3)
    wanted = dict(json.loads(text))
    for name in [name for name in os.environ if name not in wanted]:
        del os.environ[name]
    for name, value in wanted.items():
        os.environ[name] = value


import os
import json
import time
import builtins
import _socket
import _sitebuiltins
import logging
import traceback
import linecache

# Of what `site` would do: it is not started, because it looks for packages of the machine.
builtins.exit = _sitebuiltins.Quitter("exit", "Ctrl-D (i.e. EOF)")
builtins.quit = _sitebuiltins.Quitter("quit", "Ctrl-D (i.e. EOF)")

if WAITS:
    import importlib

    # What an invocation takes is done once before there is one: the first time of anything is the slow one.
    json.dumps({"key": ["value", 1]}, ensure_ascii=False, default=str).encode("utf-8")
    json.loads('{"key": ["value", 1]}')
    await_function(os, json)

sys.argv = ["bootstrap.py"]
TASK_ROOT = os.environ["LAMBDA_TASK_ROOT"]
HOST, PORT = os.environ["AWS_LAMBDA_RUNTIME_API"].rsplit(":", 1)
HANDLER = os.environ["_HANDLER"]
IS_JSON = os.environ.get("AWS_LAMBDA_LOG_FORMAT", "").upper() == "JSON"


class Connection:
    """One kept connection to the Runtime API."""

    def __init__(self):
        self.socket = None
        self.buffer = b""

    def request(self, method, path, body=b"", headers=()):
        if self.socket is None:
            self.socket = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
            self.socket.connect((HOST, int(PORT)))
            self.socket.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
        head = [method, " /2018-06-01/runtime/", path, " HTTP/1.1\r\nHost: ", HOST, ":", PORT, "\r\n"]
        for name, value in headers:
            head += [name, ": ", value, "\r\n"]
        head += ["Content-Length: ", str(len(body)), "\r\n\r\n"]
        self.socket.sendall("".join(head).encode("latin-1", "replace") + body)
        return self.response()

    def fill(self):
        part = self.socket.recv(262144)
        if not part:
            os._exit(0)  # the engine is gone
        self.buffer += part

    def response(self):
        while True:
            end = self.buffer.find(b"\r\n\r\n")
            if end >= 0:
                break
            self.fill()
        lines = self.buffer[:end].decode("latin-1").split("\r\n")
        headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        start = end + 4
        length = int(headers.get("content-length", 0))
        if len(self.buffer) < start + length:
            parts = [self.buffer]
            have = len(self.buffer)
            while have < start + length:
                part = self.socket.recv(min(1 << 20, start + length - have))
                if not part:
                    os._exit(0)
                parts.append(part)
                have += len(part)
            self.buffer = b"".join(parts)
        body = self.buffer[start : start + length]
        self.buffer = self.buffer[start + length :]
        return int(lines[0].split(" ", 2)[1]), headers, body


def record(text):
    """One log event, however many lines it has."""
    data = text.encode("utf-8", "replace")
    sys.stdout.flush()
    view = memoryview(RECORD + len(data).to_bytes(4, "big") + data)
    while view:
        view = view[os.write(1, view) :]


class Output:
    """Standard output as AWS gives it: nothing waits in a buffer when an invocation ends."""

    def __init__(self, stream):
        self.stream = stream

    def __getattr__(self, name):
        return getattr(self.stream, name)

    def __enter__(self):
        return self.stream.__enter__()

    def __exit__(self, *error):
        return self.stream.__exit__(*error)

    def write(self, text):
        written = self.stream.write(text)
        self.stream.flush()
        return written

    def writelines(self, lines):
        self.stream.writelines(lines)
        self.stream.flush()


class State:
    request_id = ""
    tenant_id = None


def stamp():
    now = time.time()
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + ".%03dZ" % (now % 1 * 1000)


class TextFormatter(logging.Formatter):
    converter = time.gmtime

    def __init__(self):
        super().__init__("[%(levelname)s]\t%(asctime)s.%(msecs)03dZ\t%(aws_request_id)s\t%(message)s\n", "%Y-%m-%dT%H:%M:%S")


class JsonFormatter(logging.Formatter):
    converter = time.gmtime
    KNOWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "aws_request_id", "taskName"}

    def format(self, entry):
        value = {
            "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(entry.created)),
            "level": entry.levelname,
            "message": entry.getMessage(),
            "logger": entry.name,
        }
        if entry.exc_info:
            value["stackTrace"] = traceback.format_tb(entry.exc_info[2])
            value["errorType"] = getattr(entry.exc_info[0], "__name__", None)
            value["errorMessage"] = str(entry.exc_info[1])
            value["location"] = "%s:%s:%s" % (entry.pathname, entry.funcName, entry.lineno)
        if State.request_id:
            value["requestId"] = State.request_id
        if State.tenant_id:
            value["tenantId"] = State.tenant_id
        for name, extra in vars(entry).items():
            if name not in self.KNOWN and name not in value:
                value[name] = extra
        return json.dumps(value, default=str)


class LogHandler(logging.Handler):
    def emit(self, entry):
        try:
            entry.aws_request_id = State.request_id
            record(self.format(entry).rstrip("\n"))
        except Exception:
            self.handleError(entry)


LEVELS = {"TRACE": 10, "DEBUG": 10, "INFO": 20, "WARN": 30, "ERROR": 40, "FATAL": 50}


def set_up_logging():
    handler = LogHandler()
    handler.setFormatter(JsonFormatter() if IS_JSON else TextFormatter())
    root = logging.getLogger()
    root.addHandler(handler)
    level = LEVELS.get(os.environ.get("AWS_LAMBDA_LOG_LEVEL", "").upper())
    if IS_JSON and level:
        root.setLevel(level)


def frames_of(error):
    """The handler's own frames: ours come first and are left out."""
    frames = traceback.extract_tb(error.__traceback__)
    return [frame for frame in frames if frame.filename != __file__ and not frame.filename.startswith("<frozen importlib")]


def failure(error, request_id):
    kind = type(error).__name__
    if isinstance(error, Fault):
        kind, error_text, stack = error.kind, str(error), error.stack
    else:
        error_text, stack = str(error), traceback.format_list(frames_of(error))
    value = {"errorMessage": error_text, "errorType": kind, "requestId": request_id, "stackTrace": stack}
    return kind, value


def log_failure(value):
    if IS_JSON:
        entry = {"timestamp": stamp(), "log_level": "ERROR"}
        entry.update({name: value[name] for name in ("errorMessage", "errorType", "requestId", "stackTrace")})
        record(json.dumps(entry))
        return
    lines = ["[ERROR] %s: %s" % (value["errorType"], value["errorMessage"])]
    if value["stackTrace"]:
        lines.append("Traceback (most recent call last):")
        for frame in value["stackTrace"]:
            for line in frame.rstrip("\n").split("\n"):
                bare = line.lstrip(" ")
                lines.append("\u00a0" * (len(line) - len(bare)) + bare)
    record("\n".join(lines))


class Fault(Exception):
    def __init__(self, kind, text, stack=()):
        super().__init__(text)
        self.kind = kind
        self.stack = list(stack)


class CognitoIdentity:
    __slots__ = ("cognito_identity_id", "cognito_identity_pool_id")


class Client:
    def __init__(self, value):
        for name in ("installation_id", "app_title", "app_version_name", "app_version_code", "app_package_name"):
            setattr(self, name, value.get(name))


class ClientContext:
    def __init__(self, value):
        self.custom = value.get("custom")
        self.env = value.get("env")
        self.client = Client(value["client"]) if value.get("client") else None


class Context:
    def __init__(self, headers):
        self.aws_request_id = headers["lambda-runtime-aws-request-id"]
        self.invoked_function_arn = headers.get("lambda-runtime-invoked-function-arn")
        self.log_group_name = os.environ.get("AWS_LAMBDA_LOG_GROUP_NAME")
        self.log_stream_name = os.environ.get("AWS_LAMBDA_LOG_STREAM_NAME")
        self.function_name = os.environ.get("AWS_LAMBDA_FUNCTION_NAME")
        self.memory_limit_in_mb = os.environ.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE")
        self.function_version = os.environ.get("AWS_LAMBDA_FUNCTION_VERSION")
        self.tenant_id = headers.get("lambda-runtime-aws-tenant-id")
        self._epoch_deadline_time_in_ms = int(headers.get("lambda-runtime-deadline-ms", 0))
        client = headers.get("lambda-runtime-client-context")
        # Header values come as latin-1; the JSON in them is UTF-8.
        self.client_context = ClientContext(json.loads(client.encode("latin-1"))) if client else None
        self.identity = CognitoIdentity()
        cognito = headers.get("lambda-runtime-cognito-identity")
        cognito = json.loads(cognito.encode("latin-1")) if cognito else {}
        self.identity.cognito_identity_id = cognito.get("cognitoIdentityId")
        self.identity.cognito_identity_pool_id = cognito.get("cognitoIdentityPoolId")

    def get_remaining_time_in_millis(self):
        return max(0, int(self._epoch_deadline_time_in_ms - time.time() * 1000))

    def log(self, message):
        record(str(message))

    def __repr__(self):
        return "LambdaContext([aws_request_id=%s,log_group_name=%s,log_stream_name=%s,function_name=%s,memory_limit_in_mb=%s,function_version=%s,invoked_function_arn=%s,client_context=%s,identity=%s,tenant_id=%s])" % (
            self.aws_request_id,
            self.log_group_name,
            self.log_stream_name,
            self.function_name,
            self.memory_limit_in_mb,
            self.function_version,
            self.invoked_function_arn,
            self.client_context,
            self.identity,
            self.tenant_id,
        )


def load_handler():
    import importlib

    module_name, dot, function_name = HANDLER.rpartition(".")
    if not dot:
        raise Fault("Runtime.MalformedHandlerName", "Bad handler '%s': not enough values to unpack (expected 2, got 1)" % HANDLER)
    name = module_name.replace("/", ".")
    if name.split(".")[0] in sys.builtin_module_names:
        raise Fault("Runtime.BuiltInModuleConflict", "Cannot use built-in module %s as a handler module" % module_name)
    try:
        module = importlib.import_module(name)
    except ImportError as error:
        raise Fault("Runtime.ImportModuleError", "Unable to import module '%s': %s" % (module_name, error))
    except SyntaxError as error:
        stack = ['  File "%s" Line %s\n    %s' % (error.filename, error.lineno, (error.text or "").strip())]
        raise Fault("Runtime.UserCodeSyntaxError", "Syntax error in module '%s': %s" % (module_name, error), stack)
    try:
        return getattr(module, function_name)
    except AttributeError:
        raise Fault("Runtime.HandlerNotFound", "Handler '%s' missing on module '%s'" % (function_name, module_name))


def to_json(result):
    try:
        return json.dumps(result, ensure_ascii=False, default=plain).encode("utf-8")
    except Exception as error:
        raise Fault("Runtime.MarshalError", "Unable to marshal response: %s" % error)


def plain(value):
    if type(value).__name__ == "Decimal":
        return float(value)
    raise TypeError("Object of type %s is not JSON serializable" % type(value).__name__)


def serve(connection, handler):
    environ = os.environ
    loads = json.loads
    while True:
        status, headers, body = connection.request("GET", "invocation/next")
        if status != 200:
            os._exit(1)
        request_id = State.request_id = headers["lambda-runtime-aws-request-id"]
        trace = headers.get("lambda-runtime-trace-id")
        if trace:
            environ["_X_AMZN_TRACE_ID"] = trace
        State.tenant_id = headers.get("lambda-runtime-aws-tenant-id")
        try:
            try:
                event = loads(body.decode("utf-8"))
            except ValueError as error:
                raise Fault("Runtime.UnmarshalError", "Unable to unmarshal input: %s" % error)
            answer = to_json(handler(event, Context(headers)))
        except Exception as error:
            kind, value = failure(error, request_id)
            log_failure(value)
            data = json.dumps(value).encode("utf-8")
            headers = [("Content-Type", "application/json"), ("Lambda-Runtime-Function-Error-Type", kind)]
            connection.request("POST", "invocation/" + request_id + "/error", data, headers)
        else:
            connection.request("POST", "invocation/" + request_id + "/response", answer, (("Content-Type", "application/json"),))


def restore(connection):
    """Init is done: what the function wants done before its snapshot, the wait for an invocation, what it wants done after."""
    hooks = sys.modules.get("snapshot_restore_py")
    for func, args, kwargs in reversed(hooks.get_before_snapshot() if hooks else []):
        try:
            func(*args, **kwargs)
        except Exception as error:
            refuse(connection, "init/error", error)
    connection.request("GET", "restore/next")
    if "random" in sys.modules:
        sys.modules["random"].seed()
    for func, args, kwargs in hooks.get_after_restore() if hooks else []:
        try:
            func(*args, **kwargs)
        except Exception as error:
            refuse(connection, "restore/error", error)


def refuse(connection, path, error):
    kind, value = failure(error, "")
    log_failure(value)
    headers = [("Content-Type", "application/json"), ("Lambda-Runtime-Function-Error-Type", kind)]
    connection.request("POST", path, json.dumps(value).encode("utf-8"), headers)
    os._exit(1)


def main():
    sys.stdout = Output(sys.stdout)
    sys.stderr = Output(sys.stderr)
    os.chdir(TASK_ROOT)
    opt = "/opt"
    if "LAMBDA_TASK_ROOT" in os.environ and TASK_ROOT != "/var/task":
        opt = os.environ["PATH"].rsplit(":", 1)[-1].removesuffix("/bin")
    version = "python%d.%d" % sys.version_info[:2]
    folder = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [path for path in sys.path if path and os.path.abspath(path) != folder]
    layers = [opt + "/python/lib/" + version + "/site-packages", opt + "/python"]
    sys.path[0:0] = [TASK_ROOT] + [path for path in layers if os.path.isdir(path)]
    # What `pileus runtimes install` has brought: the SDK, after everything that the function brings itself.
    sys.path += [os.environ["LAMBDA_RUNTIME_DIR"] + "/python/lib", os.environ["LAMBDA_RUNTIME_DIR"] + "/packages/" + version]
    set_up_logging()
    connection = Connection()
    try:
        handler = load_handler()
    except Exception as error:
        refuse(connection, "init/error", error)
    if os.environ.get("AWS_LAMBDA_INITIALIZATION_TYPE") == "snap-start":
        restore(connection)
    serve(connection, handler)


main()
