//! FIFO queues.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::order::attempt;

#[test]
fn a_group_is_received_in_order_and_blocked_while_a_message_is_in_flight() {
    run(async {
        let world = World::new();
        let jobs = world.queue("jobs.fifo", &[]).await;
        for body in ["a1", "a2", "a3"] {
            world.send(&jobs, Some("a"), body, 0).await;
        }
        world.send(&jobs, Some("b"), "b1", 0).await;
        let first = world.receive(&jobs, 2, 1_000).await;
        assert_eq!(
            first.iter().map(body).collect::<Vec<_>>(),
            ["a1", "a2"],
            "as many of one group as possible"
        );
        assert_eq!(world.bodies(&jobs, 10, 5_000).await, ["b1"], "the other group is not blocked");
        world.delete(&jobs, &handles(&first)[1]).await.unwrap();
        assert!(world.bodies(&jobs, 10, 1_000).await.is_empty(), "the head is in flight");
        world.delete(&jobs, &handles(&first)[0]).await.unwrap();
        assert_eq!(world.bodies(&jobs, 10, 1_000).await, ["a3"]);
        world.advance(1_000);
        assert_eq!(world.bodies(&jobs, 10, 1_000).await, ["a3"], "it returns after the timeout");
    });
}

#[test]
fn the_queues_delay_holds_for_messages_that_are_in_it_already() {
    run(async {
        let world = World::new();
        let jobs = world.queue("jobs.fifo", &[]).await;
        world.send(&jobs, Some("a"), "a1", 0).await;
        world.queue("jobs.fifo", &[("DelaySeconds", "10")]).await;
        world.advance(9_999);
        assert!(world.bodies(&jobs, 10, 0).await.is_empty());
        world.advance(1);
        assert_eq!(world.bodies(&jobs, 10, 0).await, ["a1"]);
        world.send(&jobs, Some("b"), "b1", 0).await;
        assert_eq!(world.bodies(&jobs, 10, 0).await, ["a1"]);
        world.queue("jobs.fifo", &[("DelaySeconds", "0")]).await;
        assert_eq!(world.bodies(&jobs, 10, 0).await.len(), 2);
    });
}

#[test]
fn an_expired_handle_is_refused() {
    run(async {
        let world = World::new();
        let jobs = world.queue("jobs.fifo", &[]).await;
        world.send(&jobs, Some("a"), "a1", 0).await;
        let handle = &handles(&world.receive(&jobs, 1, 1_000).await)[0];
        world.advance(1_000);
        let error = world.delete(&jobs, handle).await.expect_err("expired").to_string();
        assert!(error.ends_with("Reason: The receipt handle has expired."), "{error}");
        assert!(world.change(&jobs, handle, 1_000).await.is_err());
    });
}

#[test]
fn a_failing_message_goes_to_the_dead_letter_queue_and_frees_its_group() {
    run(async {
        let world = World::new();
        let dead = world.queue("dead.fifo", &[]).await;
        let policy = format!(r#"{{"deadLetterTargetArn":"{}","maxReceiveCount":1}}"#, dead.arn());
        let jobs = world.queue("jobs.fifo", &[("RedrivePolicy", &policy)]).await;
        world.send(&jobs, Some("a"), "poison", 0).await;
        world.send(&jobs, Some("a"), "good", 0).await;
        assert_eq!(world.bodies(&jobs, 1, 1_000).await, ["poison"]);
        world.advance(1_000);
        assert_eq!(world.bodies(&jobs, 10, 1_000).await, ["good"]);
        let buried = world.receive(&dead, 10, 0).await;
        assert_eq!((body(&buried[0]).as_str(), buried[0].message.group.as_deref()), ("poison", Some("a")));
        assert_eq!(buried[0].state.sent_at, T0 + 1_000, "its age begins anew");
    });
}

#[test]
fn expired_messages_free_their_group() {
    run(async {
        let world = World::new();
        let jobs = world.queue("jobs.fifo", &[("MessageRetentionPeriod", "60")]).await;
        world.send(&jobs, Some("a"), "old", 0).await;
        world.advance(30_000);
        world.send(&jobs, Some("a"), "new", 0).await;
        world.advance(30_000);
        assert_eq!(world.bodies(&jobs, 10, 0).await, ["new"]);
    });
}

#[test]
fn a_receive_attempt_is_repeated_until_one_of_its_messages_changes() {
    run(async {
        let world = World::new();
        let jobs = world.queue("jobs.fifo", &[]).await;
        world.send(&jobs, Some("a"), "a1", 0).await;
        world.send(&jobs, Some("a"), "a2", 0).await;
        let given = &world.receive(&jobs, 10, 1_000).await;
        let replay = || async {
            let (desk, jobs) = (world.desk(), &jobs);
            let (sqs, store) = (&world.sqs, &world.store);
            store
                .transact(|txn| async move {
                    let queue = sqs.load(&txn, jobs).await?;
                    attempt::replay(desk, &txn, &queue, "try", 1_000).await
                })
                .await
                .unwrap()
        };
        assert!(replay().await.is_none(), "nobody knows the attempt");
        let (desk, queue) = (world.desk(), &world.load(&jobs).await);
        world
            .store
            .transact(|txn| async move { attempt::record(desk, &txn, queue, "try", given) })
            .await
            .unwrap();
        world.advance(900);
        let again = replay().await.expect("the same messages");
        assert_eq!(handles(&again), handles(given));
        world.advance(900);
        assert!(world.bodies(&jobs, 10, 0).await.is_empty(), "the timeout began anew");
        world.delete(&jobs, &handles(given)[0]).await.unwrap();
        assert!(replay().await.is_none(), "a message was deleted");
    });
}

#[derive(Debug, Clone)]
enum Step {
    Send { group: usize },
    Receive { max: usize, timeout: u64 },
    Delete { which: usize },
    Change { which: usize, timeout: u64 },
    Advance { by: u64 },
    Delay { seconds: u64 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0usize..3).prop_map(|group| Step::Send { group }),
        4 => (1usize..5, prop::sample::select(vec![0u64, 500, 1_000])).prop_map(|(max, timeout)| Step::Receive { max, timeout }),
        3 => (0usize..100).prop_map(|which| Step::Delete { which }),
        1 => (0usize..100, prop::sample::select(vec![0u64, 300, 5_000])).prop_map(|(which, timeout)| Step::Change { which, timeout }),
        2 => (1u64..800).prop_map(|by| Step::Advance { by }),
        1 => (0u64..2).prop_map(|seconds| Step::Delay { seconds }),
    ];
    prop::collection::vec(step, 1..80)
}

struct Model {
    body: String,
    sent_at: u64,
    visible_at: u64,
    receives: u32,
    handle: Option<String>,
}

/// How many messages at the head of a group can be received.
fn available(group: &[Model], now: u64, delay: u64) -> usize {
    let hidden = |m: &Model| m.visible_at > now || (m.receives == 0 && m.sent_at + delay > now);
    group.iter().position(hidden).unwrap_or(group.len())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Each receive gives out heads of groups, in order, as many as there are; a group is cut short only by the limit.
    #[test]
    fn a_fifo_queue_does_what_a_list_for_each_group_does(steps in steps()) {
        run(async {
            let world = World::new();
            let jobs = world.queue("jobs.fifo", &[]).await;
            let mut model: BTreeMap<String, Vec<Model>> = BTreeMap::new();
            let (mut given, mut delay) = (Vec::<String>::new(), 0);
            for (number, step) in steps.into_iter().enumerate() {
                let now = world.desk().now;
                match step {
                    Step::Send { group } => {
                        let (group, body) = (format!("g{group}"), format!("m{number}"));
                        world.send(&jobs, Some(&group), &body, 0).await;
                        let message = Model { body, sent_at: now, visible_at: now, receives: 0, handle: None };
                        model.entry(group).or_default().push(message);
                    }
                    Step::Receive { max, timeout } => {
                        let delivered = world.receive(&jobs, max, timeout).await;
                        let all: usize = model.values().map(|group| available(group, now, delay)).sum();
                        if timeout > 0 {
                            assert_eq!(delivered.len(), all.min(max));
                        }
                        assert_eq!(delivered.is_empty(), all == 0);
                        let mut taken: BTreeMap<&str, usize> = BTreeMap::new();
                        for one in &delivered {
                            let name = one.message.group.as_deref().expect("a group");
                            let at = taken.entry(name).or_default();
                            assert_eq!(model[name][*at].body, body(one), "the next of its group");
                            *at += 1;
                        }
                        let cut = taken.iter().filter(|(name, count)| **count < available(&model[**name], now, delay));
                        let cut = cut.count();
                        assert!(cut <= 1 || timeout == 0);
                        assert!(taken.iter().all(|(name, count)| *count <= available(&model[*name], now, delay)));
                        for one in &delivered {
                            let group = model.get_mut(one.message.group.as_deref().expect("a group")).expect("known");
                            let known = group.iter_mut().find(|m| m.body == body(one)).expect("known");
                            known.visible_at = now + timeout;
                            known.receives += 1;
                            known.handle = Some(one.receipt.to_handle());
                        }
                        given.extend(handles(&delivered));
                    }
                    Step::Delete { which } => {
                        let Some(handle) = given.get(which % given.len().max(1)) else { continue };
                        let holds = |m: &Model| m.handle.as_ref() == Some(handle) && m.visible_at > now;
                        let got = world.delete(&jobs, handle).await;
                        let group = model.values_mut().find(|group| group.iter().any(holds));
                        assert_eq!(matches!(got, Ok(true)), group.is_some(), "{got:?}");
                        if let Some(group) = group {
                            group.retain(|m| !holds(m));
                        }
                    }
                    Step::Change { which, timeout } => {
                        let Some(handle) = given.get(which % given.len().max(1)) else { continue };
                        let known = model.values_mut().flatten().find(|m| {
                            m.handle.as_ref() == Some(handle) && m.visible_at > now
                        });
                        assert_eq!(world.change(&jobs, handle, timeout).await.is_ok(), known.is_some());
                        if let Some(known) = known {
                            known.visible_at = now + timeout;
                        }
                    }
                    Step::Advance { by } => world.advance(by),
                    Step::Delay { seconds } => {
                        delay = seconds * 1_000;
                        world.queue("jobs.fifo", &[("DelaySeconds", &seconds.to_string())]).await;
                    }
                }
            }
        });
    }
}
