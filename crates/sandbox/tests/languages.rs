//! A function in each language of the machine, and extensions beside one.

#![allow(clippy::unwrap_used)]

mod common;

use std::time::Duration;

use common::{Bench, request_id, text};
use pileus_sandbox::*;

/// Languages that this machine lacks are left out: `pileus doctor` names them.
fn has(bench: &Bench, runtime: &str) -> bool {
    bench.engine.interpreter(&Runtime::parse(runtime).unwrap()).is_ok()
}

#[tokio::test]
async fn a_node_function_answers_and_fails_in_awss_shapes() {
    let bench = Bench::start().await;
    if !has(&bench, "nodejs20.x") {
        return;
    }
    let source = "exports.handler = async (event, context) => {\n  console.log('hello\\nagain');\n  if (event.fail) throw new TypeError('no');\n  return { id: context.awsRequestId.length, name: event.name };\n};\n";
    let spec = bench.function("node", "nodejs20.x", "index.handler", "index.js", source);
    for _ in 0..2 {
        let outcome = bench.invoke(&spec, r#"{"name":"n"}"#).await;
        assert_eq!(text(&outcome), r#"{"id":36,"name":"n"}"#);
        assert!(
            bench.lines.all().iter().any(|line| line.ends_with("\tINFO\thello\nagain")),
            "one event of two lines"
        );
    }
    let outcome = bench.invoke(&spec, r#"{"fail":true}"#).await;
    assert!(
        text(&outcome)
            .starts_with(r#"{"errorType":"TypeError","errorMessage":"no","trace":["TypeError: no""#)
    );
    let missing = bench.function("missing", "nodejs20.x", "index.nothing", "index.js", source);
    assert!(bench.call(&missing, "{}").await.contains("Runtime.HandlerNotFound"));
    let module = bench.function(
        "module",
        "nodejs20.x",
        "index.handler",
        "index.mjs",
        "export const handler = (e, c, done) => done(null, e + 1);",
    );
    assert_eq!(bench.call(&module, "41").await, "42");
    bench.engine.stop().await;
}

#[tokio::test]
async fn a_node_function_streams() {
    let bench = Bench::start().await;
    if !has(&bench, "nodejs20.x") {
        return;
    }
    let source = "exports.handler = awslambda.streamifyResponse(async (event, stream) => {\n  stream.setContentType('text/plain');\n  stream.write('one ');\n  stream.write('two');\n  stream.end();\n});\n";
    let spec = bench.function("stream", "nodejs20.x", "index.handler", "index.js", source);
    let (parts_in, mut parts) = tokio::sync::mpsc::channel(16);
    let invocation = Invocation {
        request_id: request_id(),
        payload: "{}".into(),
        response: ResponseMode::Streaming(parts_in),
        ..Invocation::default()
    };
    let engine = bench.engine.clone();
    let invoked = tokio::spawn(async move { engine.invoke(&spec, invocation).await });
    let mut whole = String::new();
    let mut kind = None;
    while let Some(part) = parts.recv().await {
        match part {
            StreamPart::Head { content_type } => kind = content_type,
            StreamPart::Data(data) => whole.push_str(&String::from_utf8_lossy(&data)),
            StreamPart::Error { error_type, .. } => panic!("{error_type}"),
        }
    }
    assert_eq!((kind.as_deref(), whole.as_str()), (Some("text/plain"), "one two"));
    assert!(invoked.await.unwrap().unwrap().result.is_success());
    bench.engine.stop().await;
}

#[tokio::test]
async fn a_java_function_answers() {
    let bench = Bench::start().await;
    let Ok(found) = bench.engine.interpreter(&Runtime::parse("java17").unwrap()) else { return };
    let source = bench.write("java/Hello.java", "public class Hello { public String go(java.util.Map<String, Object> e) { if (e.containsKey(\"fail\")) throw new IllegalStateException(\"no\"); return \"hello \" + e.get(\"name\"); } }", 0o644);
    let java = found.rsplit('(').next().unwrap().trim_end_matches(')').to_owned();
    let javac = std::path::Path::new(&java).with_file_name("javac");
    let code = bench.dir.path().join("code/java");
    let compiled = std::process::Command::new(javac).arg("-d").arg(&code).arg(&source).status().unwrap();
    assert!(compiled.success());
    let mut spec = bench.spec("java", "java17", "Hello::go", code);
    spec.memory_mb = 512;
    assert_eq!(bench.call(&spec, r#"{"name":"j"}"#).await, r#""hello j""#);
    assert!(bench.call(&spec, r#"{"fail":1}"#).await.contains("java.lang.IllegalStateException"));
    bench.engine.stop().await;
}

const EXTENSION: &str = r#"#!/usr/bin/python3
import http.client, json, os, sys
api = http.client.HTTPConnection(os.environ['AWS_LAMBDA_RUNTIME_API'])
api.request('POST', '/2020-01-01/extension/register', json.dumps({'events': ['INVOKE', 'SHUTDOWN']}), {'Lambda-Extension-Name': 'watch.py'})
reply = api.getresponse()
body = json.loads(reply.read())
me = {'Lambda-Extension-Identifier': reply.headers['Lambda-Extension-Identifier']}
print('extension of', body['functionName'], flush=True)
while True:
    api.request('GET', '/2020-01-01/extension/event/next', headers=me)
    event = json.loads(api.getresponse().read())
    print('extension saw', event['eventType'], event.get('shutdownReason', ''), flush=True)
    if event['eventType'] == 'SHUTDOWN':
        sys.exit(0)
"#;

#[tokio::test]
async fn an_external_extension_sees_every_invocation_and_the_shutdown() {
    let bench = Bench::start().await;
    let mut spec = bench.python("extended", "def handler(e, c):\n    return e\n");
    bench.write("layer/extensions/watch.py", EXTENSION, 0o755);
    spec.layer_dirs = vec![bench.dir.path().join("layer")];
    assert_eq!(bench.call(&spec, "1").await, "1");
    bench.engine.drop_function(&spec.id);
    let gone = async {
        while bench.engine.stats().environments > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), gone).await.expect("the environment shuts down");
    let lines = bench.lines.all();
    for line in ["extension of extended", "extension saw INVOKE ", "extension saw SHUTDOWN spindown"] {
        assert!(lines.iter().any(|seen| seen == line), "{line}: {lines:?}");
    }
    bench.engine.stop().await;
}
