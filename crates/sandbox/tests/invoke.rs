//! Functions run in environments, and what an invoker and a log reader see of it.

mod common;

use std::time::Duration;

use common::{Bench, text};
use pileus_sandbox::*;

const HELLO: &str =
    "def handler(event, context):\n    print('hello', event['name'])\n    return {'hello': event['name']}\n";

#[tokio::test]
async fn a_python_function_answers_and_its_environment_is_used_again() {
    let bench = Bench::start().await;
    let spec = bench.python("hello", HELLO);
    let first = bench.invoke(&spec, r#"{"name":"one"}"#).await;
    let second = bench.invoke(&spec, r#"{"name":"two"}"#).await;
    assert_eq!(text(&first), r#"{"hello": "one"}"#);
    assert_eq!(text(&second), r#"{"hello": "two"}"#);
    assert!(first.report.init.is_some() && second.report.init.is_none());
    assert_eq!(first.log_stream, second.log_stream);
    let tail = String::from_utf8_lossy(&second.log_tail).into_owned();
    assert!(tail.starts_with("START RequestId: "), "{tail}");
    assert!(tail.contains("\nhello two\nEND RequestId: "), "{tail}");
    assert!(tail.contains("\tMemory Size: 256 MB\tMax Memory Used: "), "{tail}");
    bench.engine.stop().await;
}

#[tokio::test]
async fn failures_have_awss_shapes() {
    let bench = Bench::start().await;
    let cases = [
        (
            "raises",
            "def handler(e, c):\n    raise ValueError('no')\n",
            "ValueError",
            r#""errorMessage": "no""#,
        ),
        (
            "exits",
            "import sys\ndef handler(e, c):\n    sys.exit(3)\n",
            "Runtime.ExitError",
            "Runtime exited with error: exit status 3",
        ),
        (
            "dies",
            "import os\ndef handler(e, c):\n    os.kill(os.getpid(), 11)\n",
            "Runtime.ExitError",
            "signal: segmentation fault",
        ),
        (
            "no-module",
            "import nothing_here\ndef handler(e, c): pass\n",
            "Runtime.ImportModuleError",
            "No module named 'nothing_here'",
        ),
        ("no-handler", "x = 1\n", "Runtime.HandlerNotFound", "Handler 'handler' missing on module 'app'"),
        (
            "marshal",
            "def handler(e, c):\n    return object()\n",
            "Runtime.MarshalError",
            "Unable to marshal response",
        ),
        (
            "large",
            "def handler(e, c):\n    return 'x' * 7000000\n",
            "Function.ResponseSizeTooLarge",
            "6291556 bytes",
        ),
    ];
    for (name, source, kind, message) in cases {
        let spec = bench.python(name, source);
        let outcome = bench.invoke(&spec, "{}").await;
        let InvokeResult::FunctionError { error_type, .. } = &outcome.result else {
            panic!("{name}: {outcome:?}")
        };
        assert_eq!(error_type, kind, "{name}: {}", text(&outcome));
        assert!(text(&outcome).contains(message), "{name}: {}", text(&outcome));
    }
    bench.engine.stop().await;
}

#[tokio::test]
async fn a_timeout_ends_every_process_and_the_next_invocation_starts_anew() {
    let bench = Bench::start().await;
    let source = "import time, subprocess\nn = 0\ndef handler(e, c):\n    global n\n    n += 1\n    if e == 'wait':\n        subprocess.Popen(['sleep', '1000'])\n        time.sleep(1000)\n    return n\n";
    let mut spec = bench.python("slow", source);
    spec.timeout = Duration::from_secs(1);
    assert_eq!(bench.call(&spec, "1").await, "1");
    let outcome = bench.invoke(&spec, "\"wait\"").await;
    assert!(text(&outcome).contains("Error: Task timed out after 1.00 seconds"), "{}", text(&outcome));
    assert_eq!(outcome.report.status, InvokeStatus::Timeout);
    assert_eq!(bench.call(&spec, "1").await, "1", "a fresh interpreter counts from one");
    assert_eq!(bench.engine.stats().environments, 1);
    bench.engine.stop().await;
}

#[tokio::test]
async fn the_variables_are_those_of_aws() {
    let bench = Bench::start().await;
    let mut spec = bench.python("vars", "import os\ndef handler(e, c):\n    return dict(os.environ)\n");
    spec.environment.insert("TABLE".to_owned(), "t".to_owned());
    let variables: serde_json::Value = serde_json::from_str(&bench.call(&spec, "{}").await).unwrap();
    let expected = [
        ("TABLE", "t"),
        ("TZ", ":UTC"),
        ("LANG", "en_US.UTF-8"),
        ("_HANDLER", "app.handler"),
        ("AWS_EXECUTION_ENV", "AWS_Lambda_python3.11"),
        ("AWS_LAMBDA_FUNCTION_NAME", "vars"),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256"),
        ("AWS_ACCESS_KEY_ID", "ASIAEXAMPLE"),
        ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand"),
    ];
    for (name, value) in expected {
        assert_eq!(variables[name], value, "{name}");
    }
    if bench.level() != Level::Process {
        assert_eq!(variables["AWS_LAMBDA_RUNTIME_API"], "169.254.100.1:9001");
        assert_eq!(variables["LAMBDA_TASK_ROOT"], "/var/task");
    }
    bench.engine.stop().await;
}

#[tokio::test]
async fn a_bootstrap_of_the_packages_own_runs() {
    let bench = Bench::start().await;
    let source = "#!/bin/bash\nexec 3<>/dev/tcp/${AWS_LAMBDA_RUNTIME_API/://}\nprintf 'GET /2018-06-01/runtime/invocation/next HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n' >&3\nwhile IFS= read -r line <&3; do line=${line%$'\\r'}; [ -z \"$line\" ] && break; case \"${line,,}\" in lambda-runtime-aws-request-id:*) id=${line#*: };; esac; done\nprintf \"POST /2018-06-01/runtime/invocation/$id/response HTTP/1.1\\r\\nHost: x\\r\\nContent-Length: 4\\r\\n\\r\\ntrue\" >&3\nread -r line <&3\nsleep 100\n";
    let spec = bench.function("own", "provided.al2023", "x", "bootstrap", source);
    assert_eq!(bench.call(&spec, "{}").await, "true");
    let spec = bench.function("none", "provided.al2023", "x", "other", source);
    assert!(bench.call(&spec, "{}").await.contains("Couldn't find valid bootstrap(s)"));
    bench.engine.stop().await;
}

#[tokio::test]
async fn a_function_that_waits_for_another_gets_an_environment_of_its_own() {
    let bench = Bench::start().await;
    let spec = bench.python(
        "many",
        "import time\ndef handler(e, c):\n    time.sleep(0.3)\n    return c.log_stream_name\n",
    );
    let calls = futures_util::future::join_all((0..6).map(|_| bench.call(&spec, "{}"))).await;
    let distinct: std::collections::BTreeSet<_> = calls.iter().collect();
    assert_eq!(distinct.len(), 6, "{calls:?}");
    bench.engine.stop().await;
    assert_eq!(bench.engine.stats().environments, 0);
}
