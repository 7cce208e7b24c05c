//! Standard queues.

use pileus_store::{Space, Topic};
use proptest::prelude::*;

use super::*;

#[test]
fn a_received_message_reappears_when_its_visibility_timeout_runs_out() {
    run(async {
        let world = World::new();
        let jobs = world.queue("jobs", &[]).await;
        world.send(&jobs, None, "hello", 0).await;
        assert_eq!(world.bodies(&jobs, 10, 30_000).await, ["hello"]);
        world.advance(29_999);
        assert!(world.bodies(&jobs, 10, 30_000).await.is_empty());
        world.advance(1);
        let again = world.receive(&jobs, 10, 30_000).await;
        assert_eq!((body(&again[0]).as_str(), again[0].state.total_receive_count()), ("hello", 2));
    });
}

#[test]
fn a_deep_queue_gives_each_message_once_in_order_and_skips_what_is_gone() {
    run(async {
        let world = World::new();
        let jobs = world.queue("jobs", &[]).await;
        for number in 0..200 {
            world.send(&jobs, None, &number.to_string(), 0).await;
            world.advance(1);
        }
        let first = handles(&world.receive(&jobs, 10, 1_000).await);
        assert_eq!(first.len(), 10);
        world.advance(1_000);
        // The ten are back, behind the others; looks have read all of them ahead when two are deleted.
        let mut seen = Vec::new();
        for round in 0..19 {
            if round == 18 {
                for handle in &first[..2] {
                    assert!(world.delete(&jobs, handle).await.unwrap());
                }
            }
            seen.extend(world.bodies(&jobs, 10, 60_000).await);
        }
        let mut rest = world.bodies(&jobs, 10, 60_000).await;
        while !rest.is_empty() {
            seen.append(&mut rest);
            rest = world.bodies(&jobs, 10, 60_000).await;
        }
        let expected: Vec<String> = (10..200).chain(2..10).map(|number| number.to_string()).collect();
        assert_eq!(seen, expected);
    });
}

#[test]
fn what_was_put_in_below_is_found_at_once_when_it_is_old_and_soon_when_it_is_new() {
    run(async {
        let world = World::new();
        let jobs = world.queue("jobs", &[]).await;
        for (old, expected) in [(100, ["a", "b", "c", "below"]), (5_000, ["a", "below", "b", "c"])] {
            world.advance(60_000);
            for text in ["a", "b", "c"] {
                world.send(&jobs, None, text, 0).await;
            }
            let mut seen = world.bodies(&jobs, 1, 600_000).await;
            // The look has read the others ahead. A send that began earlier commits now.
            world.back(old);
            world.send(&jobs, None, "below", 0).await;
            world.advance(old);
            for _ in 0..3 {
                seen.extend(world.bodies(&jobs, 1, 600_000).await);
            }
            assert_eq!(seen, expected, "{old} ms earlier");
        }
    });
}

#[test]
fn a_deleted_message_stays_away_and_only_the_latest_handle_deletes() {
    run(async {
        let world = World::new();
        let jobs = world.queue("jobs", &[]).await;
        world.send(&jobs, None, "hello", 0).await;
        let first = handles(&world.receive(&jobs, 1, 1_000).await);
        world.advance(1_000);
        let second = handles(&world.receive(&jobs, 1, 1_000).await);
        assert!(!world.delete(&jobs, &first[0]).await.unwrap());
        world.advance(1_000);
        assert!(world.delete(&jobs, &second[0]).await.unwrap(), "also after the timeout");
        assert!(world.bodies(&jobs, 1, 0).await.is_empty());
        assert!(!world.delete(&jobs, &second[0]).await.unwrap(), "deleting again is no error");
        assert!(world.delete(&jobs, "nonsense").await.is_err());
    });
}

#[test]
fn changing_the_visibility_moves_a_message_and_its_handle_keeps_working() {
    run(async {
        let world = World::new();
        let jobs = world.queue("jobs", &[]).await;
        world.send(&jobs, None, "hello", 0).await;
        let handle = &handles(&world.receive(&jobs, 1, 30_000).await)[0];
        world.change(&jobs, handle, 60_000).await.unwrap();
        world.advance(59_999);
        assert!(world.bodies(&jobs, 1, 0).await.is_empty());
        world.change(&jobs, handle, 0).await.unwrap();
        let again = handles(&world.receive(&jobs, 1, 5_000).await);
        assert_eq!(again.len(), 1, "zero releases at once");
        assert!(world.change(&jobs, handle, 10).await.is_err(), "the handle is of an earlier receive");
        world.change(&jobs, &again[0], 10_000).await.unwrap();
        assert!(world.delete(&jobs, &again[0]).await.unwrap());
        world.advance(100_000);
        assert!(world.bodies(&jobs, 1, 0).await.is_empty());
        assert!(world.change(&jobs, &again[0], 10).await.is_err());
    });
}

#[test]
fn the_fourth_receive_finds_a_failing_message_in_the_dead_letter_queue() {
    run(async {
        let world = World::new();
        let dead = world.queue("dead", &[]).await;
        let policy = format!(r#"{{"deadLetterTargetArn":"{}","maxReceiveCount":3}}"#, dead.arn());
        let jobs = world.queue("jobs", &[("RedrivePolicy", &policy)]).await;
        world.send(&jobs, None, "poison", 0).await;
        let sent = &world.receive(&jobs, 10, 0).await[0].message;
        for _ in 0..2 {
            assert_eq!(world.bodies(&jobs, 10, 0).await, ["poison"]);
        }
        world.send(&jobs, None, "good", 0).await;
        assert_eq!(world.bodies(&jobs, 10, 1_000).await, ["good"], "what is buried does not hide the rest");
        let buried = &world.receive(&dead, 10, 0).await[0];
        assert_eq!(buried.message.id, sent.id);
        assert_eq!(buried.message.dead_letter_source.as_deref(), Some(jobs.arn().as_str()));
        assert_eq!((buried.state.sent_at, buried.state.total_receive_count()), (T0, 4));
    });
}

#[test]
fn without_its_dead_letter_queue_a_failing_message_stays() {
    run(async {
        let world = World::new();
        let policy =
            format!(r#"{{"deadLetterTargetArn":"{}","maxReceiveCount":1}}"#, World::address("gone").arn());
        let jobs = world.queue("jobs", &[("RedrivePolicy", &policy)]).await;
        world.send(&jobs, None, "poison", 0).await;
        for _ in 0..3 {
            assert_eq!(world.bodies(&jobs, 10, 0).await, ["poison"]);
        }
    });
}

#[test]
fn a_message_past_its_retention_vanishes() {
    run(async {
        let world = World::new();
        let jobs = world.queue("jobs", &[("MessageRetentionPeriod", "60")]).await;
        world.send(&jobs, None, "old", 0).await;
        world.advance(59_000);
        world.send(&jobs, None, "new", 0).await;
        world.advance(1_000);
        assert_eq!(world.bodies(&jobs, 10, 0).await, ["new"]);
    });
}

#[test]
fn a_large_body_is_kept_apart_and_goes_with_its_message() {
    run(async {
        let world = World::new();
        let jobs = world.queue("jobs", &[]).await;
        let large = "x".repeat(1 << 20);
        world.send(&jobs, None, &large, 0).await;
        let delivered = world.receive(&jobs, 1, 1_000).await;
        assert!(delivered[0].state.has_body_apart);
        assert_eq!(delivered[0].body.len(), 1 << 20);
        world.delete(&jobs, &handles(&delivered)[0]).await.unwrap();
        let left = world
            .store
            .scan(pileus_store::Space::Queue, &pileus_store::KeyRange::default(), 10)
            .await
            .unwrap();
        assert!(left.entries.is_empty());
    });
}

#[test]
fn a_cursor_above_a_message_whose_wake_up_was_lost_is_doubted_after_a_minute() {
    run(async {
        let world = World::new();
        let jobs = world.queue("jobs", &[]).await;
        let queue = world.load(&jobs).await;
        let lane = world.sqs.lane(&world.store, &queue);
        world.advance(1_000);
        assert!(world.bodies(&jobs, 1, 1_000).await.is_empty());
        // Another node, whose clock is behind, puts one in below the cursor; whoever takes the hint first has it alone.
        world.now.fetch_sub(1_000, Ordering::Relaxed);
        let mut other = world.store.subscribe(&Topic::new(lane.prefix(0).clone()));
        world.send(&jobs, None, "unheard of", 0).await;
        other.take_low();
        for (seconds, found) in [(0, 0), (60, 0), (61, 1)] {
            let range = lane.range(0, Duration::from_secs(seconds));
            let page = world.store.scan(Space::Index, &range, 10).await.unwrap();
            assert_eq!(page.entries.len(), found, "after {seconds} s");
        }
    });
}

#[derive(Debug, Clone)]
enum Step {
    Send { delay: u64 },
    Receive { max: usize, timeout: u64 },
    Delete { which: usize },
    Change { which: usize, timeout: u64 },
    Advance { by: u64 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => prop::sample::select(vec![0u64, 0, 0, 700]).prop_map(|delay| Step::Send { delay }),
        3 => (1usize..5, prop::sample::select(vec![0u64, 500, 1_000])).prop_map(|(max, timeout)| Step::Receive { max, timeout }),
        2 => (0usize..100).prop_map(|which| Step::Delete { which }),
        1 => (0usize..100, prop::sample::select(vec![0u64, 300, 5_000])).prop_map(|(which, timeout)| Step::Change { which, timeout }),
        2 => (1u64..800).prop_map(|by| Step::Advance { by }),
    ];
    prop::collection::vec(step, 1..60)
}

/// A message of the simple model: when it is visible, and the last handle given for it.
struct Model {
    body: String,
    visible_at: u64,
    handle: Option<String>,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// A receive gives out as many visible messages as it may, none twice, none that was deleted.
    #[test]
    fn a_standard_queue_does_what_a_list_with_timeouts_does(steps in steps()) {
        run(async {
            let world = World::new();
            let jobs = world.queue("jobs", &[]).await;
            let (mut model, mut given) = (Vec::<Model>::new(), Vec::<String>::new());
            for (number, step) in steps.into_iter().enumerate() {
                let now = world.desk().now;
                match step {
                    Step::Send { delay } => {
                        let body = format!("m{number}");
                        world.send(&jobs, None, &body, delay).await;
                        model.push(Model { body, visible_at: now + delay, handle: None });
                    }
                    Step::Receive { max, timeout } => {
                        let delivered = world.receive(&jobs, max, timeout).await;
                        let visible = model.iter().filter(|m| m.visible_at <= now).count();
                        assert_eq!(delivered.len(), visible.min(max));
                        for one in &delivered {
                            let known = model.iter_mut().find(|m| m.body == body(one)).expect("a message that is there");
                            assert!(known.visible_at <= now);
                            known.visible_at = now + timeout;
                            known.handle = Some(one.receipt.to_handle());
                        }
                        given.extend(handles(&delivered));
                    }
                    Step::Delete { which } => {
                        let Some(handle) = given.get(which % given.len().max(1)) else { continue };
                        let known = model.iter().position(|m| m.handle.as_ref() == Some(handle));
                        assert_eq!(world.delete(&jobs, handle).await.unwrap(), known.is_some());
                        if let Some(at) = known {
                            model.remove(at);
                        }
                    }
                    Step::Change { which, timeout } => {
                        let Some(handle) = given.get(which % given.len().max(1)) else { continue };
                        let known = model.iter_mut().find(|m| m.handle.as_ref() == Some(handle));
                        assert_eq!(world.change(&jobs, handle, timeout).await.is_ok(), known.is_some());
                        if let Some(known) = known {
                            known.visible_at = now + timeout;
                        }
                    }
                    Step::Advance { by } => world.advance(by),
                }
            }
        });
    }
}
