//! The suite that every engine passes, on a real server; and what is refused when a database is opened.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use pileus_core::{Rng, SeededRng};
use pileus_store::testing::{ManualClock, conformance};
use pileus_store::{KeyRange, Read, Space};
use pileus_store_postgres::testing::Server;
use pileus_store_postgres::{Postgres, open};
use tokio::runtime::Runtime;

fn rng() -> Arc<dyn Rng> {
    Arc::new(SeededRng::new(1))
}

#[test]
fn postgres_conforms() {
    let Some(server) = Server::start() else { return };
    let runtime = Runtime::new().unwrap();
    let kv = runtime.block_on(open(&server.url(), rng())).unwrap();
    conformance::run(&kv, &Arc::new(ManualClock::default()), 64);
    runtime.block_on(async {
        kv.close().await.unwrap();
        assert!(kv.get(Space::Meta, b"a").await.is_err());
        let again = open(&server.url(), rng()).await.unwrap();
        let left =
            again.scan(Space::Items, &KeyRange::prefix("bank/"), 10, pileus_store::Direction::Forward).await;
        assert_eq!(left.unwrap().entries.len(), 6, "what was written is there when it is opened again");
    });
}

async fn refusal(url: &str) -> String {
    match Postgres::open(url, rng()).await {
        Ok(_) => panic!("{url} was opened"),
        Err(error) => error.to_string(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_opened_is_explained_in_one_line() {
    let Some(server) = Server::start() else { return };
    let port = server.port();
    // Ten nodes at once on an empty database: one makes the tables.
    let url = server.url();
    let nodes = (0..10).map(|_| Postgres::open(&url, rng()));
    for node in futures_util::future::join_all(nodes).await {
        node.unwrap();
    }
    let cases = [
        (
            "no server",
            "postgres://pileus@127.0.0.1:1/postgres".to_owned(),
            "127.0.0.1:1/postgres: error connecting",
        ),
        ("no database", format!("postgres://pileus@127.0.0.1:{port}/nothing"), "does not exist"),
        ("no user", format!("postgres://nobody:pass@127.0.0.1:{port}/postgres"), "\"nobody\" does not exist"),
        ("no tls", format!("{}?sslmode=require", server.url()), "server does not support TLS"),
    ];
    for (name, url, expected) in cases {
        let refusal = refusal(&url).await;
        assert!(refusal.contains(expected) && !refusal.contains('\n'), "{name}: {refusal}");
    }
    let (client, driver) = tokio_postgres::connect(&server.url(), tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(driver);
    client.batch_execute("ALTER DATABASE postgres SET default_transaction_read_only = on").await.unwrap();
    let read_only = refusal(&server.url()).await;
    assert!(read_only.contains("does not allow writes"), "{read_only}");
    client.batch_execute("ALTER DATABASE postgres SET default_transaction_read_only = off").await.unwrap();
    client
        .batch_execute("SET transaction_read_only = off; UPDATE pileus_schema SET version = 99")
        .await
        .unwrap();
    let newer = refusal(&server.url()).await;
    assert!(newer.contains("schema 99, of a newer release"), "{newer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_is_trusted_as_far_as_its_certificate_says() {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate =
        rcgen::CertificateParams::new(vec!["localhost".into()]).unwrap().self_signed(&key).unwrap();
    let write = |data: &Path| {
        std::fs::write(data.join("server.crt"), certificate.pem()).unwrap();
        std::fs::write(data.join("server.key"), key.serialize_pem()).unwrap();
        std::fs::set_permissions(data.join("server.key"), std::fs::Permissions::from_mode(0o600)).unwrap();
    };
    let Some(server) = Server::start_with(&["ssl = on"], write) else { return };
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root.pem");
    std::fs::write(&root, certificate.pem()).unwrap();
    let root = root.display();
    let cases = [
        // host, parameters, part of the refusal
        ("127.0.0.1", "sslmode=disable".to_owned(), None),
        ("127.0.0.1", "sslmode=prefer".to_owned(), None),
        ("127.0.0.1", "sslmode=require".to_owned(), None),
        ("127.0.0.1", "sslmode=verify-ca".to_owned(), Some("certificate")),
        ("localhost", "sslmode=verify-full".to_owned(), Some("certificate")),
        ("localhost", format!("sslmode=verify-full&sslrootcert={root}"), None),
        ("127.0.0.1", format!("sslmode=verify-full&sslrootcert={root}"), Some("certificate")),
        ("127.0.0.1", format!("sslmode=verify-ca&sslrootcert={root}"), None),
    ];
    for (host, parameters, refused) in cases {
        let url = format!("postgres://pileus@{host}:{}/postgres?{parameters}", server.port());
        match (Postgres::open(&url, rng()).await, refused) {
            (Ok(kv), None) => {
                let found = kv.get(Space::Meta, b"nothing").await;
                assert_eq!(found.unwrap(), None, "{parameters}");
            }
            (Err(error), Some(part)) => assert!(error.to_string().contains(part), "{parameters}: {error}"),
            (Ok(_), Some(_)) => panic!("{host} {parameters}: opened"),
            (Err(error), None) => panic!("{host} {parameters}: {error}"),
        }
    }
}

/// The raw rate of a put with the engine, and of the same insert as a statement of its own by as many connections.
/// `cargo test --release -p pileus-store-postgres --test conformance -- --ignored --nocapture rate`.
#[test]
#[ignore = "measures"]
fn rate() {
    use pileus_store::bench::{Load, RealClock, group_commit};
    use std::time::Duration;
    const TASKS: usize = 32;
    let Some(server) = Server::start_with(&["shared_buffers = 512MB"], |_| {}) else { return };
    let runtime = Runtime::new().unwrap();
    let time = Duration::from_secs(4);
    runtime.block_on(async {
        let store = async || {
            let kv = open(&server.url(), rng()).await.unwrap();
            pileus_store::Store::new(kv, Arc::new(RealClock::default()), rng())
        };
        let (first, second) = (store().await, store().await);
        for round in 0..2 {
            let raw = raw(&server.url(), TASKS, time).await;
            println!("round {round}: raw insert, {TASKS} connections   {raw:>9.0}/s");
            for (name, load) in [
                ("blind put", Load::BlindPut),
                ("read-modify-write", Load::ReadModifyWrite),
                ("32 gets", Load::Get),
            ] {
                let one = group_commit(first.clone(), load, TASKS, 1024, time).await.unwrap();
                println!("round {round}: {name}, one node   {one}");
            }
            // By turns, for the machine is not the same from second to second. What a put costs the server is more constant.
            for turn in 0..3 {
                let before = server.cpu();
                let one = group_commit(first.clone(), Load::BlindPut, TASKS, 1024, time / 2).await.unwrap();
                let between = server.cpu();
                let (left, right) = tokio::join!(
                    group_commit(first.clone(), Load::BlindPut, TASKS / 2, 1024, time / 2),
                    group_commit(second.clone(), Load::BlindPut, TASKS / 2, 1024, time / 2)
                );
                let two = left.unwrap().commits_per_second + right.unwrap().commits_per_second;
                let cost =
                    |cpu: Duration, rate: f64| cpu.as_secs_f64() * 1e6 / (rate * time.as_secs_f64() / 2.0);
                println!(
                    "round {round}.{turn}: blind put, one node {:>7.0}/s, {:.1} us of the server each; \
                     half the tasks on each of two {two:>7.0}/s, {:.1} us",
                    one.commits_per_second,
                    cost(between - before, one.commits_per_second),
                    cost(server.cpu() - between, two)
                );
            }
        }
    });
}

async fn raw(url: &str, tasks: usize, time: std::time::Duration) -> f64 {
    let mut running = Vec::new();
    for task in 0..tasks {
        let (client, driver) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(driver);
        running.push(tokio::spawn(async move {
            let insert = client
                .prepare("INSERT INTO pileus_items VALUES ($1, $2, 1) ON CONFLICT (k) DO UPDATE SET v = $2");
            let insert = insert.await.unwrap();
            let rng = SeededRng::new(task as u64 + 1_000_000);
            let mut value = vec![0x55; 1024];
            let mut count = 0u64;
            let puts = async {
                loop {
                    let mut key = [0; 26];
                    rng.fill(&mut key);
                    rng.fill(&mut value[..512]);
                    client.execute(&insert, &[&&key[..], &&value[..]]).await.unwrap();
                    count += 1;
                }
            };
            let _: Result<(), _> = tokio::time::timeout(time, puts).await;
            count
        }));
    }
    let mut total = 0;
    for task in running {
        total += task.await.unwrap();
    }
    total as f64 / time.as_secs_f64()
}
